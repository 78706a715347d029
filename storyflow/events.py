"""What a run tells while it goes on: frozen values, the same for the CLI's live view and for tools.

The order is: Planned, then any mixture of the middle ones, then Finished exactly once. What is told
while a model writes prompts (PromptsWritten, Notices) comes before all that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Planned:
    """The run knows its work: segments to bring about, how many of them the store has, film frames.

    `flops` are the floating-point operations of what is left to render.
    """

    film: str
    segments: int
    reusable: int
    frames: int
    flops: float


@dataclass(frozen=True)
class Notice:
    """One line that the user should read: an adjustment, random weights, a retry."""

    text: str


@dataclass(frozen=True)
class PromptsWritten:
    """Language models have been at the prompts, and held `gpu_seconds` for it."""

    gpu_seconds: float


@dataclass(frozen=True)
class WorkerReady:
    """A worker has loaded its model; `numerics` is its numerics class, `renders` is False for one
    that encodes prompts."""

    worker: str
    numerics: str
    renders: bool = True


@dataclass(frozen=True)
class WorkerLost:
    """A worker died; its segment goes back to the queue."""

    worker: str
    segment: str | None
    cause: str


@dataclass(frozen=True)
class WorkerReleased:
    """A worker that had nothing to do gave its GPU back."""

    worker: str


@dataclass(frozen=True)
class SegmentStarted:
    """A worker began a segment. `attempt` counts from 1."""

    segment: str
    shot: str
    key: str
    worker: str
    attempt: int


@dataclass(frozen=True)
class Step:
    """Progress within a segment, in solver steps."""

    segment: str
    done: int
    total: int


@dataclass(frozen=True)
class SegmentDone:
    """A segment is in the store.

    `place` is where the lossless clip of its new frames lies, as text: a run keeps its events.
    `worker` is who rendered it in `seconds`, empty where it was reused.
    """

    segment: str
    shot: str
    key: str
    reused: bool
    seconds: float
    place: str
    worker: str = ""

    @property
    def frames(self) -> Path | str:
        """The clip's path, or its URL in a store that is no folder."""
        return self.place if "://" in self.place else Path(self.place)


@dataclass(frozen=True)
class ShotFailed:
    """A segment failed for good; `missing` are the shots that can't be completed because of it,
    `blocked` counts the segments that will not be begun."""

    segment: str
    shot: str
    error: str
    missing: tuple[str, ...]
    blocked: int = 0


@dataclass(frozen=True)
class CutStarted:
    """All segments are decided; the film of so many frames is joined, with cards for `missing`."""

    frames: int
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Spent:
    """What a run used: worker seconds, the part of them that ended in a stored segment, money.

    `prompt_seconds` are the GPU-seconds that language models held; `money` is for them, too.
    """

    worker_seconds: float
    useful_seconds: float
    money: float | None = None
    prompt_seconds: float = 0.0

    def after(self, prompt_seconds: float, money: float | None) -> Spent:
        """With what went into the prompts before."""
        total = None if self.money is None else self.money + (money or 0.0)
        return replace(self, money=total, prompt_seconds=self.prompt_seconds + prompt_seconds)


@dataclass(frozen=True)
class Result:
    """How a run ended. A partial film is a result, not an exception.

    `film` is film.mp4, film.partial.mp4, or None where nothing could be cut (cancelled, or only
    some shots were asked for). `error` is the one line for an end other than complete or partial.
    """

    title: str
    folder: Path
    film: Path | None
    manifest: Path | None
    complete: bool
    failures: tuple[ShotFailed, ...]
    rendered: int
    reused: int
    spent: Spent
    exit_code: int
    error: str | None = None


@dataclass(frozen=True)
class Finished:
    """The last event."""

    result: Result


Event = (
    Planned
    | Notice
    | PromptsWritten
    | WorkerReady
    | WorkerLost
    | WorkerReleased
    | SegmentStarted
    | Step
    | SegmentDone
    | ShotFailed
    | CutStarted
    | Finished
)
