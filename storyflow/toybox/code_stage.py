"""Training stage `code`: the VAE's encoder.

Its way down is set in closed form, and its middle and head are learned on 8x12 cells with a decoder
that is thrown away (`codec.py`). From then on the encoder is frozen, and the transformer's data can
be made. The squared error of pixels is minimised, which is what PSNR counts; around the figures,
which are small and what a film is about, it counts more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from storyflow.toybox import architecture, codec
from storyflow.toybox.checkpoint import Log, restore, store
from storyflow.toybox.pictures import FRAMES, Pool, cosine, importance, to_model
from storyflow.toybox.vae_stage import start_decoder


@dataclass(frozen=True)
class CodePlan:
    """How long and on what: `batch` latents a step, a quarter of them single frames.

    `grain` is noise on latents, in standard deviations: it keeps the code smooth. Errors at figures
    count `figures` times. The pool holds `pool` windows of 9 frames.
    """

    steps: int = 2000
    batch: int = 32
    rate: float = 2e-3
    grain: float = 0.05
    figures: float = 4.0
    pool: int = 3000
    seed: int = 1


def train(plan: CodePlan, work: Path, device: torch.device, *, pool: Pool | None = None) -> Any:
    """Fit and train the encoder (or go on) in `work`; returns the VAE with its encoder done."""
    vae = architecture.build(plan.seed).vae
    if restore(work / "vae.pt", vae):
        return vae
    pool = pool or Pool(plan.pool, plan.seed)
    start_decoder(vae, plan.seed)
    codec.fit_encoder(vae, to_model(pool.clips[:200, :8]))
    way = codec.way_down(vae).to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        sketch = codec.Sketch()
    sketch.start(vae)
    sketch = sketch.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        sketch.parameters(), lr=plan.rate, betas=(0.9, 0.99), weight_decay=0
    )
    first = restore(work / "code.pt", sketch, optimizer)
    log = Log(work / "code.csv", ("step", "loss", "psnr", "rate"))
    losses: list[tuple[float, float]] = []
    for step in range(first, plan.steps):
        rng = np.random.default_rng([plan.seed, 1, step])
        rate = plan.rate * cosine(step, plan.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, plain = _sketch_losses(sketch, way, _cells(pool, plan, rng, device), plan.grain, rng)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward([loss])
        torch.nn.utils.clip_grad_norm_(sketch.parameters(), 1.0)
        optimizer.step()
        losses.append((float(loss.detach()), float(plain)))
        if (step + 1) % 50 == 0 or step + 1 == plan.steps:
            mean = np.mean(losses, axis=0)
            decibels = 10 * math.log10(4 / mean[1])
            log.write(step + 1, f"{mean[0]:.6f}", f"{decibels:.2f}", f"{rate:.6f}")
            losses.clear()
        if (step + 1) % 250 == 0 or step + 1 == plan.steps:
            store(work / "code.pt", step + 1, sketch, optimizer)
    sketch.install(vae)
    store(work / "vae.pt", plan.steps, vae)
    return vae


def _cells(
    pool: Pool, plan: CodePlan, rng: np.random.Generator, device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """Cells of single frames and of four frames, each with how much their pixels count."""
    singles = plan.batch // 4
    parts = []
    for count, frames in ((singles, 1), (plan.batch - singles, 4)):
        chosen = rng.integers(len(pool.clips), size=count)
        first = rng.integers(FRAMES, size=count) if frames == 1 else 4 * rng.integers(2, size=count)
        clips = np.stack(
            [pool.clips[i, t : t + frames] for i, t in zip(chosen, first, strict=True)]
        )
        video = to_model(clips).to(device)
        count_more = importance(video, plan.figures).expand_as(video)
        parts.append((codec.cells_of(video), codec.cells_of(count_more)))
    return parts


def _sketch_losses(
    sketch: codec.Sketch,
    way: codec.WayDown,
    parts: list[tuple[Tensor, Tensor]],
    grain: float,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Weighted and plain squared error; a single frame should come back as four equal ones."""
    codes = sketch.code(torch.cat([way.features(cells) for cells, _ in parts]))
    noise = torch.from_numpy(rng.standard_normal(codes.shape, dtype=np.float32)).to(codes.device)
    loudness = codes.std(dim=(0, 2, 3), keepdim=True)
    rebuilt = sketch.rebuild(codes + grain * loudness * noise)
    wanted, count = (
        torch.cat([cells.repeat(1, 1, 1, 768 // cells.shape[3]) for cells in column])
        for column in zip(*parts, strict=True)
    )
    error = (rebuilt - wanted).square()
    # Loudness is free, as latents are normalised; this holds it near one.
    held = (loudness.log() ** 2).mean() * 1e-4
    return (error * count).mean() / count.mean() + held, error.mean().detach()
