"""Training stage `forcing`: the transformer learns diffusion forcing, from still pictures to films.

Three phases. Single latents teach colour, shape, place, light and words at a small part of a
film's price; short windows teach motion and the camera; long ones teach to continue from history.

Each latent frame may have a noise level of its own (Diffusion Forcing, arXiv 2407.01392). Most
windows are synchronous, as inference is by default: history first, clean or with the little noise
of `history_noise`, then free frames that share one level. The velocity is noise minus data
(Flow Matching, arXiv 2210.02747). A tenth of the captions is empty or a negative prompt, for
classifier-free guidance (arXiv 2207.12598). The text encoder comes from stage `text` and learns on
at a small rate.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from storyflow.prompts.negative import NEGATIVE
from storyflow.toybox import architecture, captions, world
from storyflow.toybox.batched import velocities
from storyflow.toybox.checkpoint import Log, restore, store
from storyflow.toybox.latents import Encoded, LatentSet
from storyflow.toybox.muon import Muon
from storyflow.toybox.windows import Stretch
from storyflow.toybox.world import Scene

HISTORY = 5
"""Latent frames of history: 17 frames."""

_RNG = np.random.Generator
Shape = tuple[int, int, float]


@dataclass(frozen=True)
class Phase:
    """`steps` on windows of `shapes`, each (latent frames, batch, share of the steps).

    `portions` name the parts of the data. `shift` bends noise levels towards more noise, as the
    sampler's does. The rate goes from `rate` to `end`. Where figures are, errors count up to
    `figures` times, the less noise the more: where all is noise, a figure can't be told yet, and
    asking for it there would teach to paint too many. The blocks' matrices, which Muon moves, learn
    `matrices` times as fast as the rest.
    """

    steps: int
    shapes: tuple[Shape, ...]
    portions: tuple[str, ...]
    shift: float
    rate: float
    end: float
    figures: float = 4.0
    matrices: float = 3.0


START = Phase(500, ((1, 64, 1.0),), ("still",), 2.5, 2e-3, 2e-3, matrices=1.0)
PICTURES = Phase(700, ((1, 64, 1.0),), ("still",), 2.5, 2e-3, 2e-3)
SHORT = Phase(
    650,
    ((1, 48, 0.25), (4, 16, 0.4), (7, 10, 0.35)),
    ("still", "short", "long"),
    3.0,
    2e-3,
    1.5e-3,
)
LONG = Phase(
    900,
    ((1, 48, 0.1), (7, 12, 0.35), (13, 6, 0.4), (25, 3, 0.15)),
    ("still", "short", "long"),
    4.0,
    1.5e-3,
    0.0,
    figures=2.0,
)


@dataclass(frozen=True)
class ForcingPlan:
    """The phases, and what they share."""

    phases: tuple[Phase, ...] = (START, PICTURES, SHORT, LONG)
    text_rate: float = 0.1
    warm: int = 100
    average: float = 0.998
    seed: int = 2

    @property
    def steps(self) -> int:
        """All steps."""
        return sum(phase.steps for phase in self.phases)

    def longer(self, times: int) -> ForcingPlan:
        """The same with so many times the steps in every phase."""
        phases = tuple(replace(phase, steps=phase.steps * times) for phase in self.phases)
        return replace(self, phases=phases)

    def at(self, step: int) -> tuple[Phase, float]:
        """The phase of a step and the rate there."""
        first = 0
        for phase in self.phases:
            if step < first + phase.steps:
                part = (step - first) / phase.steps
                warm = min(1.0, (step + 1) / self.warm)
                return phase, warm * (phase.rate + part * (phase.end - phase.rate))
            first += phase.steps
        raise IndexError(f"step {step} of a plan of {self.steps}")


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

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


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
    """The transformer's start values: even linear layers, silent output; returns the networks."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in networks.transformer.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=source)
                nn.init.zeros_(module.bias)
        networks.transformer.proj_out.weight.zero_()
        networks.transformer.fps_projection.net[-1].weight.zero_()
        networks.transformer.condition_embedder.time_proj.weight.mul_(0.3)
    return networks


class Batches:
    """Batch number n is a function of the data, the seed and n: a resumed run goes on exactly."""

    def __init__(self, data: LatentSet, plan: ForcingPlan, tokenizer: Any) -> None:
        self.data, self.plan, self.tokenizer = data, plan, tokenizer
        mean, std = data.statistics()
        self.mean = torch.tensor(mean).view(1, -1, 1, 1, 1)
        self.std = torch.tensor(std).view(1, -1, 1, 1, 1)
        self.scenes: dict[Stretch, Scene] = {}

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.plan.seed, step])
        phase, _ = self.plan.at(step)
        frames, size, _ = phase.shapes[
            int(rng.choice(len(phase.shapes), p=[s[2] for s in phase.shapes]))
        ]
        items = [
            item
            for name in phase.portions
            for item in self.data.items[name]
            if item.length >= frames
        ]
        chosen, rows, frees, texts, weights = [], [], [], [], []
        for number in rng.integers(len(items), size=size):
            item = items[number]
            scene = self._scene(item.stretch)
            first, prior, said = _window(item, scene, frames, rng)
            ended = frames > HISTORY + 1 and rng.random() < 0.08
            levels, free = _levels(phase, rng, frames, prior, ended)
            chosen.append(item.window(first, frames, ended=ended))
            rows.append(levels)
            frees.append(free)
            texts.append(_caption(scene, said, rng))
            clean = (1 - levels / 1000)[:, None, None]
            touched = _figures(scene, item.stretch.start + 4 * first, frames)
            weights.append(1 + (phase.figures - 1) * clean * touched)
        weight = torch.from_numpy(np.stack(weights).astype(np.float32))
        return self._join(np.stack(chosen), np.stack(rows), np.stack(frees), weight, texts, rng)

    def _scene(self, stretch: Stretch) -> Scene:
        if stretch not in self.scenes:
            self.scenes[stretch] = stretch.scene()
        return self.scenes[stretch]

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


def _window(item: Encoded, scene: Scene, frames: int, rng: _RNG) -> tuple[int, int, int]:
    """Where in a stretch a window begins, how much of it is history, and the frame of the scene
    whose action the caption tells."""
    stretch = item.stretch
    if frames == 1:
        return 0, 0, stretch.start
    latest = item.length - frames
    history = HISTORY if frames > HISTORY else 1
    turn = stretch.turns_in
    if turn is None or len(scene.turns) == 1:
        if stretch.start == 0 and rng.random() < 0.5:
            return 0, 0 if rng.random() < 0.8 else 1, 0
        first = int(rng.integers(latest + 1))
        return first, history if rng.random() < 0.85 else 1, stretch.start + 4 * first
    assert stretch.turn_at is not None
    if history == HISTORY and turn <= latest and rng.random() < 0.7:
        return turn, HISTORY, stretch.turn_at
    # Before the turn or after it: a window holds one action.
    before = range(turn + HISTORY - frames + 1)
    options = [k for k in (*before, *range(turn + HISTORY, latest + 1)) if k <= latest]
    if not options:
        return min(turn, latest), HISTORY if history == HISTORY else 1, stretch.turn_at
    first = int(rng.choice(options))
    return first, history if rng.random() < 0.85 else 1, stretch.start + 4 * first


def _levels(
    phase: Phase, rng: _RNG, frames: int, prior: int, ended: bool
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Timesteps and the mask of the free frames."""
    together = rng.random() < 0.88
    even = np.full(frames, rng.random()) if together else rng.random(frames)
    levels = np.clip(np.round(1000 * phase.shift * even / (1 + (phase.shift - 1) * even)), 1, 999)
    free = np.ones(frames)
    free[:prior] = 0
    levels[:prior] = int(rng.choice([0, 20, 40], p=[0.3, 0.5, 0.2]))
    if ended:
        free[-1], levels[-1] = 0, 0
    return levels, free


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


class Trainer:
    """The networks, their moving average and the optimizers, with one training step."""

    def __init__(self, plan: ForcingPlan, networks: Networks) -> None:
        self.plan, self.networks = plan, networks
        self.average = copy.deepcopy(networks).eval()
        blocks = [p for p in networks.transformer.blocks.parameters() if p.ndim == 2]
        held = {id(p) for p in blocks}
        rest = [p for p in networks.transformer.parameters() if id(p) not in held]
        self.muon = Muon(blocks, decay=0.01)
        self.adam = torch.optim.AdamW(
            [
                {"params": rest, "share": 1.0},
                {"params": list(networks.text_encoder.parameters()), "share": plan.text_rate},
            ],
            betas=(0.9, 0.98),
            weight_decay=0.01,
        )

    def step(self, number: int, batch: Batch) -> float:
        """One step on a batch; returns its loss."""
        phase, rate = self.plan.at(number)
        for group in self.muon.param_groups:
            group["lr"] = rate * phase.matrices
        for group in self.adam.param_groups:
            group["lr"] = rate * group["share"]
        loss = self.networks.loss(batch)
        self.networks.zero_grad(set_to_none=True)
        torch.autograd.backward([loss])
        torch.nn.utils.clip_grad_norm_(self.networks.parameters(), 1.0)
        self.muon.step()
        self.adam.step()
        keep = min(self.plan.average, (1 + number) / (10 + number))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.networks.parameters()), 1 - keep
            )
        return float(loss.detach())

    def store(self, path: Path, step: int) -> None:
        """Write a checkpoint, the average beside it."""
        store(
            path,
            step,
            self.networks,
            self.adam,
            muon=self.muon.state_dict(),
            average=self.average.state_dict(),
        )

    def restore(self, path: Path) -> int:
        """Go on from a checkpoint; the step it goes on at."""
        first = restore(path, self.networks, self.adam)
        if first:
            data = torch.load(path, weights_only=True, map_location="cpu")
            self.muon.load_state_dict(data["muon"])
            self.average.load_state_dict(data["average"])
        return first


def train(
    plan: ForcingPlan,
    data: LatentSet,
    text_encoder: Any,
    work: Path,
    device: torch.device,
    *,
    stop_at: int | None = None,
    processes: int = 1,
) -> Networks:
    """Train (or go on training) in `work`; returns the averaged networks.

    With several `processes` batches are made beside the training; they are the same ones.
    """
    built = architecture.build(plan.seed)
    networks = prepare(Networks(built.transformer, text_encoder), plan.seed)
    networks.train().to(device)
    trainer = Trainer(plan, networks)
    first = trainer.restore(work / "forcing.pt")
    batches = Batches(data, plan, built.tokenizer)
    log = Log(work / "forcing.csv", ("step", "loss", "latents", "rate"))
    losses: list[float] = []
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
            row = f"{np.mean(losses):.5f}", sum(shown), f"{plan.at(step)[1]:.6f}"
            log.write(step + 1, *row)
            losses.clear()
            shown.clear()
        if (step + 1) % 250 == 0 or step + 1 == last:
            trainer.store(work / "forcing.pt", step + 1)
    return trainer.average


def averaged(plan: ForcingPlan, work: Path) -> Networks:
    """The averaged networks of a work folder. Raises FileNotFoundError where there are none."""
    path = work / "forcing.pt"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; train the stage `forcing` first")
    built = architecture.build(plan.seed)
    networks = Networks(built.transformer, built.text_encoder)
    data = torch.load(path, weights_only=True, map_location="cpu")
    networks.load_state_dict(data["average"])
    return networks.eval()
