"""What rendering a series tells while it goes on, and how it ends: frozen values.

The order is: SeriesBegan, then any mixture of the middle ones, then SeriesEnded exactly once. A
call that renders and cuts nothing tells no SeriesBegan. Notices may come even later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from storyflow.events import Event, ShotFailed
from storyflow.series.ledger import Outcome
from storyflow.series.plan import EpisodePlan

EpisodeOutcome = Outcome | Literal["done"]
SeriesOutcome = Outcome | Literal["busy", "closed"]

ENDINGS: dict[str, int] = {
    "failed": 5, "stopped": 130, "budget": 4, "window": 4, "partial": 3, "broken": 3,
}  # fmt: skip
"""Exit codes of what isn't complete, the worst ending first."""


@dataclass(frozen=True)
class EpisodeResult:
    """How one episode stands when a call ends. `error` says why, where it isn't complete.

    `outcome` is done where nothing was to do; else see the ledger. `rendered` and `reused` count
    segments; `failures` are those of this call.
    """

    name: str
    outcome: EpisodeOutcome
    rendered: int = 0
    reused: int = 0
    gpu_seconds: float = 0.0
    money: float | None = None
    film: Path | None = None
    failures: tuple[ShotFailed, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class SeriesResult:
    """How a call ended.

    `outcome`: complete; busy, where another call is at it; closed, outside of the window; else the
    worst ending of an episode, or failed, where the whole call broke down. `gpu_seconds` is all
    that the call held. `run` is its number in the ledger, 0 where nothing was to be rendered.
    """

    title: str
    night: str
    outcome: SeriesOutcome
    episodes: tuple[EpisodeResult, ...] = ()
    gpu_seconds: float = 0.0
    money: float | None = None
    error: str = ""
    run: int = 0

    @property
    def exit_code(self) -> int:
        """0 for complete, busy and closed; 3 partial or broken, 4 budget or window, 5 failed, 130
        stopped."""
        return ENDINGS.get(self.outcome, 0)

    def as_data(self) -> dict[str, object]:
        """The same as values for JSON."""
        return {"storyflow": 1, **asdict(self), "exit_code": self.exit_code}


@dataclass(frozen=True)
class SeriesBegan:
    """A call has the series to itself and something to render; every episode, as it is planned.

    `run` is its number in the ledger.
    """

    title: str
    night: str
    run: int
    episodes: tuple[EpisodePlan, ...]


@dataclass(frozen=True)
class EpisodeBegan:
    """An episode's turn has come: its prompts, its segments or its cut are begun."""

    episode: str


@dataclass(frozen=True)
class EpisodeTold:
    """Something that happens to an episode's film."""

    episode: str
    event: Event


@dataclass(frozen=True)
class EpisodeEnded:
    """This call is done with an episode that was to be rendered, or finds it broken for the first
    time in this night."""

    result: EpisodeResult


@dataclass(frozen=True)
class SeriesNotice:
    """One line about the series, or the machines, that the user should read."""

    text: str


@dataclass(frozen=True)
class SeriesEnded:
    """The call is over, whatever happened."""

    result: SeriesResult


SeriesEvent = SeriesBegan | EpisodeBegan | EpisodeTold | EpisodeEnded | SeriesNotice | SeriesEnded
Tell = Callable[[SeriesEvent], None]


def worst(outcomes: set[EpisodeOutcome]) -> Outcome:
    """What a call with these episodes comes to."""
    endings: tuple[Outcome, ...] = ("failed", "stopped", "budget", "window", "partial", "broken")
    return next((outcome for outcome in endings if outcome in outcomes), "complete")


def ending(error: BaseException) -> tuple[Literal["stopped", "failed"], str]:
    """How a call ends that raised, and why."""
    if isinstance(error, asyncio.CancelledError):
        return "stopped", "the run was stopped"
    return "failed", str(error) or type(error).__name__
