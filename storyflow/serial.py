"""The verbs for series.

plan = storyflow.plan_series("series.yaml")
frame = storyflow.series_history("series.yaml", "segments")
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from storyflow.series.history import Table, export, frame_of
from storyflow.series.ledger import Ledger
from storyflow.series.model import Series
from storyflow.series.orders import Grounds, Where
from storyflow.series.plan import SeriesPlan
from storyflow.series.plan import plan_series as plan_on

if TYPE_CHECKING:
    import pandas as pd


def plan_series(series: Series | str | Path, **where: Unpack[Where]) -> SeriesPlan:
    """What rendering a series would do, per episode and in all; renders and writes nothing.

    Raises InputError for the series file, StoreError; a broken episode says so in its row.
    """
    return plan_on(Grounds(series, where), datetime.now(UTC))


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
