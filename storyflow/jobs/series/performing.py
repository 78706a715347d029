"""The cluster's side of a submitted series: what its job does on the head of the cluster.

It goes on from what the store keeps of the series: words and windows that earlier jobs pinned, what
failed for good, which films are there.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from storyflow.cluster import load_cluster
from storyflow.draining import Draining
from storyflow.errors import FarmError
from storyflow.jobs import references
from storyflow.jobs.merge import merge_locks
from storyflow.jobs.series.keeping import Keeper
from storyflow.jobs.series.kept import (
    Kept,
    KeptEpisode,
    ledger_name,
    lock_of,
    read_episodes,
    read_kept,
)
from storyflow.jobs.series.sent import SentGrounds
from storyflow.jobs.series.ticket import BUNDLE, SeriesTicket, unpack
from storyflow.jobs.ticket import CLUSTER, read_ticket
from storyflow.lockfile import lock_path, read_lock, write_lock
from storyflow.poison import FAILED
from storyflow.series.night import night_of
from storyflow.series.render import Wishes, render_series
from storyflow.series.run import SeriesRun
from storyflow.series.told import SeriesResult, Tell, ending
from storyflow.store.place import is_url
from storyflow.store.store import Store

SMALL = 4_000_000
"""Bytes of what is brought beside films; the films themselves are not needed."""


@dataclass(frozen=True)
class SeriesPerformance:
    """A series' job that may be done here. `bases` are the locks as they were sent."""

    ticket: SeriesTicket
    grounds: SentGrounds
    store: Store
    kept: Kept
    bases: Mapping[str, str]
    folder: Path

    def start(self) -> SeriesRun:
        """Begin to render."""
        draining, title = Draining(), self.grounds.series.series

        async def work(tell: Tell) -> SeriesResult:
            return await self.work(tell, draining)

        def before(error: BaseException) -> SeriesResult:
            night = night_of(self.grounds.series.rules, datetime.now(UTC)).date.isoformat()
            outcome, why = ending(error)
            return SeriesResult(title, night, outcome, error=why)

        return SeriesRun(work, before, draining)

    async def work(self, tell: Tell, draining: Draining) -> SeriesResult:
        """Render, and keep what was made. Raises what `render_series` does."""
        keeper = Keeper(self.store, self.grounds, self.ticket, self.kept, dict(self.bases))
        with keeper.listening(tell) as told:
            wishes = Wishes(doctor=self.ticket.doctor)
            result = await render_series(self.grounds, told, draining, wishes=wishes)
        await asyncio.to_thread(keeper.end, result)
        return result

    def clear(self) -> None:
        """Remove the job's folder, once all is in the store."""
        shutil.rmtree(self.folder, ignore_errors=True)


def open_series(path: Path) -> SeriesPerformance:
    """Check a ticket against this machine, and bring the series' files out of the store.

    Raises FarmError where storyflow is of another version than the submitter's or the store is
    another one; StoreError, InputError.
    """
    ticket = read_ticket(path, SeriesTicket, "a series' ticket")
    if ticket.version != version("storyflow"):
        raise FarmError(
            f"the series was submitted by storyflow {ticket.version}, the cluster has "
            f"{version('storyflow')}",
            cure="install the same version on both sides",
        )
    package = path.absolute().parent
    folder = package / ticket.job
    cluster = load_cluster(package / CLUSTER)
    store = Store(cluster.store, cluster.cache.limit)
    bundle = store.find(ticket.token)
    if bundle is None:
        raise FarmError(
            f"the store {store} on {os.uname().nodename} is not the one that the series was "
            "submitted from",
            cure="name a folder that both machines see as the same, or a URL, with --store",
        )
    unpack(store.path(bundle, BUNDLE), folder)
    media = folder / "references"
    cast = references.place(store, ticket.cast, media)
    placed = {e.name: references.place(store, e.references, media) for e in ticket.episodes}
    sent = [each for each in ticket.episodes if not each.broken]
    kept = read_kept(store, ticket.claim)
    grounds = SentGrounds(folder, ticket, cluster, kept, cast, placed)
    bases = {e.name: lock_path(folder / e.storyboard).read_text("utf-8") for e in sent}
    earlier = read_episodes(store, ticket.claim, bases)
    for each in sent:
        if (before := earlier.get(each.name)) is not None:
            _go_on(before, folder / each.storyboard, grounds.folder / each.name, ticket.retry)
    _films_of_tonight(store, grounds, kept)
    if is_url(grounds.store) and (data := store.place.read(ledger_name(ticket.claim))):
        grounds.folder.mkdir(parents=True, exist_ok=True)
        grounds.ledger.write_bytes(data)
    return SeriesPerformance(ticket, grounds, store, kept, bases, folder)


def _go_on(before: KeptEpisode, storyboard: Path, film: Path, retry: bool) -> None:
    """Join what earlier jobs pinned of an episode with the lock that was sent, whose word counts;
    and know what failed for good."""
    path = lock_path(storyboard)
    old, theirs = lock_of(before.base), lock_of(before.lock)
    write_lock(path, merge_locks(old, read_lock(path), theirs).lock)
    if before.failed and not retry:
        film.mkdir(parents=True, exist_ok=True)
        (film / FAILED).write_text(before.failed, encoding="utf-8")


def _films_of_tonight(store: Store, grounds: SentGrounds, kept: Kept) -> None:
    """Bring what lies beside the films of the night's earlier jobs, for its dailies; what failed
    for good was brought where it counts."""
    night = night_of(grounds.series.rules, datetime.now(UTC)).date.isoformat()
    for name, film in kept.films.items():
        artifact = store.find(film.key) if film.night == night else None
        if artifact is None:
            continue
        folder = grounds.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        for blob in artifact.blobs:
            if blob.size <= SMALL and blob.name != FAILED:
                shutil.copyfile(store.path(artifact, blob.name), folder / blob.name)
