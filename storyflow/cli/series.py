"""Commands for series: many films, night after night."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from storyflow.cli.app import app, print_json
from storyflow.cli.options import (
    Address,
    AllowOutside,
    AsJson,
    Settings,
    StoreFolder,
    Workers,
)

if TYPE_CHECKING:
    from storyflow.series.orders import Where

series = typer.Typer(
    name="series",
    help="Many films, night after night: plan, render, see how they stand.",
    no_args_is_help=True,
)
app.add_typer(series)

SeriesFile = Annotated[Path, typer.Argument(metavar="SERIES", help="The series file.")]
Cluster = Annotated[
    str | None, typer.Option("--cluster", help="Cluster file [the rules', or local].")
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Folder for the films [renders/SERIES beside it].")
]


@series.command()
def plan(
    file: SeriesFile,
    cluster: Cluster = None,
    store: StoreFolder = None,
    out: Out = None,
    settings: Settings = None,
    address: Address = None,
    workers: Workers = None,
    allow_outside: AllowOutside = False,
    as_json: AsJson = False,
) -> None:
    """Print what the next renders would do, per episode and in all."""
    import storyflow

    where = where_of(cluster, store, out, settings, address, workers, allow_outside)
    made = storyflow.plan_series(file, **where)
    if as_json:
        print_json(made.as_data())
    else:
        from storyflow.series.tables import print_plan

        print_plan(made)
    raise typer.Exit(1 if any(each.state == "broken" for each in made.episodes) else 0)


@series.command()
def history(
    file: SeriesFile,
    table: Annotated[str, typer.Option("--table", help="runs, episodes or segments.")] = "runs",
    to: Annotated[
        Path | None, typer.Option("--to", help="Write a .csv or .parquet file instead.")
    ] = None,
    cluster: Cluster = None,
    store: StoreFolder = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Print what was rendered, when and for how much; or export it."""
    import storyflow
    from storyflow.series.history import TABLES

    known = next((name for name in TABLES if name == table), None)
    if known is None:
        raise typer.BadParameter(f"there is no table {table}; use {', '.join(TABLES)}")
    frame = storyflow.series_history(file, known, to=to, **where_of(cluster, store, out))
    if to is not None:
        print(f"{to}: {len(frame)} rows")
    elif as_json:
        print(frame.to_json(orient="records", date_format="iso", indent=2))
    else:
        print(frame.to_string(index=False) if len(frame) else "nothing was rendered yet")


def where_of(
    cluster: str | None,
    store: str | None,
    out: Path | None,
    settings: list[str] | None = None,
    address: str | None = None,
    workers: int | None = None,
    allow_outside: bool = False,
) -> Where:
    """What the options say instead of the rules."""
    return {
        "cluster": cluster,
        "store": store,
        "out": out,
        "settings": tuple(settings or ()),
        "address": address,
        "workers": workers,
        "allow_outside": allow_outside,
    }
