"""Frames to segments: how a beat is divided into windows that a model kind can render.

All lengths are *new* frames, without the history that a window begins with. Lattices are taken to
move in steps of `grid`: continuing segments add multiples of it, so once a shot has begun, every
segment ends on the shot's grid.

Windows that were rendered once are pinned. A pinned beat keeps its windows from the first one on,
as far as they fit:

- a last beat that grows keeps all of them and appends; one that shrinks drops what it no longer
  needs and keeps the surplus of the window that it ends in: nothing is rendered again;
- any other beat must end exactly where the next one starts. One that grows keeps all and appends,
  unless what is missing is shorter than the shortest segment; one that shrinks keeps those that
  end before its new end. The rest of the beat is divided anew.

Kept windows are never shared, moved or resized.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from storyflow.renderer import Lattice

MOST_SHARING = 32
"""Windows at a beat's end that are shortened so that none falls below the floor."""


class NoWindows(ValueError):
    """A stretch that no legal segments fill; `least` is the shortest that they can."""

    def __init__(self, frames: int, least: int) -> None:
        super().__init__(f"{frames} frames can't be divided into segments")
        self.frames = frames
        self.least = least


@dataclass(frozen=True)
class Windows:
    """What decides the division: the model kind's lattice and the profile's wishes.

    `floor` counts whole windows, history included; no window is made shorter by choice. `cost`
    takes a whole window and is only asked by the policy `balanced`.
    """

    lattice: Lattice
    floor: int
    policy: Literal["full", "balanced"]
    cost: Callable[[int], float]

    def lengths(self, *, fresh: bool) -> range:
        """Legal new frames of one segment."""
        return self._first if fresh else self._more

    @cached_property
    def _first(self) -> range:
        return self.lattice.new_frames(fresh=True)

    @cached_property
    def _more(self) -> range:
        return self.lattice.new_frames(fresh=False)

    def least(self, *, fresh: bool) -> int:
        """The shortest segment."""
        return self.lengths(fresh=fresh)[0]

    def offset(self, *, fresh: bool) -> int:
        """Where the grid of a shot begins: segment ends are `offset + k * grid`."""
        return self.least(fresh=fresh) % self.lattice.grid

    def round_up(self, frames: int, *, fresh: bool) -> int:
        """The first segment end at or after `frames`."""
        offset = self.offset(fresh=fresh)
        return offset + -(-(frames - offset) // self.lattice.grid) * self.lattice.grid

    def round_down(self, frames: int, *, fresh: bool) -> int:
        """The last segment end at or before `frames`."""
        offset = self.offset(fresh=fresh)
        return offset + (frames - offset) // self.lattice.grid * self.lattice.grid

    def nearest(self, frames: int, *, fresh: bool) -> int:
        """The segment end nearest to `frames`, the later of two that are equally near."""
        return self.round_down(frames + self.lattice.grid // 2, fresh=fresh)

    def fits(self, frames: int, *, fresh: bool) -> bool:
        """Whether segments can fill exactly this many frames."""
        first, more = self.lengths(fresh=fresh), self.lengths(fresh=False)
        if not first or frames < first[0] or (frames - first[0]) % self.lattice.grid:
            return False
        if frames <= first[-1] or not more:
            return frames <= first[-1]
        count = 1 + max(0, -(-(frames - first[-1]) // more[-1]))
        return frames >= first[0] + (count - 1) * more[0]

    def divide(self, frames: int, *, fresh: bool, exact: bool) -> tuple[int, ...]:
        """Segments for a stretch without pinned windows.

        `exact` stretches are filled to the frame, others at least; a stretch that one window holds
        is then raised to the floor, because more frames cost less there than bad ones. Raises
        NoWindows.
        """
        if not exact:
            frames = max(self.round_up(frames, fresh=fresh), self._floor(fresh))
            while not self.fits(frames, fresh=fresh) and self.lengths(fresh=False):
                frames += self.lattice.grid
        if not self.fits(frames, fresh=fresh):
            raise NoWindows(frames, self.least(fresh=fresh))
        if not self.lengths(fresh=False):
            return (frames,)
        if self.policy == "balanced":
            return self._balanced(frames, fresh)
        return self._full(frames, fresh)

    def keep(
        self, pinned: Sequence[int], frames: int, *, fresh: bool, exact: bool
    ) -> tuple[int, ...]:
        """Segments for a stretch whose earlier windows are pinned. Raises NoWindows."""
        kept: list[int] = []
        done = 0
        best = 0
        for length in pinned:
            if length not in self.lengths(fresh=fresh and not kept):
                break
            if done >= frames or (exact and done + length > frames):
                break
            kept.append(length)
            done += length
            if not exact or done == frames or self.fits(frames - done, fresh=False):
                best = len(kept)
        kept = kept[:best]
        missing = frames - sum(kept)
        if missing > 0 or not kept:
            kept += self.divide(missing, fresh=fresh and not kept, exact=exact)
        return tuple(kept)

    def _floor(self, fresh: bool) -> int:
        """The fewest new frames of a segment whose window is at least the floor."""
        overlap = 0 if fresh else self.lattice.overlap
        lengths = self.lengths(fresh=fresh)
        return next((n for n in lengths if n + overlap >= self.floor), lengths[-1])

    def _full(self, frames: int, fresh: bool) -> tuple[int, ...]:
        first, more = self.lengths(fresh=fresh), self.lengths(fresh=False)
        count = 1 + max(0, -(-(frames - first[-1]) // more[-1]))
        if count == 1:
            return (frames,)
        whole = [first[-1], *[more[-1]] * (count - 2)]
        rest = frames - sum(whole)
        if rest >= self._floor(False):
            return (*whole, rest)
        for sharing in range(2, min(count, MOST_SHARING) + 1):
            kept = whole[: count - sharing]
            last = self._equal(frames - sum(kept), sharing, fresh and not kept)
            if last is not None and self._all_above_floor(last, fresh and not kept):
                return (*kept, *last)
        equal = self._equal(frames - sum(whole[:-1]), 2, fresh and count == 2)
        if equal is not None:
            return (*whole[:-1], *equal)
        equal = self._equal(frames, count, fresh)
        assert equal is not None, "fits() said that it can be divided"
        return equal

    def _all_above_floor(self, lengths: Sequence[int], fresh: bool) -> bool:
        return lengths[0] >= self._floor(fresh) and min(lengths[1:]) >= self._floor(False)

    def _balanced(self, frames: int, fresh: bool) -> tuple[int, ...]:
        first, more = self.lengths(fresh=fresh), self.lengths(fresh=False)
        least = 1 + max(0, -(-(frames - first[-1]) // more[-1]))
        most = 1 + max(0, (frames - self._floor(fresh)) // self._floor(False))
        costs = {
            count: cost
            for count in range(least, max(least, most) + 1)
            if (cost := self._cost(frames, count, fresh)) is not None
        }
        best = min(costs, key=costs.__getitem__, default=None)
        equal = None if best is None else self._equal(frames, best, fresh)
        assert equal is not None, "fits() said that it can be divided"
        return equal

    def _cost(self, frames: int, count: int, fresh: bool) -> float | None:
        """What `count` equal windows cost; None where the lattice has no such windows."""
        more, overlap = self.lengths(fresh=False), self.lattice.overlap
        each, longer = self._ranks(frames, count, fresh)
        if each >= 0 and each + (longer > 0) < len(more):
            window = more[0] + each * self.lattice.grid + overlap
            longer_window = window + self.lattice.grid
            return (count - longer) * self.cost(window) + longer * self.cost(longer_window)
        lengths = self._equal(frames, count, fresh)
        if lengths is None:
            return None
        return sum(self.cost(n + overlap) for n in lengths[1:]) + self.cost(
            lengths[0] + (0 if fresh else overlap)
        )

    def _ranks(self, frames: int, count: int, fresh: bool) -> tuple[int, int]:
        """Equal windows, in grid steps over the shortest continuing one: (each, one more in)."""
        first, more = self.lengths(fresh=fresh), self.lengths(fresh=False)
        steps = (frames - first[0] - (count - 1) * more[0]) // self.lattice.grid
        return divmod(steps - self._ahead(fresh), count)

    def _ahead(self, fresh: bool) -> int:
        """A fresh window has no history in it, so an equal window has more new frames: steps."""
        first, more = self.lengths(fresh=fresh), self.lengths(fresh=False)
        return (more[0] + self.lattice.overlap - first[0]) // self.lattice.grid if fresh else 0

    def _equal(self, frames: int, count: int, fresh: bool) -> tuple[int, ...] | None:
        """`count` segments whose windows are as equal as the grid allows, the longer ones first."""
        first, more = self.lengths(fresh=fresh), self.lengths(fresh=False)
        grid = self.lattice.grid
        each, longer = self._ranks(frames, count, fresh)
        ranks = [each + 1] * longer + [each] * (count - longer)
        ranks[0] += self._ahead(fresh)
        room = [len(first) - 1, *[len(more) - 1] * (count - 1)]
        ranks = [min(max(rank, 0), most) for rank, most in zip(ranks, room, strict=True)]
        missing = (frames - first[0] - (count - 1) * more[0]) // grid - sum(ranks)
        for index, most in enumerate(room):
            moved = min(max(missing, -ranks[index]), most - ranks[index])
            ranks[index] += moved
            missing -= moved
        if missing:
            return None
        return (first[0] + ranks[0] * grid, *(more[0] + rank * grid for rank in ranks[1:]))
