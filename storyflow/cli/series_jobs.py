"""Commands about series that are rendered as jobs on a cluster."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from storyflow.cli.app import app
from storyflow.cli.jobs import JobApi, end
from storyflow.cli.options import AllowOutside, Doctor, Settings, StoreFolder, Workers
from storyflow.cli.series import Cluster, Out, SeriesFile, series


@series.command()
def submit(
    file: SeriesFile,
    cluster: Cluster = None,
    address: JobApi = None,
    store: StoreFolder = None,
    out: Out = None,
    workers: Workers = None,
    settings: Settings = None,
    allow_outside: AllowOutside = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try again what failed for good, too.")
    ] = False,
    grace: Annotated[
        int, typer.Option("--grace", min=0, help="Seconds that a cancelled job has to end.")
    ] = 30,
    following: Annotated[
        bool, typer.Option("--follow", "-f", help="Print its log and end as it does.")
    ] = False,
    doctor: Doctor = True,
) -> None:
    """Render what is left of a series as a job on a cluster; one job at a time, however often."""
    from storyflow import jobs
    from storyflow.jobs.series import submit_series

    sent = submit_series(
        file,
        cluster=cluster,
        address=address,
        store=store,
        out=out,
        workers=workers,
        settings=tuple(settings or ()),
        allow_outside=allow_outside,
        retry=retry,
        grace=grace,
        doctor=doctor,
        notify=print,
    )
    for name, why in sent.broken:
        print(f"{name}: {why}", file=sys.stderr)
    print(sent.text)
    if sent.job is None:
        return
    if not following:
        name = f"{sent.job.id} --address {sent.job.address}"
        print(f"  storyflow logs {name} -f\n  storyflow series fetch {file}")
        return
    for piece in jobs.tail(sent.job):
        print(piece, end="", flush=True)
    end(jobs.wait(sent.job))


@series.command()
def fetch(
    file: SeriesFile,
    cluster: Cluster = None,
    store: StoreFolder = None,
    out: Out = None,
    lock: Annotated[
        str | None,
        typer.Option("--lock", help="mine or theirs: whose locks count where both changed."),
    ] = None,
) -> None:
    """Bring what a submitted series has become here: films, locks, dailies."""
    from storyflow.errors import InputError
    from storyflow.jobs.series import fetch_series

    if lock not in (None, "mine", "theirs"):
        raise InputError(f"--lock {lock}", cure="write --lock mine or --lock theirs")
    got = fetch_series(file, settle=lock, cluster=cluster, store=store, out=out)  # type: ignore[arg-type]
    for path in (*got.films, *got.dailies, *([got.ledger] if got.ledger else ())):
        print(path)
    for name, conflict in got.conflicts:
        print(f"{name}: {conflict}", file=sys.stderr)
    if got.conflicts:
        print(
            "these locks have changed since the series was submitted and stay as they are; choose "
            "with --lock mine or --lock theirs",
            file=sys.stderr,
        )
        raise typer.Exit(1)


@app.command(name="perform-series", hidden=True)
def perform_series(
    ticket: Annotated[Path, typer.Argument(metavar="TICKET", help="A submitted job's job.json.")],
) -> None:
    """Render a submitted series; the cluster runs this."""
    from storyflow.cli.series_render import watched
    from storyflow.jobs.series.performing import open_series

    performance = open_series(ticket)
    _, code = watched(performance.start(), shlex.join([*performance.ticket.command, "--retry"]))
    performance.clear()
    raise typer.Exit(code)
