"""What failed for good in a job, brought to the film's folder here, and sent along with the next.

Without it every attempt, on a folder of its own, would pay again for what can't be rendered.
"""

from __future__ import annotations

from pathlib import Path

from storyflow.errors import InfrastructureError
from storyflow.jobs.results import published
from storyflow.jobs.values import JobHandle
from storyflow.poison import FAILED, Poison
from storyflow.store.store import Store

ABSORBED = ".absorbed"
"""The jobs whose failures the folder has: once each, so that `storyflow retry` lasts."""


def absorb(store: Store, job: JobHandle) -> None:
    """Add what a job's film lacks for good to what is known in the film's folder.

    Raises StoreError, InfrastructureError.
    """
    noted = job.folder / ABSORBED
    if job.id in _lines(noted):
        return
    made = published(store, job.id)
    if made is None:
        return
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        if FAILED in made.names:
            here = Poison(job.folder / FAILED)
            for failed in Poison(store.path(made.artifact, FAILED)).all:
                here.note(failed.key, failed.name, failed.shot, failed.error)
        with noted.open("a", encoding="utf-8") as file:
            file.write(f"{job.id}\n")
    except OSError as error:
        raise InfrastructureError(
            f"can't write to {job.folder} ({error.strerror})", cure="choose a folder with --out"
        ) from None


def known(folder: Path) -> bytes | None:
    """The folder's record of failures, to be sent along; None where nothing failed."""
    return (folder / FAILED).read_bytes() if Poison(folder / FAILED).all else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
