"""Bringing home what a series' jobs made: films, locks, dailies and, from a bucket, the ledger.

All of it is in the store, so no cluster need run, and it may be fetched while a job goes on.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack, cast

from storyflow.claim import claimed
from storyflow.cutting.aside import written_aside
from storyflow.errors import InputError, StoreError
from storyflow.jobs.fetching import Settle
from storyflow.jobs.merge import Conflict, merge_locks
from storyflow.jobs.series.kept import (
    KeptEpisode,
    KeptFilm,
    dailies_name,
    ledger_name,
    lock_of,
    read_episodes,
    read_kept,
)
from storyflow.lockfile import lock_path, read_lock, write_lock
from storyflow.series.ledger import Ledger
from storyflow.series.load import Listed
from storyflow.series.orders import Grounds, Where
from storyflow.store.place import is_url
from storyflow.store.store import Store

FETCHED = ".fetched"
"""In a film's folder: the key of the film that was brought there."""


@dataclass(frozen=True)
class FetchedSeries:
    """What `fetch_series` brought. `films` are those that are new here, `dailies` all pages.

    An episode with `conflicts` keeps its lock here as it is. `ledger` is None where it lies beside
    the store anyway; it has another name than the series' own where that knows runs of this
    machine.
    """

    films: tuple[Path, ...]
    dailies: tuple[Path, ...]
    locks: tuple[Path, ...]
    conflicts: tuple[tuple[str, Conflict], ...] = ()
    ledger: Path | None = None


def fetch_series(
    series: str | Path, *, settle: Settle | None = None, **where: Unpack[Where]
) -> FetchedSeries:
    """Bring what was made of a series into its folder, and its locks beside the storyboards.

    Locks that changed here meanwhile are joined fact by fact; where both sides changed the same
    one, `settle` says whose word counts, and without it nothing is written over. Raises InputError
    for a series of which nothing was made, StoreError, InfrastructureError.
    """
    there = {key: value for key, value in where.items() if key != "address"}
    grounds = Grounds(series, cast(Where, there))
    store = Store(grounds.store, grounds.cluster.cache.limit)
    kept = read_kept(store, grounds.claim)
    listed = {each.name: each for each in grounds.listed()}
    episodes = read_episodes(store, grounds.claim, listed)
    if not kept.job and not episodes:
        raise InputError(
            f"the store {store} has nothing of a submitted series {grounds.series.series!r}",
            cure="submit it first, or name the store that it was submitted with",
        )
    with claimed(grounds.folder):
        films = [
            film
            for name, each in sorted(kept.films.items())
            if (film := _film(store, each, grounds.folder / name)) is not None
        ]
        dailies = tuple(_dailies(store, grounds))
        ledger = _ledger(store, grounds)
    locks, conflicts = _locks(listed, episodes.values(), settle)
    return FetchedSeries(tuple(films), dailies, locks, conflicts, ledger)


def _film(store: Store, film: KeptFilm, folder: Path) -> Path | None:
    """Bring one film's files; None where they are here, or there is no film among them."""
    noted = folder / FETCHED
    if noted.is_file() and noted.read_text("utf-8") == film.key:
        return None
    artifact = store.find(film.key)
    if artifact is None:
        raise StoreError(
            f"the store has lost the film {film.key}", cure="submit the series again with --retry"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for blob in artifact.blobs:
        with written_aside(folder / blob.name) as aside:
            shutil.copyfile(store.path(artifact, blob.name), aside)
    if film.complete:
        (folder / "film.partial.mp4").unlink(missing_ok=True)
    noted.write_text(film.key, encoding="utf-8")
    found = (folder / name for name in ("film.mp4", "film.partial.mp4"))
    return next((path for path in found if path.is_file()), None)


def _dailies(store: Store, grounds: Grounds) -> Iterable[Path]:
    prefix = dailies_name(grounds.claim)
    folder = grounds.folder / "dailies"
    for place, data in sorted(store.place.read_many(list(store.place.names(prefix))).items()):
        path = folder / os.path.basename(place)
        folder.mkdir(parents=True, exist_ok=True)
        with written_aside(path) as aside:
            aside.write_bytes(data)
        yield path


def _ledger(store: Store, grounds: Grounds) -> Path | None:
    data = store.place.read(ledger_name(grounds.claim)) if is_url(grounds.store) else None
    if data is None:
        return None
    path, title = grounds.ledger, grounds.series.series
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path.with_name("fetched.sqlite")) as aside:
        aside.write_bytes(data)
        with Ledger.reading(aside) as theirs, Ledger.reading(path) as ours:
            known = {(run.began, run.host, run.process) for run in theirs.runs(title)}
            here = {(run.began, run.host, run.process) for run in ours.runs(title)}
    fetched = path.with_name("fetched.sqlite")
    if here - known:
        return fetched  # runs of this machine are in none but its own
    for left in ("-wal", "-shm"):
        path.with_name(f"{path.name}{left}").unlink(missing_ok=True)
    fetched.replace(path)
    return path


def _locks(
    listed: dict[str, Listed], episodes: Iterable[KeptEpisode], settle: Settle | None
) -> tuple[tuple[Path, ...], tuple[tuple[str, Conflict], ...]]:
    written, conflicts = [], []
    for each in episodes:
        path = lock_path(listed[each.name].file)
        old, here, theirs = lock_of(each.base), read_lock(path), lock_of(each.lock)
        merged = merge_locks(old, here, theirs)
        if merged.conflicts and settle is None:
            conflicts += [(each.name, conflict) for conflict in merged.conflicts]
            continue
        if merged.conflicts and settle == "theirs":
            merged = merge_locks(old, theirs, here)
        write_lock(path, merged.lock)
        written.append(path)
    return tuple(written), tuple(conflicts)
