"""The command that shows what became of a series' night."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from storyflow.cli.app import print_json
from storyflow.cli.options import AllowOutside, AsJson, Settings, StoreFolder
from storyflow.cli.series import Cluster, Out, SeriesFile, series, where_of

if TYPE_CHECKING:
    from storyflow.series.dailies.facts import Dailies


@series.command()
def dailies(
    file: SeriesFile,
    night: Annotated[
        str | None,
        typer.Option("--night", help="Its date, such as 2026-01-31. Without: the last one."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="The page, .html. Without: dailies/NIGHT.html beside the films."),
    ] = None,
    cluster: Cluster = None,
    store: StoreFolder = None,
    out: Out = None,
    settings: Settings = None,
    allow_outside: AllowOutside = False,
    as_json: AsJson = False,
) -> None:
    """Write the page of a night, and the same as JSON beside it; renders nothing."""
    import storyflow

    where = where_of(cluster, store, out, settings, allow_outside=allow_outside)
    made = storyflow.series_dailies(file, night, to=to, **where)
    if as_json:
        print_json(made.dailies.as_data())
        return
    print(_line(made.dailies))
    for failure in made.dailies.failures:
        if not failure.mended:
            print(f"{failure.episode} is {failure.outcome}: {failure.command}")
    print(made.page)


def _line(made: Dailies) -> str:
    """The night in one line."""
    from storyflow.series.dailies.page import count, gpu, money

    bill = made.bill
    cost = "" if bill.money is None else f", {money(bill.money)} {bill.currency}"
    return (
        f"night of {made.night}: {count(bill.finished, 'film')} finished, "
        f"{count(bill.rendered, 'segment')} rendered, {gpu(bill.gpu_seconds)} of GPU time{cost}"
    )
