"""The clips that the transformer is trained on: which windows of which scenes.

A window is what one segment sees: its first frame is a latent of its own, as in inference. There
are fresh windows (a scene from its first frame), going ones (from the middle, to be continued from
history) and turning ones (the action changes right after 17 frames of history).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from storyflow.toybox import scenes, world

HISTORY_FRAMES: Final = 17
Kind = Literal["fresh", "going", "turn"]


@dataclass(frozen=True)
class Window:
    """`frames` frames from `start` of the scene of `seed`; `said` is the frame whose action the
    caption tells."""

    seed: int
    kind: Kind
    start: int
    frames: int
    turn_at: int | None = None

    @property
    def said(self) -> int:
        return self.start if self.turn_at is None else self.turn_at

    def scene(self) -> world.Scene:
        """The scene that the window is cut from."""
        return scenes.sample(self.seed, turn_at=self.turn_at)

    def draw(self) -> NDArray[np.uint8]:
        """uint8 [frames, 64, 96, 3]."""
        return world.draw(self.scene(), self.frames, self.start)


def windows(count: int, seed: int, *, long_share: float = 0.2) -> Iterator[Window]:
    """`count` windows of 49 frames, or of 97 for every fifth or so."""
    rng = np.random.default_rng([seed, 5])
    for i in range(count):
        frames = 97 if rng.random() < long_share else 49
        kind: Kind = ("fresh", "going", "turn")[int(rng.choice(3, p=[0.45, 0.33, 0.22]))]
        number = seed * 10_000_000 + i
        if kind == "fresh":
            yield Window(number, kind, 0, frames)
        elif kind == "going":
            yield Window(number, kind, int(rng.integers(1, 160)), frames)
        else:
            turn = int(rng.integers(HISTORY_FRAMES, 120))
            yield Window(number, kind, turn - HISTORY_FRAMES, frames, turn)
