"""What the dailies of a night say, as plain values: the page shows them, the JSON is made of them.

Times are ISO 8601 in UTC, durations and GPU time in seconds, money in the series' `currency`; None
where nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from storyflow.qc.verdicts import Level
from storyflow.reporting.look import Shown

PictureState = Literal["new", "kept", "uncut", "missing"]
"""A shot of which something was rendered in this night; one that stands as it was; one that was
rendered in this night and is in no film yet; one that is missing from the film."""


@dataclass(frozen=True)
class Picture:
    """One shot on an episode's contact sheet.

    `timecode` is its place in the film, empty where it has none. `line` says what happens, or why
    it is missing. `shown` is not in the JSON.
    """

    shot: str
    state: PictureState
    timecode: str = ""
    length: str = ""
    line: str = ""
    shown: Annotated[Shown | None, Field(exclude=True)] = None


@dataclass(frozen=True)
class Finding:
    """What `storyflow qc` found in a film: a warning or a failure."""

    level: Level
    text: str
    shot: str | None = None


@dataclass(frozen=True)
class EpisodeNight:
    """What became of one episode in this night, all calls together.

    `outcome` is the last call's, as in the ledger. `film_seconds` is the film's length. Of the
    `gpu_seconds`, those of its prompts included, `estimate_seconds` were expected for what was
    rendered. `second_gpu` and `second_money` are what a second of the finished film has cost in
    all nights. `sheet` shows the film as it is now; `findings` is None where nobody measured it,
    `stale` where they are of an older version of some shots. `folder`, `report` and `film` are
    paths from the page's folder.
    """

    name: str
    title: str
    outcome: str
    calls: int
    rendered: int
    reused: int
    failed: int
    film_seconds: float
    gpu_seconds: float
    estimate_seconds: float | None
    money: float | None
    second_gpu: float | None
    second_money: float | None
    folder: str
    report: str | None
    film: str | None
    error: str
    sheet: tuple[Picture, ...] = ()
    findings: tuple[Finding, ...] | None = None
    stale: bool = False


@dataclass(frozen=True)
class Cause:
    """A segment that failed for good, its shot, and why."""

    segment: str
    shot: str
    error: str


@dataclass(frozen=True)
class Failure:
    """An episode that somebody has to look at.

    `command` renders what failed once the cause is gone; `cure` says what to do before, where
    something has to be done. `mended` says that it isn't so any more.
    """

    episode: str
    outcome: str
    error: str
    causes: tuple[Cause, ...]
    cure: str
    command: str
    mended: bool = False


@dataclass(frozen=True)
class Call:
    """One call that rendered: when, how it ended, what its machines were held for."""

    run: int
    began: str
    ended: str | None
    outcome: str
    host: str
    gpu_seconds: float
    money: float | None
    error: str


@dataclass(frozen=True)
class Bill:
    """The night in figures.

    `gpu_seconds` is all that was held, loading and waiting included, `budget_seconds` what may be;
    `estimate_seconds` was expected for what was rendered. `finished` films of `finished_seconds`
    in all were completed; `second_gpu` and `second_money` are what a second of them has cost in
    all nights.
    """

    gpu_seconds: float
    money: float | None
    currency: str
    estimate_seconds: float | None
    budget_seconds: float | None
    rendered: int
    reused: int
    failed: int
    finished: int
    finished_seconds: float
    second_gpu: float | None
    second_money: float | None

    @property
    def off(self) -> float | None:
        """How far the estimate was off: 0.1 where it took a tenth more."""
        expected = self.estimate_seconds
        return None if not expected else self.gpu_seconds / expected - 1


@dataclass(frozen=True)
class Coming:
    """What an episode still needs. `over` says why it can't be finished in one night."""

    episode: str
    title: str
    state: str
    segments: int
    gpu_seconds: float | None
    money: float | None
    over: str


@dataclass(frozen=True)
class Next:
    """What comes next, as planned when the dailies were made.

    `when` is the moment from which the next call renders (None: at once), and `left_seconds` what
    the budget of the night in which that is has left. `nights` is how many the rest takes.
    `done` counts episodes, of `episodes`.
    """

    when: str | None
    closes: str | None
    left_seconds: float | None
    nights: int | None
    done: int
    episodes: int
    segments: int
    gpu_seconds: float | None
    money: float | None
    waiting: tuple[Coming, ...]


@dataclass(frozen=True, kw_only=True)
class Dailies:
    """One night of a series. `storyflow` is the format's version, `made` when this was written."""

    storyflow: Literal[1] = 1
    series: str
    night: str
    made: str
    zone: str
    bill: Bill
    failures: tuple[Failure, ...]
    episodes: tuple[EpisodeNight, ...]
    calls: tuple[Call, ...]
    next: Next
    notices: tuple[str, ...] = ()

    def as_data(self) -> object:
        """The same as values for JSON."""
        return TypeAdapter(Dailies).dump_python(self, mode="json")
