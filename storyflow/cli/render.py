"""Commands that render and cut."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from storyflow.cli.app import app, report
from storyflow.cli.options import (
    Address,
    AllowOutside,
    AskedCluster,
    AskedPipeline,
    EpisodeOf,
    FilmCluster,
    FilmPipeline,
    FollowEdit,
    MaxCost,
    MaxGpuHours,
    MaxGpus,
    OneClass,
    Out,
    Priority,
    Settings,
    Shots,
    StoreFolder,
    StoryboardFile,
    Workers,
    said,
    shot_ids,
)

if TYPE_CHECKING:
    from types import FrameType

    from rich.console import Console

    from storyflow.events import Result
    from storyflow.run import Run
    from storyflow.running import Running

E = TypeVar("E")
R = TypeVar("R")

AsPreview = Annotated[
    bool,
    typer.Option("--preview", help="film.preview.mp4 for the film: only what changed is encoded."),
]
PREVIEW = ("deliver.preview=true",)


@app.command()
def render(
    file: StoryboardFile,
    series: EpisodeOf = None,
    pipeline: FilmPipeline = None,
    out: Out = None,
    store: StoreFolder = None,
    cluster: FilmCluster = None,
    settings: Settings = None,
    shots: Shots = None,
    address: Address = None,
    workers: Workers = None,
    priority: Priority = None,
    max_gpu_hours: MaxGpuHours = None,
    max_cost: MaxCost = None,
    max_gpus: MaxGpus = None,
    one_class: OneClass = False,
    edit: FollowEdit = True,
    preview: AsPreview = False,
    allow_outside: AllowOutside = False,
) -> None:
    """Render a storyboard to a film; what is already rendered is not rendered again."""
    import storyflow

    run = storyflow.start(
        file,
        series=series,
        pipeline=pipeline,
        out=out,
        store=store,
        cluster=cluster,
        settings=[*(settings or ()), *(PREVIEW if preview else ())],
        shots=shot_ids(shots),
        address=address,
        workers=workers,
        priority=priority,
        max_gpu_hours=max_gpu_hours,
        max_cost=max_cost,
        max_gpus=max_gpus,
        one_class=one_class,
        edit=edit,
        allow_outside=allow_outside,
    )
    follow(run)


@app.command()
def cut(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The storyboard, or the folder of its film.")
    ],
    formats: Annotated[
        str | None,
        typer.Option("--format", help="Deliver these, too: h265,prores,dnxhr,ffv1,hls."),
    ] = None,
    preview: AsPreview = False,
    series: EpisodeOf = None,
    pipeline: AskedPipeline = None,
    out: Out = None,
    store: StoreFolder = None,
    cluster: AskedCluster = None,
    settings: Settings = None,
    edit: FollowEdit = True,
) -> None:
    """Cut the film again from what is rendered; renders nothing."""
    import storyflow
    from storyflow.ordering import Options

    asked = [*(settings or ())]
    if formats is not None and preview:
        raise typer.BadParameter("a preview is one file; leave --format or --preview out")
    if formats is not None:
        names = ", ".join(name.strip() for name in formats.split(","))
        asked.append(f"deliver.formats=[{names}]")
    asked += PREVIEW if preview else ()
    options = said(pipeline, out, store, cluster, series)
    options |= Options(settings=asked, shots=(), edit=edit)
    follow(storyflow.start(file, **options))


@app.command()
def retry(
    file: StoryboardFile,
    shots: Annotated[
        list[str] | None, typer.Argument(metavar="SHOT", help="Only these shots.")
    ] = None,
    series: EpisodeOf = None,
    pipeline: FilmPipeline = None,
    out: Out = None,
    cluster: FilmCluster = None,
    settings: Settings = None,
) -> None:
    """Let the next render try again what failed for good; without this it is left out."""
    import storyflow

    again = storyflow.retry(
        file,
        series=series,
        pipeline=pipeline,
        out=out,
        cluster=cluster,
        settings=settings or (),
        shots=shots or None,
    )
    for failed in again:
        print(f"{failed.name} (key {failed.key[:8]}…): {failed.error}")
    count = f"{len(again)} segment{'' if len(again) == 1 else 's'}"
    print(f"{count} will be tried again by the next render" if again else "nothing had failed")


@contextmanager
def stopped_by_signals(run: Running[E, R], console: Console) -> Iterator[list[int]]:
    """Inside the block the first signal drains a run, the second cancels it. Yields the exit codes
    of the signals that came."""
    code: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        code.append(128 + number)
        if len(code) > 1:
            run.cancel()
        else:
            run.drain()
            console.print("[yellow]stopping when what is being rendered is stored[/]")

    previous = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield code
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def follow(run: Run) -> NoReturn:
    """Watch a run to its end and leave with its exit code."""
    _, code = watched(run)
    raise typer.Exit(code)


def watched(run: Run) -> tuple[Result, int]:
    """Watch a run to its end: its result and the exit code.

    The first signal lets it finish what is being rendered, the second stops it.
    """
    from storyflow.errors import StoryflowError
    from storyflow.live import summary, watch
    from storyflow.record import read_record
    from storyflow.tables import print_account
    from storyflow.terminal import new_console

    console = new_console()
    with stopped_by_signals(run, console) as code:
        try:
            watch(run.events(), console)
            result = run.result()
        except StoryflowError:
            raise
        except Exception as error:
            # What nobody foresaw is told beside the film.
            raise typer.Exit(report(error, run.ending.folder if run.ending else None)) from None
    for line in summary(result):
        console.print(line, highlight=False, soft_wrap=True)
    record = read_record(result.folder) if result.rendered else None
    if record is not None and record.last is not None:
        print_account(record.last, console)
    return result, code[0] if code and not result.complete else result.exit_code
