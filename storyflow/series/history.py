"""The ledger's tables as data frames, and as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from storyflow.errors import InfrastructureError, InputError
from storyflow.series.ledger import EpisodeRow, Ledger, Row, RunRow, SegmentRow, columns

if TYPE_CHECKING:
    import pandas as pd

Table = Literal["runs", "episodes", "segments"]
TABLES: tuple[Table, ...] = ("runs", "episodes", "segments")


def frame_of(ledger: Ledger, table: Table, series: str) -> pd.DataFrame:
    """One table of a series as a data frame; times are in UTC."""
    import pandas as pd

    kind: type[Row]
    rows: Sequence[Row]
    match table:
        case "runs":
            kind, rows = RunRow, ledger.runs(series)
        case "episodes":
            kind, rows = EpisodeRow, ledger.episodes(series)
        case "segments":
            kind, rows = SegmentRow, ledger.segments(series)
    made = pd.DataFrame([astuple(row) for row in rows], columns=columns(kind))
    for name in ("began", "ended", "at"):
        if name in made.columns:
            made[name] = pd.to_datetime(made[name], utc=True)
    return made


def export(frame: pd.DataFrame, file: Path) -> None:
    """Write a data frame as CSV or Parquet, as the file's name says.

    Raises InputError for another name, or without pyarrow; InfrastructureError.
    """
    kind = file.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise InputError(f"{file} is neither .csv nor .parquet", cure="name one of them")
    try:
        if kind == ".csv":
            frame.to_csv(file, index=False)
        else:
            frame.to_parquet(file, index=False)
    except ImportError:
        raise InputError(
            "Parquet needs pyarrow, which isn't installed",
            cure="pip install 'storyflow[parquet]', or write .csv",
        ) from None
    except OSError as error:
        raise InfrastructureError(
            f"can't write {file} ({error.strerror or error})", cure="choose another file"
        ) from None
