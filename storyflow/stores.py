"""Looking after a store: what it holds, whether it is whole, what of it may go.

A store is named like in a render: a folder, a URL, or without either the cluster file's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

from storyflow.claim import claimed_run
from storyflow.cluster import Cluster, load_cluster
from storyflow.errors import InputError, NoStoreError
from storyflow.store import gc, inventory, roots, verify
from storyflow.store.gc import Garbage
from storyflow.store.inventory import Inventory
from storyflow.store.roots import Root
from storyflow.store.store import Store
from storyflow.store.verify import Checked, Verified

OLDER_THAN = timedelta(seconds=gc.OLDER_THAN)
"""For so long everything stays, whether a run needs it or not."""

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks", "": "days"}


def open_store(store: str | Path | None = None, cluster: str | Path | Cluster = "local") -> Store:
    """The store of that name, else the cluster file's; creates nothing.

    Raises NoStoreError where there is none, ProfileError, StoreError.
    """
    if not isinstance(cluster, Cluster):
        cluster = load_cluster(cluster)
    opened = Store(store if store is not None else cluster.store, cluster.cache.limit)
    if not opened.there:
        cure = "check the spelling" if store is not None else "name one with --store"
        raise NoStoreError(f"there is no store at {opened}", cure=f"{cure}; a render makes it")
    return opened


def store_inventory(
    store: str | Path | None = None, *, cluster: str | Path | Cluster = "local"
) -> Inventory:
    """What a store holds, per run and in all. Raises NoStoreError, StoreError."""
    return inventory.take_stock(open_store(store, cluster))


def verify_store(
    store: str | Path | None = None,
    *,
    cluster: str | Path | Cluster = "local",
    tell: Callable[[Checked], None] | None = None,
) -> Verified:
    """Read all of a store and compare it with its hashes; what is damaged is set aside.

    `tell` hears of each artifact. Raises NoStoreError, StoreError.
    """
    return verify.verify(open_store(store, cluster), tell)


def collect_garbage(
    store: str | Path | None = None,
    *,
    cluster: str | Path | Cluster = "local",
    older_than: timedelta = OLDER_THAN,
    delete: bool = False,
) -> Garbage:
    """What no run needs and is older than that; deleted only if `delete` says so.

    Safe beside running films. Raises NoStoreError, StoreError.
    """
    opened, seconds = open_store(store, cluster), older_than.total_seconds()
    return gc.collect(opened, seconds) if delete else gc.find_garbage(opened, seconds)


def forget_runs(
    runs: Iterable[str] = (),
    *,
    store: str | Path | None = None,
    cluster: str | Path | Cluster = "local",
    superseded: bool = False,
) -> tuple[Root, ...]:
    """Drop what protects these runs from collection, and, if asked, all earlier plans of films
    that were run again since. Returns what was dropped.

    Raises InputError for an unknown run, InfrastructureError for one that is being rendered,
    NoStoreError, StoreError.
    """
    opened = open_store(store, cluster)
    names = dict.fromkeys(runs)
    if superseded:
        names |= {root.run: None for root in roots.superseded(roots.read_roots(opened))}
    roots.known(opened, names)
    return tuple(asyncio.run(_forget(opened, run)) for run in names)


async def _forget(store: Store, run: str) -> Root:
    async with claimed_run(store, run):
        return await asyncio.to_thread(roots.forget, store, run)


def parse_age(text: str) -> timedelta:
    """`30d`, `12h`, `2w`, `0`; a number alone is days. Raises InputError."""
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise InputError(f"{text!r} is no age", cure="write 30d, 12h or 2w")
    return timedelta(**{_UNITS[found[2]]: float(found[1])})
