"""Following a job: what it is called, how far it is, what it says, its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from storyflow.errors import FarmError, InputError
from storyflow.jobs.failures import absorb
from storyflow.jobs.find import find_job, handle_of, job_address
from storyflow.jobs.labels import FILM
from storyflow.jobs.record import recall_all
from storyflow.jobs.server import JobServer, ServerJob, connect
from storyflow.jobs.states import status_of, stored_status
from storyflow.jobs.values import JobHandle, JobStatus
from storyflow.store.store import Store

POLL_SECONDS = 1.0
"""How often a job is asked for while somebody waits for it."""

PATIENCE = 60
"""How often in a row the cluster may not answer before waiting ends."""


_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def list_jobs(address: str | None = None) -> list[JobStatus]:
    """Every job of storyflow's that a cluster remembers, the newest first.

    Without an address: of every cluster that was submitted to from here. Raises InputError where
    there is none, FarmError.
    """
    known = dict.fromkeys(handle.address for handle in recall_all())
    places = list(known) if known and address is None else [job_address(address)]
    found = [
        status_of(handle_of(job, where), job)
        for where in places
        for job in connect(where).list()
        if FILM in job.labels
    ]
    return sorted(found, key=lambda job: job.started or _LONG_AGO, reverse=True)


def status(
    film: str | Path | JobHandle,
    *,
    address: str | None = None,
) -> JobStatus:
    """How far a film's newest job is, or the one of a handle. Raises InputError, FarmError."""
    job = find_job(film, address=address)
    found = connect(job.address).find(job.id)
    return status_of(job, found) if found is not None else stored_status(job)


def log(film: str | Path | JobHandle, *, address: str | None = None) -> str:
    """What the job has printed so far. Raises InputError, FarmError."""
    job = find_job(film, address=address)
    server = connect(job.address)
    _known(server, job)
    return server.log(job.id)


def tail(film: str | Path | JobHandle, *, address: str | None = None) -> Iterator[str]:
    """What the job prints, piece by piece from its beginning to its end.

    Raises InputError, FarmError.
    """
    job = find_job(film, address=address)
    server = connect(job.address)
    _known(server, job)
    yield from server.tail(job.id)


def cancel(
    film: str | Path | JobHandle,
    *,
    address: str | None = None,
    waiting: bool = True,
) -> JobStatus:
    """Stop a job, and wait until it has ended. What is finished stays in the store.

    Harmless for a job that has ended. Raises InputError, FarmError.
    """
    job = find_job(film, address=address)
    server = connect(job.address)
    found = _known(server, job)
    if found.phase in ("pending", "running"):
        server.stop(job.id)
        found = until_ended(server, job.id) if waiting else _known(server, job)
    return status_of(job, found)


def wait(
    film: str | Path | JobHandle,
    *,
    address: str | None = None,
    told: Callable[[JobStatus], None] = lambda status: None,
) -> JobStatus:
    """Wait until a job has ended; `told` hears of every change of its state.

    Raises InputError, and FarmError when the cluster does not answer for a minute.
    """
    job = find_job(film, address=address)
    server = connect(job.address)
    if server.find(job.id) is None:
        return stored_status(job)
    found = until_ended(server, job.id, told=lambda found: told(status_of(job, found)))
    ended = status_of(job, found)
    if ended.state == "partial" and job.folder.is_dir():
        absorb(Store(job.store), job)  # for `storyflow retry`
    return ended


def until_ended(
    server: JobServer,
    id: str,
    *,
    told: Callable[[ServerJob], None] = lambda job: None,
) -> ServerJob:
    """Ask until the job has ended. A cluster that doesn't answer for a while is asked again.

    Raises FarmError.
    """
    silent, phase = 0, ""
    while True:
        try:
            found = server.find(id)
        except FarmError:
            if silent >= PATIENCE:
                raise
            silent += 1
        else:
            silent = 0
            if found is None:
                raise FarmError(
                    f"the cluster has forgotten job {id}: its head was started anew",
                    cure="submit the film again; what is finished is in the store",
                )
            if found.phase != phase:
                phase = found.phase
                told(found)
            if phase not in ("pending", "running"):
                return found
        time.sleep(POLL_SECONDS)


def _known(server: JobServer, job: JobHandle) -> ServerJob:
    found = server.find(job.id)
    if found is None:
        raise InputError(
            f"the cluster at {job.address} no longer knows job {job.id}",
            cure="its head was started anew; `storyflow fetch` brings what the store has",
        )
    return found
