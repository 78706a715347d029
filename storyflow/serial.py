"""The verbs for series.

plan = storyflow.plan_series("series.yaml")
result = storyflow.render_series("series.yaml")
frame = storyflow.series_history("series.yaml", "segments")
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from storyflow.budget import Budget
from storyflow.draining import Draining
from storyflow.poison import FAILED, Failed, Poison
from storyflow.series.dailies.write import Written, write_dailies
from storyflow.series.history import Table, export, frame_of
from storyflow.series.ledger import Ledger
from storyflow.series.load import episode_named, episodes_of
from storyflow.series.model import Series
from storyflow.series.night import night_of
from storyflow.series.orders import Grounds, Where
from storyflow.series.plan import SeriesPlan
from storyflow.series.plan import plan_series as plan_on
from storyflow.series.run import SeriesRun
from storyflow.series.status import SeriesStatus
from storyflow.series.status import series_status as status_on
from storyflow.series.told import SeriesResult, Tell, ending

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TriedAgain:
    """What the next render of an episode tries again."""

    episode: str
    failed: Failed


def plan_series(series: Series | str | Path, **where: Unpack[Where]) -> SeriesPlan:
    """What rendering a series would do, per episode and in all; renders and writes nothing.

    Raises InputError for the series file, StoreError; a broken episode says so in its row.
    """
    return plan_on(Grounds(series, where), datetime.now(UTC))


def start_series(
    series: Series | str | Path,
    *,
    episodes: Iterable[str] | None = None,
    max_gpu_hours: float | None = None,
    max_cost: float | None = None,
    doctor: bool = True,
    **where: Unpack[Where],
) -> SeriesRun:
    """Begin to render what isn't done of a series and return at once: events, cancelling and the
    result are the run's.

    `episodes` limits it to these; `max_gpu_hours` and `max_cost` limit what this call may use,
    within what the rules leave it. A Ray that runs already is examined first, without `doctor` it
    is not. A call while another one renders the series ends at once, and so does one outside of
    the window. Raises InputError for the series file, an unknown episode or a limit; everything
    later is in the run's result.
    """
    # Rendering is not needed for planning, which imports this.
    from storyflow.series.render import Wishes, render_series

    grounds, draining = Grounds(series, where), Draining()
    only = None if episodes is None else [episode_named(grounds.series, e).name for e in episodes]
    price, currency = grounds.cluster.price, grounds.cluster.currency
    wishes = Wishes(
        only=only,
        limit=Budget(max_gpu_hours, max_cost, price=price, currency=currency),
        doctor=doctor,
    )

    async def work(tell: Tell) -> SeriesResult:
        return await render_series(grounds, tell, draining, wishes=wishes)

    def before(error: BaseException) -> SeriesResult:
        night = night_of(grounds.series.rules, datetime.now(UTC)).date.isoformat()
        outcome, why = ending(error)
        return SeriesResult(grounds.series.series, night, outcome, error=why)

    return SeriesRun(work, before, draining)


def render_series(
    series: Series | str | Path,
    *,
    episodes: Iterable[str] | None = None,
    max_gpu_hours: float | None = None,
    max_cost: float | None = None,
    doctor: bool = True,
    **where: Unpack[Where],
) -> SeriesResult:
    """Render what isn't done of a series and wait for it; see `start_series`.

    How each episode ended is in the result. Raises InputError before anything is rendered,
    InfrastructureError when store, ledger or machines fail.
    """
    run = start_series(
        series,
        episodes=episodes,
        max_gpu_hours=max_gpu_hours,
        max_cost=max_cost,
        doctor=doctor,
        **where,
    )
    return run.result()


def series_status(series: Series | str | Path, **where: Unpack[Where]) -> SeriesStatus:
    """How a series stands, per episode: what is done, what failed, who renders what now.

    Raises InputError for the series file, StoreError, LedgerError.
    """
    return status_on(Grounds(series, where), datetime.now(UTC))


def retry_series(
    series: Series | str | Path, episodes: Iterable[str] | None = None, **where: Unpack[Where]
) -> tuple[TriedAgain, ...]:
    """Let the next render try again what failed for good, in these episodes or in all.

    What will be tried again. Raises InputError, InfrastructureError.
    """
    grounds = Grounds(series, where)
    if episodes is None:
        listed = episodes_of(grounds.series)
    else:
        listed = tuple(episode_named(grounds.series, name) for name in episodes)
    return tuple(
        TriedAgain(each.name, failed)
        for each in listed
        for failed in Poison(grounds.folder / each.name / FAILED).forget()
    )


def series_history(
    series: Series | str | Path,
    table: Table = "runs",
    *,
    to: str | Path | None = None,
    **where: Unpack[Where],
) -> pd.DataFrame:
    """What was rendered of a series: its runs, episodes or segments, the oldest first.

    `to` is a .csv or .parquet file to write it to. Raises InputError, InfrastructureError.
    """
    grounds = Grounds(series, where)
    with Ledger.reading(grounds.ledger) as ledger:
        frame = frame_of(ledger, table, grounds.series.series)
    if to is not None:
        export(frame, Path(to))
    return frame


def series_dailies(
    series: Series | str | Path,
    night: str | None = None,
    *,
    to: str | Path | None = None,
    **where: Unpack[Where],
) -> Written:
    """Write the dailies of a night: a page, and the same as JSON beside it; renders nothing.

    `night` is the date on which it began; without one it is the last that rendered or is over.
    `to` is the page, .html, instead of dailies/NIGHT.html beside the films. Raises InputError,
    InfrastructureError.
    """
    return write_dailies(Grounds(series, where), night, datetime.now(UTC), Path(to) if to else None)
