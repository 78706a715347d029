"""What the cluster or, later, the store says of a job, as a JobStatus."""

from __future__ import annotations

from datetime import UTC, datetime

from storyflow.errors import InputError
from storyflow.jobs.labels import Labels
from storyflow.jobs.results import published
from storyflow.jobs.server import ServerJob
from storyflow.jobs.values import JobHandle, JobStatus, State
from storyflow.store.store import Store

_CODES = (1, 2, 3, 4, 5, 130, 143)


def status_of(handle: JobHandle, job: ServerJob) -> JobStatus:
    """What the cluster says."""
    labels = Labels.read(job)
    state, code = _ending(job)
    return JobStatus(
        job=handle,
        state=state,
        exit_code=code,
        message="" if state in ("waiting", "running", "complete") else _why(job),
        title=labels.title,
        sender=labels.sender,
        origin=labels.origin,
        started=_time(job.started),
        ended=_time(job.ended),
    )


def _ending(job: ServerJob) -> tuple[State, int | None]:
    match job.phase:
        case "pending":
            return "waiting", None
        case "running":
            return "running", None
        case "succeeded":
            return "complete", 0
        case "stopped":
            return "cancelled", 143
    code = job.exit_code if job.exit_code is not None else 5
    code = 128 - code if code < 0 else code
    code = code if code in _CODES else 5
    if code in (130, 143):
        return "cancelled", code
    return ("partial" if code == 3 else "failed"), code


def _why(job: ServerJob) -> str:
    """The last line that says something: Ray's message ends with the log's."""
    if job.phase == "stopped":
        return "stopped by a signal or by `storyflow cancel`"
    lines = [line.strip() for line in job.message.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason is known"


def stored_status(job: JobHandle) -> JobStatus:
    """The status of a job that the cluster has forgotten, from what it left in the store.

    Raises InputError where it left nothing, StoreError.
    """
    made = published(Store(job.store), job.id)
    if made is None:
        raise InputError(
            f"the cluster at {job.address} knows no job {job.id}, and the store has no film of it",
            cure="submit the film again; what is finished is in the store",
        )
    return JobStatus(
        job=job, state="complete" if made.complete else "partial", exit_code=made.exit_code
    )


def _time(milliseconds: int | None) -> datetime | None:
    return None if not milliseconds else datetime.fromtimestamp(milliseconds / 1000, UTC)
