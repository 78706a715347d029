"""Commands that measure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from storyflow.cli.app import app, print_json
from storyflow.cli.options import AsJson

if TYPE_CHECKING:
    from storyflow.simulate.farm import FarmRun

bench = typer.Typer(name="bench", help="Measure storyflow itself.", no_args_is_help=True)
app.add_typer(bench)


@bench.callback()
def _bench() -> None:
    """Measure storyflow itself."""


@bench.command()
def farm(
    seed: Annotated[int, typer.Option("--seed", help="What is drawn by chance.")] = 1,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only this scenario; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Play nights on farms that don't exist: how close the dispatcher comes to the best there is.

    Leaves with 3 where a scenario misses its bound.
    """
    from storyflow.errors import InputError
    from storyflow.simulate.farm import simulate
    from storyflow.simulate.scenario import scenarios

    every = {scenario.name: scenario for scenario in scenarios(seed)}
    for name in only or ():
        if name not in every:
            raise InputError(
                f"there is no scenario {name!r}", cure=f"use one of {', '.join(every)}"
            )
    runs = [simulate(scenario) for name, scenario in every.items() if name in (only or every)]
    if as_json:
        print_json([_as_data(run) for run in runs])
    else:
        _print(runs)
    raise typer.Exit(0 if all(run.meets for run in runs) else 3)


def _as_data(run: FarmRun) -> dict[str, object]:
    return {
        "scenario": run.scenario.name,
        "about": run.scenario.about,
        "seed": run.scenario.seed,
        "makespan": run.makespan,
        "lower_bound": run.lower_bound,
        "ratio": run.ratio,
        "bound": run.scenario.bound,
        "idle": run.idle,
        "dispatched": run.dispatched,
        "lost_seconds": run.lost_seconds,
        "per_minute": run.per_minute,
        "films": [asdict(film) for film in run.films],
    }


def _print(runs: list[FarmRun]) -> None:
    from rich.table import Table

    from storyflow.terminal import new_console

    console = new_console()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("scenario", "hours", "at least", "ratio", "bound", "idle", "lost", "per minute"):
        table.add_column(name, justify="left" if name == "scenario" else "right", no_wrap=True)
    for run in runs:
        table.add_row(
            run.scenario.name,
            f"{run.makespan / 3600:.2f}",
            f"{run.lower_bound / 3600:.2f}",
            f"{run.ratio:.3f}" if run.meets else f"[red]{run.ratio:.3f}[/]",
            f"{run.scenario.bound:.2f}",
            f"{abs(run.idle):.1%}",
            f"{run.lost_seconds / 3600:.1f} h",
            f"{run.per_minute:,.0f}",
        )
    console.print(table)
    for run in runs:
        console.print(f"[bold]{run.scenario.name}[/]: {run.scenario.about}", highlight=False)
        for film in run.films:
            if film.share is not None and film.fair is not None:
                console.print(
                    f"  film {film.film + 1}: came after {film.arrived / 60:.0f} min, waited "
                    f"{film.begun - film.arrived:.0f} s, done after {film.done / 3600:.2f} h; had "
                    f"{film.share:.0%} of the GPU time while all had work, fair {film.fair:.0%}",
                    highlight=False,
                    soft_wrap=True,
                )
    console.print(
        "hours are simulated; idle is before the tail; lost is what ended in nothing, loading "
        "included; per minute are segments dispatched by one processor",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )
