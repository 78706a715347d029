"""Jobs as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.markup import escape
from rich.table import Table

from storyflow.jobs.values import JobStatus
from storyflow.terminal import new_console


def print_jobs(jobs: Sequence[JobStatus]) -> None:
    """One row per job, and below what those say that did not end well."""
    console = new_console()
    if not jobs:
        console.print("no jobs")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("job", "state", "exit", "began", "took", "from"):
        table.add_column(name, overflow="fold")
    for job in jobs:
        table.add_row(
            job.job.id,
            job.state,
            "" if job.exit_code is None else str(job.exit_code),
            "" if job.started is None else f"{job.started.astimezone():%Y-%m-%d %H:%M}",
            _took(job),
            escape(job.sender),
        )
    console.print(table)
    for job in jobs:
        if job.message:
            console.print(f"{job.job.id}: {escape(job.message)}", highlight=False, soft_wrap=True)


def _took(job: JobStatus) -> str:
    if job.started is None:
        return ""
    seconds = round(((job.ended or datetime.now(job.started.tzinfo)) - job.started).total_seconds())
    minutes, seconds = divmod(max(seconds, 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
