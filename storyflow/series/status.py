"""How a series stands: what each episode waits for, who renders, what the night has left.

Reads the plan, the ledger and the claim; writes nothing, and is safe while a call renders.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from storyflow.claim import holder_of
from storyflow.series.ledger import EpisodeRow, Ledger, RunRow
from storyflow.series.night import night_of
from storyflow.series.orders import Grounds
from storyflow.series.plan import EpisodePlan, plan_series
from storyflow.store.store import Store

State = Literal["done", "cut", "render", "partial", "failed", "broken", "waiting", "running"]


@dataclass(frozen=True)
class EpisodeStatus:
    """How an episode stands.

    `state`: done; cut, where only the film is missing; render; partial, where the rest failed for
    good and is left; failed, where the last call could not finish it and the next one tries again;
    broken; while a call is at work, waiting and running `since`. `stored` of its `segments` are in
    the store. `error` says why it isn't done, `gpu_seconds` what it used in this night.
    """

    name: str
    title: str
    state: State
    segments: int
    stored: int
    gpu_seconds: float
    since: str = ""
    error: str = ""


@dataclass(frozen=True)
class AtWork:
    """A call that renders: who, and since when (ISO 8601), empty while it still plans."""

    who: str
    since: str


@dataclass(frozen=True)
class SeriesStatus:
    """How a series stands in the night of `night`.

    `left` is what its budget still has, in GPU-seconds, None without one; `used` what its calls
    held. `closes` is when nothing new begins any more, `opens` when rendering may go on where the
    window is closed; both empty without a window. `lost` tells that the last call died.
    """

    title: str
    night: str
    open: bool
    opens: str
    closes: str
    at_work: AtWork | None
    lost: bool
    left: float | None
    used: float
    money: float | None
    currency: str
    episodes: tuple[EpisodeStatus, ...]

    def as_data(self) -> dict[str, object]:
        """The same as values for JSON."""
        return {"storyflow": 1, **asdict(self)}


def series_status(grounds: Grounds, now: datetime) -> SeriesStatus:
    """See the module. Raises StoryboardError for the series file, StoreError, LedgerError."""
    title, night = grounds.series.series, night_of(grounds.series.rules, now)
    date = night.date.isoformat()
    who = holder_of(Store(grounds.store, grounds.cluster.cache.limit), grounds.claim)
    plan = plan_series(grounds, now)
    with Ledger.reading(grounds.ledger) as ledger:
        runs = ledger.runs(title)
        latest = ledger.latest(title)
        used = ledger.night_seconds(title, date)
        spent = {
            each.name: ledger.episode_seconds(title, date, each.name) for each in plan.episodes
        }
    running = runs[-1] if runs and runs[-1].outcome == "running" else None
    return SeriesStatus(
        title=title,
        night=date,
        open=night.open,
        opens=plan.opens,
        closes="" if night.closes is None or not night.open else night.closes.isoformat(),
        at_work=None if who is None else AtWork(who, "" if running is None else running.began),
        lost=who is None and running is not None,
        left=plan.left,
        used=used,
        money=grounds.night.cost(used),
        currency=plan.currency,
        episodes=tuple(
            _status(each, latest.get(each.name), spent[each.name], None if who is None else running)
            for each in plan.episodes
        ),
    )


def _status(
    plan: EpisodePlan, row: EpisodeRow | None, used: float, running: RunRow | None
) -> EpisodeStatus:
    state: State = "partial" if plan.state == "failed" else plan.state
    since, error = "", plan.error
    if row is not None and running is not None and row.run == running.run:
        if row.outcome in ("waiting", "running"):
            state = "running" if row.outcome == "running" else "waiting"
            since = row.began if row.outcome == "running" else ""
    elif state in ("render", "cut") and row is not None and row.error:
        error = row.error
        state = "failed" if row.outcome == "failed" else state
    return EpisodeStatus(
        plan.name, plan.title, state, plan.segments, plan.reuse, used, since, error
    )
