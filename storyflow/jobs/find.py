"""Which job is meant, and where: from a storyboard's file, a film's name or a job's id."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from storyflow.cluster import Cluster
from storyflow.errors import FarmError, InputError
from storyflow.jobs.identity import slug
from storyflow.jobs.labels import FILM, Labels
from storyflow.jobs.record import RENDERS, recall, recall_all
from storyflow.jobs.server import ServerJob, connect
from storyflow.jobs.values import JobHandle

ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
"""Ray's own variable for the URL of the job API."""


def job_address(address: str | None, cluster: Cluster | None = None) -> str:
    """The URL of the job API: the given one, the cluster file's, or the environment's.

    Raises InputError where there is none, or where it is no URL.
    """
    found = address or (cluster.jobs if cluster else None) or os.environ.get(ADDRESS_VARIABLE)
    if not found:
        raise InputError(
            "which cluster? Its address is not known",
            cure=f"give --address http://HEAD:8265, `jobs:` in the cluster file, or "
            f"{ADDRESS_VARIABLE}",
        )
    if not found.startswith(("http://", "https://")):
        raise InputError(
            f"{found!r} is not the URL of a job API",
            cure="jobs go to the address of Ray's dashboard: http://HEAD:8265",
        )
    return found.rstrip("/")


def find_job(
    film: str | Path | JobHandle,
    *,
    address: str | None = None,
    out: str | Path | None = None,
) -> JobHandle:
    """The newest job of a film. `film` is a storyboard's file, a film's name or a job's id.

    Its cluster is the given one, or else where it was last submitted to from here, or
    RAY_API_SERVER_ADDRESS. Raises InputError where no such job is known.
    """
    if isinstance(film, JobHandle):
        return film
    file, text = _asked(film)
    known = _recalled(text, file, Path(out) if out is not None else None)
    try:
        where = job_address(address or (known.address if known else None))
        jobs = connect(where).list()
    except FarmError:
        if known is None or not _means(known, text, file):
            raise
        return known
    name = known.film if known is not None and file is not None else slug(text)
    found = [job for job in jobs if FILM in job.labels]
    found = [job for job in found if text == job.id or Labels.read(job).film == name]
    if found:
        newest = max(found, key=lambda job: (job.started or 0, Labels.read(job).attempt))
        handle = handle_of(newest, where)
        folder = known.folder if known is not None else _folder(out, file, handle.film)
        here = file or (known.storyboard if known is not None else None)
        return replace(handle, folder=folder, storyboard=here)
    if known is not None and _means(known, text, file):
        return known
    raise InputError(
        f"the cluster at {where} knows no job {text!r}",
        cure="`storyflow status` lists its jobs",
    )


def handle_of(job: ServerJob, address: str) -> JobHandle:
    """The handle of a job that was submitted elsewhere."""
    labels = Labels.read(job)
    return JobHandle(
        id=job.id,
        film=labels.film,
        plan=labels.plan,
        attempt=labels.attempt,
        address=address,
        store=labels.store,
        folder=RENDERS / labels.film,
    )


def _asked(film: str | Path) -> tuple[Path | None, str]:
    """The storyboard's file, if one is named, and the film's name or the job's id."""
    text = str(film)
    if isinstance(film, Path) or text.endswith((".yaml", ".yml")) or "/" in text:
        file = Path(text)
        if not file.is_file():
            raise InputError(
                f"there is no storyboard {text}", cure="name a storyboard, a film or a job"
            )
        return file, file.stem
    return None, text


def _recalled(text: str, file: Path | None, out: Path | None) -> JobHandle | None:
    """What was last submitted from here of this film, be it another job."""
    if out is not None or file is not None:
        return recall(_folder(out, file, text))
    handles = [h for h in recall_all() if _means(h, text, None) or text.startswith(f"{h.film}-")]
    return max(handles, key=lambda h: (h.id == text, len(h.film)), default=None)


def _means(handle: JobHandle, text: str, file: Path | None) -> bool:
    return file is not None or text == handle.id or slug(text) == handle.film


def _folder(out: str | Path | None, file: Path | None, name: str) -> Path:
    return Path(out) if out is not None else RENDERS / (file.stem if file is not None else name)
