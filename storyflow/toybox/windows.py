"""What the transformer is trained on: which stretches of which scenes, and which windows of those.

A stretch is drawn once. Of each, every window that begins at a multiple of four frames can be used,
since a latent depends on its own frames only; a window's first frame is a latent of its own, as in
inference. Some stretches turn: the action changes after 17 frames of some window's history. Others
lie where the later segments of a long shot lie: figures have left and come back, cameras have come
to rest.
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
class Stretch:
    """`frames` frames, 4k + 1, from `start` of the scene of `seed`."""

    seed: int
    kind: Kind
    start: int
    frames: int
    turn_at: int | None = None

    @property
    def turns_in(self) -> int | None:
        """The latent whose window has the turn right after its history."""
        if self.turn_at is None:
            return None
        return (self.turn_at - self.start - HISTORY_FRAMES) // 4

    def scene(self) -> world.Scene:
        """The scene that it is cut from."""
        return scenes.sample(self.seed, turn_at=self.turn_at)

    def draw(self) -> NDArray[np.uint8]:
        """uint8 [frames, 64, 96, 3]."""
        return world.draw(self.scene(), self.frames, self.start)


@dataclass(frozen=True)
class Portion:
    """So many stretches of one length; `shard` of them in a file. With `latest` they don't turn and
    begin anywhere up to that frame."""

    name: str
    count: int
    frames: int
    shard: int
    latest: int | None = None

    def stretches(self, seed: int) -> Iterator[Stretch]:
        """The portion's stretches; number n is the same however many there are."""
        for i in range(self.count):
            number = seed * 10_000_000 + i
            if self.latest is None:
                yield _stretch(number, self.frames)
            else:
                yield _late(number, self.frames, self.latest)


STILLS: Final = Portion("still", 40_000, 1, 2000)
SHORT: Final = Portion("short", 2000, 49, 50)
LONG: Final = Portion("long", 500, 97, 25)
LATE: Final = Portion("late", 500, 97, 25, latest=720)
"""Up to the last segment of ten."""
PORTIONS: Final = (STILLS, SHORT, LONG, LATE)
NAMES: Final = tuple(portion.name for portion in PORTIONS)


def _stretch(number: int, frames: int) -> Stretch:
    rng = np.random.default_rng([number, 5, frames])
    if frames == 1:
        start = 0 if rng.random() < 0.5 else int(rng.integers(1, 150))
        return Stretch(number * 100 + 1, "fresh" if start == 0 else "going", start, 1)
    seed = number * 100 + frames
    if rng.random() < 0.6:
        return Stretch(seed, "fresh", 0, frames)
    start = int(rng.integers(0, 100))
    after = HISTORY_FRAMES + 4 * int(rng.integers(0, (frames - 1) // 4 - 6))
    return Stretch(seed, "turn", start, frames, start + after)


def _late(number: int, frames: int, latest: int) -> Stretch:
    start = int(np.random.default_rng([number, 6, frames]).integers(1, latest + 1))
    return Stretch(number * 100 + frames + 1, "going", start, frames)
