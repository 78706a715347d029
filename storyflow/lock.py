"""The lock, `x.lock.yaml` beside a storyboard: what was decided once and must not change by itself.

Ids of shots that have none in the file, seeds, windows that were rendered, chosen and held takes,
and the words of every prompt. It is written by storyflow and meant for git. Reading it back gives
the same value.
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
class LockedPrompt:
    """The prompt of one beat: `text` is what the model is told, whoever wrote it.

    `stamp` is `FACTS-WRITTEN`: the hash of what the storyboard said of the beat when the prompt was
    written (or kept), and that of the text as it was written. A text with another one was edited by
    hand, which `hand` marks for readers. `source` is who wrote it. `caption` is the structured
    caption that a model's text was made from, as JSON; the composer's can be had from the
    storyboard. `dropped` are the clauses that were left out to make it fit. A `provisional` one
    stands in for a model's and is written anew by the next run.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    text: str
    stamp: str
    source: str = "composer"
    hand: bool = False
    provisional: bool = False
    caption: str = ""
    dropped: tuple[str, ...] = ()

    @property
    def facts(self) -> str:
        """The hash of what the storyboard said."""
        return self.stamp.partition("-")[0]

    @property
    def written(self) -> str:
        """The hash of the text as it was written."""
        return self.stamp.partition("-")[2]


@dataclass(frozen=True)
class LockedPrompts:
    """The prompts of a shot, beat by beat, for the pipelines of one prompt profile."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    profile: str
    beats: tuple[LockedPrompt, ...]


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
    prompts: tuple[LockedPrompts, ...] = ()

    def prompts_for(self, profile: str) -> tuple[LockedPrompt, ...]:
        """The prompts of one prompt profile, beat by beat; none where none were written."""
        return next((each.beats for each in self.prompts if each.profile == profile), ())


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
