"""Training stage `forcing`: the transformer learns diffusion forcing, from still pictures to films.

Three phases. Single latents teach colour, shape, place, light and words at a small part of a
film's price; windows teach motion, the camera and to continue from history, with single latents
among them so that shapes are not forgotten; then the rate goes down. Half-way through its blocks
the transformer is also asked what its tokens show (`auxiliary.py`).

Each latent frame may have a noise level of its own (Diffusion Forcing, arXiv 2407.01392). Most
windows are synchronous, as inference is by default: history first, clean or with the little noise
of `history_noise`, in half of the batches as the transformer itself would have painted it
(`own_history.py`), then free frames that share one level. The velocity is noise minus data
(Flow Matching, arXiv 2210.02747). A tenth of the captions is empty or a negative prompt, for
classifier-free guidance (arXiv 2207.12598). The text encoder comes from stage `text` and learns on
at a small rate.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from storyflow.toybox import architecture, wordings
from storyflow.toybox.auxiliary import Head
from storyflow.toybox.batched import Block, compiled, velocities
from storyflow.toybox.checkpoint import Log, restore, store
from storyflow.toybox.latents import Encoded, LatentSet
from storyflow.toybox.muon import Muon
from storyflow.toybox.own_history import repainted
from storyflow.toybox.windows import NAMES, STILLS
from storyflow.toybox.wordings import Wordings
from storyflow.toybox.world import Scene

HISTORY = 5
"""Latent frames of history: 17 frames."""

_RNG = np.random.Generator
MOVES_OFTEN = {"pan left": 3, "pan right": 3, "zoom in": 2, "zoom out": 3, "swap": 3, "circle": 2}
FIGURES_OFTEN = {"square": 2, "red": 2}
"""How often stretches with these camera moves and actions, and with these shapes and colours of the
first figure, are used where others are used once: they are learned last. A pan moves a few edges, a
small part of the error; a tilt moves the horizon."""


class Shape(NamedTuple):
    """Windows of so many latent frames, so many in a batch, with their share of a phase's steps.

    The shift bends noise levels towards more noise, as the sampler's does: what moves, and how, is
    settled where a picture is still all noise.
    """

    frames: int
    batch: int
    share: float
    shift: float


@dataclass(frozen=True)
class Phase:
    """`steps` on windows of `shapes`; `portions` name the parts of the data.

    The rate goes from `rate` to `end`. Where figures are, errors count up to `figures` times, the
    less noise the more: where all is noise, a figure can't be told yet, and asking for it there
    would teach to paint too many. The blocks' matrices, which Muon moves, learn `matrices` times as
    fast as the rest.
    """

    steps: int
    shapes: tuple[Shape, ...]
    portions: tuple[str, ...]
    rate: float
    end: float
    figures: float = 4.0
    matrices: float = 3.0


PICTURES = Phase(1500, (Shape(1, 64, 1.0, 3.0),), (STILLS.name,), 1e-3, 1e-3)
FILMS = Phase(
    6000,
    (
        Shape(1, 64, 0.25, 3.0),
        Shape(7, 9, 0.22, 5.0),
        Shape(13, 5, 0.20, 5.0),
        Shape(25, 3, 0.33, 5.0),
    ),
    NAMES,
    1e-3,
    1e-3,
)
CALM = replace(FILMS, steps=2000, end=0.0)
"""The rate goes down here: at the full rate the losses stop falling far above what they reach in
the end. A training that is to go on longer starts again before it."""


@dataclass(frozen=True)
class ForcingPlan:
    """The phases, and what they share; `auxiliary` is how much that task's error counts, `own` in
    what share of the batches of windows histories are the transformer's own."""

    phases: tuple[Phase, ...] = (PICTURES, FILMS, CALM)
    warm: int = 200
    average: float = 0.998
    auxiliary: float = 0.3
    own: float = 0.5
    seed: int = 2

    @property
    def steps(self) -> int:
        """All steps."""
        return sum(phase.steps for phase in self.phases)

    def longer(self, times: int) -> ForcingPlan:
        """The same with so many times the steps in every phase."""
        phases = tuple(replace(phase, steps=phase.steps * times) for phase in self.phases)
        return replace(self, phases=phases)

    def further(self, steps: int) -> ForcingPlan:
        """The same with so many more steps of its last phase but one: where a finished training
        goes on, at the full rate again."""
        *before, films, calm = self.phases
        return replace(self, phases=(*before, replace(films, steps=films.steps + steps), calm))

    def resumed(self) -> ForcingPlan:
        """As many steps as follow the first phase, in one that calms all along: where trained
        weights start a work folder. They unlearn while the rate is full."""
        steps = sum(phase.steps for phase in self.phases[1:])
        return replace(self, phases=(replace(self.phases[-1], steps=steps),))

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
    """`data` [b, 16, f, 8, 12]; `noisy` the model's input; `levels` int64 [b, f] timesteps; `free`
    [b, f] 1 where the model is asked; `weight` [b, f, 8, 12] how much errors count; `shown`
    [b, f, 24, 62] what the tokens show; `text` [b, tokens, 128] the encoded captions and their
    `lengths` [b]."""

    data: Tensor
    noise: Tensor
    noisy: Tensor
    levels: Tensor
    free: Tensor
    weight: Tensor
    shown: Tensor
    text: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


def losses_of(
    transformer: Any,
    head: Head,
    batch: Batch,
    block: Block | None = None,
    precision: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Mean squared error of the velocity over free frames, and that of the auxiliary task.
    Matrices are multiplied in `precision`."""
    kind, low = batch.noisy.device.type, precision != torch.float32
    with torch.autocast(kind, dtype=precision if low else None, enabled=low):
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


class Batches:
    """Batch number n is a function of the data, the seed and n: a resumed run goes on exactly."""

    def __init__(self, data: LatentSet, said: Path, plan: ForcingPlan) -> None:
        """`said` is the folder of the captions."""
        self.data, self.plan = data, plan
        self.said = {name: Wordings(said / name) for name in (*data.items, wordings.EMPTY)}
        self.fitting: dict[tuple[tuple[str, ...], int], list[tuple[str, Encoded]]] = {}

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.plan.seed, step])
        phase, _ = self.plan.at(step)
        frames, size, _, shift = phase.shapes[
            int(rng.choice(len(phase.shapes), p=[s.share for s in phase.shapes]))
        ]
        items = self._items(phase.portions, frames)
        chosen, rows, frees, texts, weights, shown = [], [], [], [], [], []
        for number in rng.integers(len(items), size=size):
            name, item = items[number]
            first, prior, turned = _window(item, frames, rng)
            ended = frames > HISTORY + 1 and rng.random() < 0.08
            levels, free = _levels(rng, frames, prior, ended, shift)
            chosen.append(item.window(first, frames, ended=ended))
            rows.append(levels)
            frees.append(free)
            texts.append(self._caption(name, item, turned, rng))
            clean = (1 - levels / 1000)[:, None, None]
            touched = item.figures(first, frames, ended=ended)
            weights.append(1 + (phase.figures - 1) * clean * touched)
            shown.append(item.shown(first, frames, ended=ended))
        data = torch.from_numpy(np.stack(chosen).astype(np.float32))
        noise = torch.from_numpy(rng.standard_normal(data.shape, dtype=np.float32))
        levels = np.stack(rows)
        part = torch.from_numpy(levels.astype(np.float32) / 1000)[:, None, :, None, None]
        text, lengths = wordings.pad(texts)
        return Batch(
            data=data,
            noise=noise,
            noisy=data * (1 - part) + noise * part,
            levels=torch.from_numpy(levels.astype(np.int64)),
            free=torch.from_numpy(np.stack(frees).astype(np.float32)),
            weight=torch.from_numpy(np.stack(weights).astype(np.float32)),
            shown=torch.from_numpy(np.stack(shown).astype(np.float32)),
            text=text,
            lengths=lengths,
        )

    def _items(self, portions: tuple[str, ...], frames: int) -> list[tuple[str, Encoded]]:
        if (portions, frames) not in self.fitting:
            self.fitting[portions, frames] = [
                (name, item)
                for name in portions
                for item in self.data.items[name]
                if _places(item, frames)
                for _ in range(_often(item.stretch.scene(), moving=frames > 1))
            ]
        return self.fitting[portions, frames]

    def _caption(
        self, name: str, item: Encoded, turned: bool, rng: _RNG
    ) -> np.ndarray[Any, np.dtype[np.float16]]:
        if rng.random() < 0.1:
            empty = self.said[wordings.EMPTY]
            return empty[0 if rng.random() < 0.6 else int(rng.integers(1, len(empty)))]
        parts = wordings.parts_of(name)
        return self.said[name].pick(item.number, int(turned), parts, rng)


def _often(scene: Scene, *, moving: bool) -> int:
    first = scene.figures[0]
    figures = FIGURES_OFTEN.get(first.shape, 1) * FIGURES_OFTEN.get(first.colour, 1)
    if not moving:
        return figures
    return figures * MOVES_OFTEN.get(scene.camera, 1) * MOVES_OFTEN.get(scene.actions(0)[0], 1)


def _places(item: Encoded, frames: int) -> list[int]:
    """Where in a stretch a window may begin: what is new in it is one action."""
    turn, latest = item.stretch.turns_in, item.length - frames
    if turn is None or frames == 1:
        return list(range(latest + 1))
    history = HISTORY if frames > HISTORY else 1
    # With the turn at the end of its history, later, or all of it before the turn.
    return [k for k in range(latest + 1) if k >= turn + HISTORY - history or k + frames <= turn + 5]


def _window(item: Encoded, frames: int, rng: _RNG) -> tuple[int, int, bool]:
    """Where in a stretch a window begins, how much of it is history, and whether its caption tells
    what happens after the turn."""
    stretch, places = item.stretch, _places(item, frames)
    history = HISTORY if frames > HISTORY else 1
    turn = stretch.turns_in
    if frames == 1:
        first = int(rng.choice(places))
        return first, 0, turn is not None and first >= turn + HISTORY
    if turn is None:
        if stretch.start == 0 and rng.random() < 0.85:
            return 0, 0 if rng.random() < 0.85 else 1, False
        return int(rng.choice(places)), history if rng.random() < 0.85 else 1, False
    if turn in places and history == HISTORY and rng.random() < 0.7:
        return turn, HISTORY, True
    first = int(rng.choice(places))
    turned = first >= turn + HISTORY - history
    # One frame of history is enough where no turn is inside.
    inside = turned and first < turn + HISTORY - 1
    return first, history if inside or rng.random() < 0.85 else 1, turned


def _levels(
    rng: _RNG, frames: int, prior: int, ended: bool, shift: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Timesteps and the mask of the free frames."""
    together = rng.random() < 0.88
    even = np.full(frames, rng.random()) if together else rng.random(frames)
    levels = np.clip(np.round(1000 * shift * even / (1 + (shift - 1) * even)), 1, 999)
    free = np.ones(frames)
    free[:prior] = 0
    levels[:prior] = int(rng.choice([0, 20, 40], p=[0.3, 0.5, 0.2]))
    if ended:
        free[-1], levels[-1] = 0, 0
    return levels, free


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

    def lived(self, batch: Batch, rng: _RNG) -> Batch:
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
