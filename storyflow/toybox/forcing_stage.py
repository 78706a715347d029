"""Training stage `forcing`: the transformer learns diffusion forcing, from still pictures to films.

The plan says how long and on what (`forcing_plan.py`), batches are windows with noise and captions
(`batches.py`). The velocity is noise minus data (Flow Matching, arXiv 2210.02747). In half of the
batches of windows histories are as the transformer itself would have painted them
(`own_history.py`). Half-way through its blocks the transformer is also asked what its tokens show
(`auxiliary.py`). The text encoder comes from stage `text`.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from storyflow.toybox import architecture
from storyflow.toybox.auxiliary import Head
from storyflow.toybox.batched import Block, compiled, velocities
from storyflow.toybox.batches import HISTORY, Batch, Batches
from storyflow.toybox.checkpoint import Log, restore, store
from storyflow.toybox.forcing_plan import ForcingPlan
from storyflow.toybox.latents import LatentSet
from storyflow.toybox.muon import Muon
from storyflow.toybox.own_history import repainted
from storyflow.toybox.precision import multiplied_in


def losses_of(
    transformer: Any,
    head: Head,
    batch: Batch,
    block: Block | None = None,
    precision: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Mean squared error of the velocity over free frames, and that of the auxiliary task.
    Matrices are multiplied in `precision`."""
    with multiplied_in(precision, batch.noisy.device):
        said, middle = velocities(
            transformer,
            batch.noisy,
            batch.levels,
            batch.text,
            batch.lengths,
            architecture.TEXT_TOKENS,
            block,
        )
    error = (said - (batch.noise - batch.data)).square().mean(dim=1)
    weight = batch.weight * batch.free[..., None, None]
    return (error * weight).sum() / weight.sum(), head.error(middle, batch.shown)


def prepare(transformer: Any, seed: int) -> Any:
    """The transformer's start values: even linear layers, silent output; returns it."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in transformer.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=source)
                nn.init.zeros_(module.bias)
        transformer.proj_out.weight.zero_()
        transformer.fps_projection.net[-1].weight.zero_()
        transformer.condition_embedder.time_proj.weight.mul_(0.3)
    return transformer


def head_for(plan: ForcingPlan, transformer: Any, data: LatentSet) -> Head:
    """The auxiliary head of a transformer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        return Head(transformer.proj_out.in_features).measured(data)


class Trainer:
    """The transformer, its moving average, the auxiliary head and the optimizers, with one training
    step."""

    def __init__(
        self,
        plan: ForcingPlan,
        transformer: Any,
        head: Head,
        block: Block | None = None,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.plan, self.transformer, self.head, self.block = plan, transformer, head, block
        self.precision = precision
        self.average = copy.deepcopy(transformer).eval()
        blocks = [p for p in transformer.blocks.parameters() if p.ndim == 2]
        held = {id(p) for p in blocks}
        rest = [p for p in transformer.parameters() if id(p) not in held]
        rest += head.parameters()
        self.muon = Muon(blocks, decay=0.01, precision=precision)
        self.adam = torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=0.01)

    def step(self, number: int, batch: Batch) -> tuple[float, float]:
        """One step on a batch; returns its losses, of the velocity and of the auxiliary task."""
        phase, rate = self.plan.at(number)
        for group in self.muon.param_groups:
            group["lr"] = rate * phase.matrices
        for group in self.adam.param_groups:
            group["lr"] = rate
        rng = np.random.default_rng([self.plan.seed, 7, number])
        if batch.data.shape[2] > HISTORY and rng.random() < self.plan.own:
            batch = self.lived(batch, rng)
        loss, auxiliary = losses_of(self.transformer, self.head, batch, self.block, self.precision)
        self.transformer.zero_grad(set_to_none=True)
        self.head.zero_grad(set_to_none=True)
        torch.autograd.backward([loss + self.plan.auxiliary * auxiliary])
        torch.nn.utils.clip_grad_norm_(self.transformer.parameters(), 1.0)
        self.muon.step()
        self.adam.step()
        keep = min(self.plan.average, (1 + number) / (10 + number))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.transformer.parameters()), 1 - keep
            )
        return float(loss.detach()), float(auxiliary.detach())

    def lived(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The batch with whole histories as the transformer paints them; where a window has no
        whole history nothing changes."""
        true, noise = batch.data[:, :, :HISTORY], batch.noise[:, :, :HISTORY]
        text = batch.text, batch.lengths
        own = repainted(self.transformer, true, *text, rng, self.block, self.precision)
        part = (batch.levels[:, :HISTORY] / 1000)[:, None, :, None, None]
        told = (batch.free[:, :HISTORY] == 0).all(dim=1).view(-1, 1, 1, 1, 1)
        noisy = batch.noisy.clone()
        noisy[:, :, :HISTORY] = torch.where(
            told, own * (1 - part) + noise * part, noisy[:, :, :HISTORY]
        )
        return replace(batch, noisy=noisy)

    def store(self, path: Path, step: int) -> None:
        """Write a checkpoint, the average beside it."""
        store(
            path,
            step,
            self.transformer,
            self.adam,
            muon=self.muon.state_dict(),
            average=self.average.state_dict(),
            head=self.head.state_dict(),
        )

    def restore(self, path: Path) -> int:
        """Go on from a checkpoint; the step it goes on at."""
        first = restore(path, self.transformer, self.adam)
        if first:
            data = torch.load(path, weights_only=True, map_location="cpu")
            self.muon.load_state_dict(data["muon"])
            self.average.load_state_dict(data["average"])
            self.head.load_state_dict(data["head"])
        return first


def train(
    plan: ForcingPlan,
    data: LatentSet,
    work: Path,
    device: torch.device,
    *,
    stop_at: int | None = None,
    processes: int = 1,
    fused: bool = False,
    precision: torch.dtype = torch.float32,
    start: dict[str, Tensor] | None = None,
) -> Any:
    """Train (or go on training) in `work`; returns the averaged transformer.

    With several `processes` batches are made beside the training; they are the same ones. `fused`
    compiles the blocks, which changes results by rounding; `precision` is what matrices are
    multiplied in. `start` has weights to start from in place of fresh ones.
    """
    transformer = prepare(architecture.build(plan.seed).transformer, plan.seed)
    if start is not None:
        transformer.load_state_dict(start)
    transformer.train().to(device)
    head = head_for(plan, transformer, data).to(device)
    trainer = Trainer(plan, transformer, head, compiled() if fused else None, precision)
    first = trainer.restore(work / "forcing.pt")
    batches = Batches(data, work / "wordings", plan)
    log = Log(work / "forcing.csv", ("step", "loss", "auxiliary", "latents", "rate"))
    losses: list[tuple[float, float]] = []
    shown: list[int] = []
    last = plan.steps if stop_at is None else stop_at
    ahead: DataLoader[Any] = DataLoader(
        batches,  # type: ignore[arg-type]
        batch_size=None,
        sampler=range(first, last),
        num_workers=processes if processes > 1 else 0,
    )
    for step, batch in enumerate(ahead, first):
        losses.append(trainer.step(step, batch.to(device)))
        shown.append(batch.data.shape[0] * batch.data.shape[2])
        if (step + 1) % 50 == 0 or step + 1 == last:
            loss, auxiliary = np.mean(losses, axis=0)
            row = f"{loss:.5f}", f"{auxiliary:.5f}", sum(shown), f"{plan.at(step)[1]:.6f}"
            log.write(step + 1, *row)
            losses.clear()
            shown.clear()
        if (step + 1) % 250 == 0 or step + 1 == last:
            trainer.store(work / "forcing.pt", step + 1)
    return trainer.average


def averaged(plan: ForcingPlan, work: Path) -> Any:
    """The averaged transformer of a work folder. Raises FileNotFoundError where there is none."""
    path = work / "forcing.pt"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; train the stage `forcing` first")
    transformer = architecture.build(plan.seed).transformer
    data = torch.load(path, weights_only=True, map_location="cpu")
    transformer.load_state_dict(data["average"])
    return transformer.eval()
