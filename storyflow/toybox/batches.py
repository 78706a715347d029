"""Batches of training stage `forcing`: windows of stretches with noise, levels and captions.

Each latent frame may have a noise level of its own (Diffusion Forcing, arXiv 2407.01392). Most
windows are synchronous, as inference is by default: history first, clean or with the little noise
of `history_noise`, then free frames that share one level. A tenth of the captions is empty or a
negative prompt, for classifier-free guidance (arXiv 2207.12598).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from storyflow.toybox import wordings
from storyflow.toybox.forcing_plan import ForcingPlan
from storyflow.toybox.latents import Encoded, LatentSet
from storyflow.toybox.wordings import Wordings
from storyflow.toybox.world import Scene

HISTORY = 5
"""Latent frames of history: 17 frames."""

_RNG = np.random.Generator
MOVES_OFTEN = {
    "pan left": 2,
    "pan right": 2,
    "zoom in": 3,
    "zoom out": 4,
    "swap": 3,
    "circle": 3,
    "bounce": 2,
}
SHAPES_OFTEN = {"square": 3}
PAIRS_OFTEN = 2
"""How often stretches with these camera moves and actions, with these shapes of the first figure
and with two figures are used where others are used once: they are learned last. A pan moves a few
edges, a small part of the error; a tilt moves the horizon. A zoom changes every motion in it."""


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
    figures = SHAPES_OFTEN.get(scene.figures[0].shape, 1)
    if len(scene.figures) > 1:
        figures *= PAIRS_OFTEN
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
