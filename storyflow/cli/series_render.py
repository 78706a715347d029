"""Commands that render a series, and say how it stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from storyflow.cli.app import print_json, report
from storyflow.cli.options import (
    Address,
    AllowOutside,
    AsJson,
    Doctor,
    MaxCost,
    MaxGpuHours,
    Settings,
    StoreFolder,
    Workers,
)
from storyflow.cli.render import stopped_by_signals
from storyflow.cli.series import Cluster, Out, SeriesFile, series, where_of

if TYPE_CHECKING:
    from storyflow.series.run import SeriesRun
    from storyflow.series.told import SeriesResult

Episodes = Annotated[
    list[str] | None, typer.Argument(metavar="EPISODE", help="Only these episodes.")
]
ResultJson = Annotated[
    bool, typer.Option("--json", help="Print how it ended as data, and no progress.")
]


@series.command()
def render(
    file: SeriesFile,
    episodes: Episodes = None,
    cluster: Cluster = None,
    store: StoreFolder = None,
    out: Out = None,
    settings: Settings = None,
    address: Address = None,
    workers: Workers = None,
    max_gpu_hours: MaxGpuHours = None,
    max_cost: MaxCost = None,
    doctor: Doctor = True,
    allow_outside: AllowOutside = False,
    as_json: ResultJson = False,
) -> None:
    """Render what isn't done, within the rules; may be called again and again."""
    import storyflow

    run = storyflow.start_series(
        file,
        episodes=episodes or None,
        max_gpu_hours=max_gpu_hours,
        max_cost=max_cost,
        doctor=doctor,
        **where_of(cluster, store, out, settings, address, workers, allow_outside),
    )
    follow(run, file, as_json=as_json)


@series.command()
def retry(
    file: SeriesFile,
    episodes: Episodes = None,
    cluster: Cluster = None,
    store: StoreFolder = None,
    out: Out = None,
    settings: Settings = None,
    address: Address = None,
    workers: Workers = None,
    doctor: Doctor = True,
    allow_outside: AllowOutside = False,
) -> None:
    """Try again what failed for good, in these episodes or in all: render them."""
    import storyflow

    where = where_of(cluster, store, out, settings, address, workers, allow_outside)
    for again in storyflow.retry_series(file, episodes or None, **where):
        failed = again.failed
        print(f"{again.episode} {failed.name} (key {failed.key[:8]}…): {failed.error}")
    run = storyflow.start_series(file, episodes=episodes or None, doctor=doctor, **where)
    follow(run, file)


@series.command()
def status(
    file: SeriesFile,
    cluster: Cluster = None,
    store: StoreFolder = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Print how each episode stands, who renders now, and what the night has left."""
    import storyflow

    made = storyflow.series_status(file, **where_of(cluster, store, out))
    if as_json:
        print_json(made.as_data())
        return
    from storyflow.series.tables import print_status

    print_status(made)


def follow(run: SeriesRun, file: Path, *, as_json: bool = False) -> NoReturn:
    """Watch a run to its end and leave with its exit code."""
    result, code = watched(run, f"storyflow series retry {file}", quiet=as_json)
    if as_json:
        print_json(result.as_data())
    raise typer.Exit(code)


def watched(run: SeriesRun, retry: str, *, quiet: bool = False) -> tuple[SeriesResult, int]:
    """Watch a run to its end: its result and the exit code.

    The first signal lets it finish what is being rendered, the second stops it. `retry` is the
    command that lets what failed for good be tried again.
    """
    from storyflow.errors import StoryflowError
    from storyflow.series.watching import summary, watch
    from storyflow.terminal import new_console

    console = new_console(quiet=quiet)
    with stopped_by_signals(run, console) as code:
        try:
            watch(run.events(), console)
            result = run.result()
        except StoryflowError:
            raise
        except Exception as error:
            raise typer.Exit(report(error)) from None
    for line in summary(result, retry):
        console.print(line, highlight=False, soft_wrap=True)
    return result, code[0] if code and result.outcome == "stopped" else result.exit_code
