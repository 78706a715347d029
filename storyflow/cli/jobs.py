"""Commands about films that are rendered as jobs on a cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from storyflow.cli.app import app, print_json
from storyflow.cli.options import (
    AllowOutside,
    AsJson,
    ClusterName,
    Doctor,
    FollowEdit,
    MaxCost,
    MaxGpuHours,
    MaxGpus,
    OneClass,
    Out,
    Pipeline,
    Priority,
    Settings,
    Shots,
    StoreFolder,
    StoryboardFile,
    Workers,
    shot_ids,
)
from storyflow.cli.render import watched

if TYPE_CHECKING:
    from storyflow.jobs.values import JobStatus

JobApi = Annotated[
    str | None,
    typer.Option("--address", help="The cluster's job API: http://HEAD:8265."),
]
JobName = Annotated[
    str, typer.Argument(metavar="FILM", help="A storyboard's file, a film's name or a job's id.")
]


@app.command()
def submit(
    file: StoryboardFile,
    address: JobApi = None,
    pipeline: Pipeline = "toybox",
    out: Out = None,
    store: StoreFolder = None,
    cluster: ClusterName = "local",
    settings: Settings = None,
    shots: Shots = None,
    workers: Workers = None,
    priority: Priority = None,
    allow_outside: AllowOutside = False,
    name: Annotated[
        str | None, typer.Option("--name", help="The film's name there [the file's].")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Stop the film first if it runs with another plan.")
    ] = False,
    grace: Annotated[
        int, typer.Option("--grace", min=0, help="Seconds that a cancelled job has to end.")
    ] = 30,
    wait: Annotated[bool, typer.Option("--wait", help="Print its log and end as it does.")] = False,
    max_gpu_hours: MaxGpuHours = None,
    max_cost: MaxCost = None,
    max_gpus: MaxGpus = None,
    one_class: OneClass = False,
    edit: FollowEdit = True,
    doctor: Doctor = True,
) -> None:
    """Render a storyboard as a job on a cluster; the same film is one job, however often."""
    from storyflow import jobs

    job = jobs.submit(
        file,
        name=name,
        replace_running=replace,
        grace=grace,
        address=address,
        pipeline=pipeline,
        out=out,
        store=store,
        cluster=cluster,
        settings=settings or (),
        shots=shot_ids(shots),
        workers=workers,
        priority=priority,
        allow_outside=allow_outside,
        max_gpu_hours=max_gpu_hours,
        max_cost=max_cost,
        max_gpus=max_gpus,
        one_class=one_class,
        edit=edit,
        doctor=doctor,
    )
    if job.submitted:
        print(f"submitted {job.id} to {job.address}")
    else:
        now = jobs.status(job)
        print(f"{job.id} is {now.state} already; nothing was submitted")
        if not now.live:
            print(f"  storyflow fetch {file}")
            raise typer.Exit(now.exit_code or 0)
    if not wait:
        print(f"  storyflow logs {file} -f\n  storyflow wait {file}\n  storyflow fetch {file}")
        return
    for piece in jobs.tail(job):
        print(piece, end="", flush=True)
    end(jobs.wait(job))


@app.command()
def status(
    film: Annotated[
        str | None,
        typer.Argument(metavar="FILM", help="A storyboard's file, a film's name or a job's id."),
    ] = None,
    address: JobApi = None,
    as_json: AsJson = False,
) -> None:
    """Say how far a film's job is; without a film, list all jobs of the cluster."""
    from storyflow import jobs

    found = jobs.list_jobs(address) if film is None else [jobs.status(film, address=address)]
    if as_json:
        from dataclasses import asdict

        print_json([asdict(each) for each in found])
        return
    from storyflow.jobs.tables import print_jobs

    print_jobs(found)


@app.command()
def logs(
    film: JobName,
    address: JobApi = None,
    following: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
) -> None:
    """Print what a film's job has printed."""
    from storyflow import jobs

    if not following:
        print(jobs.log(film, address=address), end="")
        return
    for piece in jobs.tail(film, address=address):
        print(piece, end="", flush=True)


@app.command()
def cancel(
    film: JobName,
    address: JobApi = None,
    waiting: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Come back when it has ended.")
    ] = True,
) -> None:
    """Stop a film's job; what is finished stays in the store."""
    from storyflow import jobs

    now = jobs.cancel(film, address=address, waiting=waiting)
    print(f"{now.job.id}: {'stopping' if now.live else now.state}")


@app.command()
def wait(film: JobName, address: JobApi = None) -> None:
    """Wait until a film's job has ended, and end as it did."""
    from storyflow import jobs

    job = jobs.find_job(film, address=address)
    end(jobs.wait(job, told=lambda now: print(f"{job.id}: {now.state}") if now.live else None))


@app.command()
def fetch(
    film: JobName,
    address: JobApi = None,
    out: Out = None,
    store: StoreFolder = None,
    lock: Annotated[
        str | None,
        typer.Option("--lock", help="mine or theirs: whose lock counts where both changed."),
    ] = None,
) -> None:
    """Bring a job's film, manifest and lock here."""
    from storyflow import jobs
    from storyflow.errors import InputError

    if lock not in (None, "mine", "theirs"):
        raise InputError(f"--lock {lock}", cure="write --lock mine or --lock theirs")
    got = jobs.fetch(film, address=address, out=out, store=store, settle=lock)  # type: ignore[arg-type]
    for path in (got.film, got.manifest, got.lock):
        if path is not None:
            print(path)
    if got.conflicts and got.lock is None:
        for conflict in got.conflicts:
            print(conflict, file=sys.stderr)
        print(
            f"the lock here has changed since the film was submitted and stays as it is; the "
            f"job's is {got.film_lock}; choose with --lock mine or --lock theirs",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    raise typer.Exit(0 if got.complete else 3)


@app.command(hidden=True)
def perform(
    ticket: Annotated[Path, typer.Argument(metavar="TICKET", help="A submitted job's job.json.")],
) -> None:
    """Render a submitted film; the cluster runs this."""
    from storyflow.jobs.perform import open_job

    performance = open_job(ticket)
    performance.examine(print)
    result, code = watched(performance.start())
    if performance.publish(result):
        performance.clear()
        print(f"the film is in the store: storyflow fetch {performance.ticket.film}")
    raise typer.Exit(code)


def end(now: JobStatus) -> NoReturn:
    """Say how a job ended, and leave with its exit code."""
    if now.state == "complete":
        print(f"{now.job.id}: complete")
    else:
        print(f"{now.job.id}: {now.state}: {now.message}", file=sys.stderr)
    raise typer.Exit(now.exit_code or 0)
