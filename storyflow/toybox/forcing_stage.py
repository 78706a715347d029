"""Training stage `forcing`: text encoder and transformer learn diffusion forcing.

Each latent frame may have a noise level of its own (Diffusion Forcing, arXiv 2407.01392). Most
windows are synchronous, as inference is by default: history first, clean or with the little noise
of `history_noise`, then free frames that share one level. The velocity is noise minus data
(Flow Matching, arXiv 2210.02747). A tenth of the captions is empty or a negative prompt, for
classifier-free guidance (arXiv 2207.12598).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from storyflow.prompts.negative import NEGATIVE
from storyflow.toybox import architecture, captions, world
from storyflow.toybox.batched import velocities
from storyflow.toybox.checkpoint import Log, restore, store
from storyflow.toybox.latents import Encoded, LatentSet
from storyflow.toybox.world import Scene

HISTORY = 5
"""Latent frames of history: 17 frames."""

_RNG = np.random.Generator
Shape = tuple[int, int, float]


@dataclass(frozen=True)
class ForcingPlan:
    """How long and on what.

    `shapes` are (latent frames, batch, share of the steps), `late_shapes` those from step `late`
    on: short windows teach what things look like at a third of the price. Where figures are, errors
    count up to `figures` times, the less noise the more (where all is noise, a figure can't be told
    yet, and asking for it there would teach to paint too many). This ends before the last `cool`
    steps, over which the rate falls to zero. `shift` bends the training's noise levels towards more
    noise, as the sampler's does.
    """

    steps: int = 12000
    shapes: tuple[Shape, ...] = ((3, 12, 0.7), (7, 6, 0.3))
    late_shapes: tuple[Shape, ...] = ((7, 8, 0.35), (13, 4, 0.3), (25, 2, 0.35))
    late: int = 1400
    figures: float = 6.0
    shift: float = 6.0
    rate: float = 1e-3
    warm: int = 100
    cool: int = 2000
    average: float = 0.998
    seed: int = 2


@dataclass(frozen=True)
class Batch:
    """`data` [b, 16, f, 8, 12] normalised; `noisy` the model's input; `levels` int64 [b, f]
    timesteps; `free` [b, f] 1 where the model is asked; `weight` [b, f, 8, 12] how much errors
    count; `ids`, `lengths` the captions' tokens."""

    data: Tensor
    noise: Tensor
    noisy: Tensor
    levels: Tensor
    free: Tensor
    weight: Tensor
    ids: Tensor
    lengths: Tensor


class Networks(nn.Module):
    """What this stage trains."""

    def __init__(self, transformer: Any, text_encoder: Any) -> None:
        super().__init__()
        self.transformer = transformer
        self.text_encoder = text_encoder

    def loss(self, batch: Batch) -> Tensor:
        """Mean squared error of the velocity over free frames."""
        mask = (batch.ids != 0).long()
        text = self.text_encoder(batch.ids, mask).last_hidden_state
        padded = architecture.TEXT_TOKENS
        said = velocities(self.transformer, batch.noisy, batch.levels, text, batch.lengths, padded)
        error = (said - (batch.noise - batch.data)).square().mean(dim=1)
        weight = batch.weight * batch.free[..., None, None]
        return (error * weight).sum() / weight.sum()


def prepare(networks: Networks, seed: int) -> Networks:
    """Start values: even linear layers, silent output; returns the networks."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in networks.transformer.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=source)
                nn.init.zeros_(module.bias)
        networks.transformer.proj_out.weight.zero_()
        networks.transformer.fps_projection.net[-1].weight.zero_()
        networks.transformer.condition_embedder.time_proj.weight.mul_(0.3)
        for name, weight in networks.text_encoder.named_parameters():
            if "shared" in name:
                weight.copy_(torch.randn(weight.shape, generator=source))
    return networks


class Batches:
    """Batch number n is a function of the data, the seed and n: a resumed run goes on exactly."""

    def __init__(self, data: LatentSet, plan: ForcingPlan, tokenizer: Any) -> None:
        self.data, self.plan, self.tokenizer = data, plan, tokenizer
        mean, std = data.statistics()
        self.mean = torch.tensor(mean).view(1, -1, 1, 1, 1)
        self.std = torch.tensor(std).view(1, -1, 1, 1, 1)

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.plan.seed, step])
        shapes = self.plan.shapes if step < self.plan.late else self.plan.late_shapes
        frames, size, _ = shapes[int(rng.choice(len(shapes), p=[s[2] for s in shapes]))]
        chosen: list[np.ndarray[Any, Any]] = []
        rows, priors, texts, weights = [], [], [], []
        figures = self.plan.figures if step < self.plan.steps - self.plan.cool else 1.0
        while len(chosen) < size:
            item = self.data.items[int(rng.integers(len(self.data.items)))]
            length = item.latents.shape[1]
            if length < frames or (item.window.kind == "turn" and frames < 9):
                continue
            latents = item.latents[:, :frames]
            prior = _prior(item, frames, rng)
            ended = frames == length and rng.random() < 0.08
            if ended:
                latents = np.concatenate([latents[:, :-1], item.last], axis=1)
            levels, free = self._levels(rng, frames, prior, ended)
            chosen.append(latents)
            rows.append(levels)
            priors.append(free)
            scene = item.window.scene()
            texts.append(_caption(scene, item.window.said, rng))
            clean = (1 - levels / 1000)[:, None, None]
            touched = _figures(scene, item.window.start, frames)
            weights.append(1 + (figures - 1) * clean * touched)
        weight = torch.from_numpy(np.stack(weights).astype(np.float32))
        return self._join(np.stack(chosen), np.stack(rows), np.stack(priors), weight, texts, rng)

    def _levels(
        self, rng: _RNG, frames: int, prior: int, ended: bool
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Timesteps and the mask of the free frames."""
        together = rng.random() < 0.75
        even = np.full(frames, rng.random()) if together else rng.random(frames)
        shift = self.plan.shift
        levels = np.clip(np.round(1000 * shift * even / (1 + (shift - 1) * even)), 1, 999)
        free = np.ones(frames)
        free[:prior] = 0
        levels[:prior] = int(rng.choice([0, 20, 40], p=[0.3, 0.5, 0.2]))
        if ended:
            free[-1], levels[-1] = 0, 0
        return levels, free

    def _join(
        self,
        latents: np.ndarray[Any, Any],
        levels: np.ndarray[Any, Any],
        free: np.ndarray[Any, Any],
        weight: Tensor,
        texts: list[str],
        rng: _RNG,
    ) -> Batch:
        data = (torch.from_numpy(latents.astype(np.float32)) - self.mean) / self.std
        noise = torch.from_numpy(rng.standard_normal(data.shape, dtype=np.float32))
        part = torch.from_numpy(levels.astype(np.float32) / 1000)[:, None, :, None, None]
        tokens = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        return Batch(
            data=data,
            noise=noise,
            noisy=data * (1 - part) + noise * part,
            levels=torch.from_numpy(levels.astype(np.int64)),
            free=torch.from_numpy(free.astype(np.float32)),
            weight=weight,
            ids=tokens.input_ids,
            lengths=tokens.attention_mask.sum(dim=1),
        )


def _caption(scene: Scene, said: int, rng: _RNG) -> str:
    if rng.random() < 0.1:
        if rng.random() < 0.6:
            return ""
        parts = NEGATIVE.split(", ")
        first, last = sorted(rng.integers(0, len(parts) + 1, 2))
        return ", ".join(parts[first:last])
    return captions.prompt(scene, said, rng)


def _figures(scene: Scene, start: int, latents: int) -> np.ndarray[Any, Any]:
    """1 in the latent cells [latents, 8, 12] that a figure touches, else 0."""
    frames = start + np.maximum(4 * np.arange(latents) - 2, 0)
    where = world.tracks(scene, int(frames[-1]) + 1)
    zoom = where.zoom[frames]
    rows, columns = np.mgrid[:8, :12] * 8.0 + 4
    touched = np.zeros((latents, 8, 12))
    for i in range(len(scene.figures)):
        x = world.WIDTH / 2 + (where.x[i, frames] - world.WIDTH / 2) * zoom
        y = world.HEIGHT / 2 + (where.y[i, frames] - world.HEIGHT / 2) * zoom
        reach = where.radius[i, frames] * zoom + 5
        away = np.hypot(columns - x[:, None, None], rows - y[:, None, None])
        touched[away < reach[:, None, None]] = 1
    return touched


def _prior(item: Encoded, frames: int, rng: _RNG) -> int:
    """How many latent frames are history: a fresh window has none or its first frame."""
    most = HISTORY if frames > HISTORY else 1
    if item.window.kind == "turn":
        return HISTORY
    if item.window.kind == "going":
        return most if rng.random() < 0.85 else 1
    return 0 if rng.random() < 0.8 else (1 if rng.random() < 0.5 else most)


class Trainer:
    """The networks, their moving average and the optimizer, with one training step."""

    def __init__(self, plan: ForcingPlan, networks: Networks) -> None:
        self.plan, self.networks = plan, networks.train()
        self.average = copy.deepcopy(networks).eval().requires_grad_(False)
        decayed = [p for p in networks.parameters() if p.ndim > 1]
        others = [p for p in networks.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
            lr=plan.rate,
            betas=(0.9, 0.98),
            foreach=True,
        )

    def rate(self, step: int) -> float:
        """The learning rate: up, level, down to nothing."""
        plan = self.plan
        return plan.rate * min(1.0, (step + 1) / plan.warm, (plan.steps - step) / plan.cool)

    def step(self, number: int, batch: Batch) -> float:
        """One update; gives the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(number)
        loss = self.networks.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward([loss])
        nn.utils.clip_grad_norm_(self.networks.parameters(), 1.0)
        self.optimizer.step()
        keep = min(self.plan.average, (1 + number) / (10 + number))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.networks.parameters()), 1 - keep
            )
        return float(loss.detach())

    def store(self, path: Path, step: int) -> None:
        """Write a checkpoint, the average beside it."""
        store(path, step, self.networks, self.optimizer, average=self.average.state_dict())

    def restore(self, path: Path) -> int:
        """Go on from a checkpoint; the step it goes on at."""
        first = restore(path, self.networks, self.optimizer)
        if first:
            data = torch.load(path, weights_only=True)
            self.average.load_state_dict(data["average"])
        return first


def train(
    plan: ForcingPlan,
    data: LatentSet,
    work: Path,
    *,
    start: architecture.Components | None = None,
    refresh: int = 0,
) -> Networks:
    """Train (or go on training) in `work`; returns the averaged networks.

    With `start` from those weights, else from random ones. With `refresh` the data is read anew
    every so many steps, while it is still being made.
    """
    built = start or architecture.build(plan.seed)
    networks = Networks(built.transformer, built.text_encoder)
    if start is None:
        prepare(networks, plan.seed)
    trainer = Trainer(plan, networks)
    first = trainer.restore(work / "forcing.pt")
    batches = Batches(data, plan, built.tokenizer)
    log = Log(work / "forcing.csv", ("step", "loss", "windows", "rate"))
    losses: list[float] = []
    for step in range(first, plan.steps):
        if refresh and step % refresh == 0:
            data.refresh()
        losses.append(trainer.step(step, batches[step]))
        if (step + 1) % 50 == 0:
            log.write(step + 1, f"{np.mean(losses):.5f}", len(data.items), trainer.rate(step))
            losses.clear()
        if (step + 1) % 100 == 0 or step + 1 == plan.steps:
            trainer.store(work / "forcing.pt", step + 1)
    return trainer.average
