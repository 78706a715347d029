"""The lock, `x.lock.yaml` beside a storyboard: what was decided once and must not change by itself.

Ids of shots that have none in the file, seeds, windows that were rendered, chosen and held takes.
It is written by storyflow and meant for git. Reading it back gives the same value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from storyflow.storyboard.ids import PinnedShot

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Branch:
    """A take that shares the first `segments` segments of another take of the same shot."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    take: int
    segments: int


@dataclass(frozen=True)
class LockedTake:
    """One take: the seed of all its own segments, and where it branches off, if it does."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    take: int
    seed: int
    branch: Branch | None = None


@dataclass(frozen=True)
class PinnedWindows:
    """New frames of each rendered segment, per beat, for one pipeline's lattice.

    `head` is the handle that they were laid out with: the frames before the cut-in.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    pipeline: str
    beats: tuple[tuple[int, ...], ...]
    head: int = 0


@dataclass(frozen=True)
class Held:
    """An approved take kept although its inputs change: its segments' keys on one pipeline.

    `facts` is the (name, value) list that the prompts were made from when it was held, so that the
    plan can say what has changed since ("held, stale: style").
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    pipeline: str
    take: int
    keys: tuple[str, ...]
    windows: tuple[tuple[int, ...], ...]
    facts: tuple[tuple[str, str], ...]
    head: int = 0


@dataclass(frozen=True)
class LockedShot:
    """What is pinned for one shot. `chosen` is the take for the cut, None if nobody chose."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    id: str
    fingerprint: str
    takes: tuple[LockedTake, ...]
    chosen: int | None = None
    windows: tuple[PinnedWindows, ...] = ()
    held: Held | None = None


@dataclass(frozen=True)
class Lock:
    """The pinned facts of one film, in storyboard order; shots that left the film stay listed.

    `seed` is the film's seed that the takes' seeds were derived from: a film with another seed gets
    new ones.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    shots: tuple[LockedShot, ...] = ()
    seed: int | None = None

    def shot(self, id: str) -> LockedShot | None:
        """What is pinned for the shot of this id, None if nothing is."""
        return next((shot for shot in self.shots if shot.id == id), None)

    @property
    def pinned(self) -> tuple[PinnedShot, ...]:
        """What finds the ids of shots again that have none in the file."""
        return tuple(PinnedShot(shot.id, shot.fingerprint) for shot in self.shots)
