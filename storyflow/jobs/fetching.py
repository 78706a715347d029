"""Fetching: the film, its manifest and its lock, out of the store and onto this machine."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from storyflow.claim import claimed
from storyflow.cutting.aside import remove, written_aside
from storyflow.cutting.cut import PARTIAL
from storyflow.errors import FarmError, InputError
from storyflow.jobs.failures import absorb
from storyflow.jobs.find import find_job
from storyflow.jobs.follow import status
from storyflow.jobs.identity import SERIES
from storyflow.jobs.merge import Conflict, merge_locks
from storyflow.jobs.results import BASE, LOCK, Published, published
from storyflow.jobs.values import Fetched, JobHandle
from storyflow.lockfile import lock_path, read_lock, write_lock
from storyflow.poison import FAILED
from storyflow.store.store import Store

Settle = Literal["mine", "theirs"]
"""Whose word counts where both locks changed: this machine's, or the job's."""


def fetch(
    film: str | Path | JobHandle,
    *,
    address: str | None = None,
    out: str | Path | None = None,
    store: str | Path | None = None,
    settle: Settle | None = None,
) -> Fetched:
    """Bring a job's film into its folder, and its lock beside the storyboard.

    The lock here may have changed meanwhile. What only one side changed is joined. Where both
    changed the same fact, nothing is written over: the result lists the conflicts, and the job's
    lock lies in the film's folder; `settle` says whose word counts.

    The cluster need not run any more, where the film was submitted from here. `store` is needed
    only where this machine knows the store by another name. Raises InputError for a job that has
    made no film (yet), StoreError, DamagedError, FarmError.
    """
    job = find_job(film, address=address, out=out)
    place = Store(store if store is not None else job.store)
    made = published(place, job.id)
    if made is None:
        raise _nothing(job)
    folder = Path(out) if out is not None else job.folder
    with claimed(folder):
        names = (name for name in made.names if name not in (BASE, FAILED))
        files = tuple(_copy(place, made, name, folder) for name in names)
        absorb(place, replace(job, folder=folder))
        base = place.path(made.artifact, BASE)
        lock = _join(job, base, folder / LOCK, settle)
        if made.complete:
            remove(folder / PARTIAL)
    return Fetched(
        job=job,
        complete=made.complete,
        film=folder / made.film if made.film else None,
        manifest=folder / made.manifest if made.manifest else None,
        files=files,
        film_lock=folder / LOCK,
        lock=lock.written,
        conflicts=lock.conflicts,
    )


@dataclass(frozen=True)
class _Joined:
    written: Path | None
    conflicts: tuple[Conflict, ...] = ()


def _join(job: JobHandle, base: Path, theirs: Path, settle: Settle | None) -> _Joined:
    """Bring the lock here up to date, unless it has changed in the same places."""
    # A film made in Python has its lock in its folder.
    path = lock_path(job.storyboard) if job.storyboard else job.folder / "film.lock.yaml"
    if job.storyboard is None and not path.is_file():
        return _Joined(None)
    old, here, there = read_lock(base), read_lock(path), read_lock(theirs)
    merged = merge_locks(old, here, there)
    if merged.conflicts and settle is None:
        return _Joined(None, merged.conflicts)
    if merged.conflicts and settle == "theirs":
        merged = merge_locks(old, there, here)
    write_lock(path, merged.lock)
    return _Joined(path)


def _copy(store: Store, made: Published, name: str, folder: Path) -> Path:
    target = folder / name
    source = store.path(made.artifact, name)
    with written_aside(target) as aside:
        shutil.copyfile(source, aside)
    return target


def _nothing(job: JobHandle) -> InputError:
    """Why there is nothing to fetch, and what to do."""
    if job.film.startswith(SERIES):
        cure = "`storyflow series fetch SERIES` brings what became of a series"
        return InputError(f"job {job.id} made no film of its own", cure=cure)
    try:
        found = status(job)
    except (FarmError, InputError):
        what = f"job {job.id} left no film in the store {job.store}"
        return InputError(what, cure="submit it again")
    if found.live:
        cure = f"`storyflow wait {job.film}`, then fetch it"
        return InputError(f"job {job.id} is {found.state}", cure=cure)
    reason = f" ({found.message})" if found.message else ""
    return InputError(f"job {job.id} made no film: {found.state}{reason}", cure="submit it again")
