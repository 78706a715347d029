"""The lock, `x.lock.yaml` beside a storyboard: what was decided once and must not change by itself.

Ids of shots that have none in the file, seeds, windows that were rendered, chosen and held takes.
It is written by storyflow and meant for git. Reading it back gives the same value.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Branch:
    """A take that shares the first `segments` segments of another take of the same shot."""

    take: int
    segments: int


@dataclass(frozen=True)
class LockedTake:
    """One take: the seed of all its own segments, and where it branches off, if it does."""

    take: int
    seed: int
    branch: Branch | None = None


@dataclass(frozen=True)
class PinnedWindows:
    """New frames of each rendered segment, per beat, for one pipeline's lattice."""

    pipeline: str
    beats: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Held:
    """An approved take kept although its inputs change: its segments' keys on one pipeline.

    `facts` is the (name, value) list that the prompts were made from when it was held, so that the
    plan can say what has changed since ("held, stale: style").
    """

    pipeline: str
    take: int
    keys: tuple[str, ...]
    windows: tuple[tuple[int, ...], ...]
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LockedShot:
    """What is pinned for one shot. `chosen` is the take for the cut, None if nobody chose."""

    id: str
    fingerprint: str
    takes: tuple[LockedTake, ...]
    chosen: int | None = None
    windows: tuple[PinnedWindows, ...] = ()
    held: Held | None = None


@dataclass(frozen=True)
class Lock:
    """The pinned facts of one film, in storyboard order; shots that left the film stay listed."""

    shots: tuple[LockedShot, ...] = ()
