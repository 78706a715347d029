"""Garbage collection: what no root needs and is old enough goes.

It is safe beside running films, in a folder and in a bucket alike, by the order of operations.

The collector (1) takes the lease `gc`, which everybody can see, (2) reads roots, index, content and
artifacts, (3) deletes index entries, then `done.json`s, then content, (4) lets the lease go. Others
do the opposite: they write first what makes something needed, and then wait while the lease is
held. What they rely on is looked at only after that.
- A run writes its root, waits, and only then looks what the store has.
- A reuse under another recipe than an artifact's own writes its index entry, waits, and looks
  whether the artifact is still there.
- A writer counts collections before it stores content and again after `done.json`: if there was
  one in between, it puts its content back.
Whoever found no lease wrote before the next collector's (1), which therefore sees it in (2). That
needs reads that see what was written before: POSIX file systems give it, and the storage of
Amazon, Google and Azure. A network folder whose clients cache listings gives it after seconds;
there the age is what protects.

What is younger than `older_than` stays whatever roots say, and content that no artifact names stays
for a day, since its writer may still be about to name it. Ages are differences of times that the
place itself gave, so this machine's clock has no say. A collector that was stopped for long can't
know whether its lease still counts, and deletes nothing more. One that is killed leaves artifacts
without index entries, or content without artifact: finding mends the first, the next collection
takes the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from storyflow.errors import StoreError
from storyflow.store.artifacts import Artifact
from storyflow.store.lease import Held, Lease, leased
from storyflow.store.place import TEMPORARY_SECONDS, Stored
from storyflow.store.roots import Root, read_roots
from storyflow.store.store import GC, Store, artifact_name

OLDER_THAN = 30 * 24 * 3600.0
"""Seconds for which an artifact stays that no root needs."""

_DAY = float(TEMPORARY_SECONDS)

_BATCH = 500


@dataclass(frozen=True)
class Garbage:
    """What a collection found. `size` is in bytes, of the content and of damaged objects.

    `kept` counts artifacts that stay: needed by a root, or too young.
    """

    artifacts: tuple[Artifact, ...]
    content: tuple[str, ...]
    damaged: tuple[str, ...]
    size: int
    kept: int
    deleted: bool = False


def find_garbage(store: Store, older_than: float = OLDER_THAN) -> Garbage:
    """What `collect` would delete now. Deletes nothing. Raises StoreError."""
    return _look(store, older_than, _clock(store))


def collect(store: Store, older_than: float = OLDER_THAN) -> Garbage:
    """Delete what no root needs and is older than so many seconds; what it was.

    Raises StoreError: another collection goes on, a root can't be understood, the store refuses.
    Whatever stops it, what remains is whole.
    """
    try:
        with leased(store.place, GC) as lease:
            found = _look(store, older_than, _clock(store))
            dead = {artifact.key for artifact in found.artifacts}
            entries = [n for n in store.place.names("recipes/") if n.rpartition(".")[2] in dead]
            # The index first: planning must not promise what is gone. Content last.
            for names in (entries, [artifact_name(key) for key in sorted(dead)], found.content):
                _delete(store, lease, names)
            _delete(store, lease, found.damaged)
    except Held as error:
        raise StoreError(
            f"garbage of {store} is being collected by {error}", cure="wait until it is done"
        ) from None
    return Garbage(
        found.artifacts, found.content, found.damaged, found.size, found.kept, deleted=True
    )


def needed(
    index: Mapping[str, Sequence[str]], roots: Iterable[Root]
) -> tuple[frozenset[str], frozenset[str]]:
    """Recipes that the roots need, and the keys that are needed by name or by the index.

    `index` is `Store.recipes()`.
    """
    recipes: set[str] = set()
    keys: set[str] = set()
    for root in roots:
        recipes |= root.recipes
        keys |= root.keys
    for recipe in recipes & index.keys():
        keys.update(index[recipe])
    return frozenset(recipes), frozenset(keys)


def _look(store: Store, older_than: float, now: float) -> Garbage:
    place = store.place
    # Content is listed before the artifacts that name it: what comes between stays.
    content = {one.name.rpartition("/")[2]: one for one in place.list("blobs/")}
    roots = read_roots(store)
    recipes, keys = needed(store.recipes(), roots)
    listed = {one.name.split("/")[-2]: one for one in place.list("artifacts/")}
    artifacts = store.artifacts(listed)
    dead = [
        artifact
        for key, artifact in sorted(artifacts.items())
        if key not in keys
        and artifact.recipe not in recipes
        and _older(listed[key], now, older_than)
    ]
    gone = {artifact.key for artifact in dead}
    named = {b.sha256 for a in artifacts.values() if a.key not in gone for b in a.blobs}
    # An artifact that can't be understood names something, but nobody knows what: all stays.
    unclear = len(listed) - len(artifacts)
    orphans = {} if unclear else {h: one for h, one in content.items() if h not in named}
    freed = {blob.sha256 for artifact in dead for blob in artifact.blobs}
    old = [
        one
        for sha256, one in orphans.items()
        if _older(one, now, min(older_than, _DAY) if sha256 in freed else _DAY)
    ]
    damaged = [one for one in place.list("damaged/") if _older(one, now, older_than)]
    return Garbage(
        artifacts=tuple(dead),
        content=tuple(sorted(one.name for one in old)),
        damaged=tuple(sorted(one.name for one in damaged)),
        size=sum(one.size for one in (*old, *damaged)),
        kept=len(listed) - len(dead),
    )


def _older(one: Stored, now: float, seconds: float) -> bool:
    return one.modified is not None and now - one.modified >= seconds


def _delete(store: Store, lease: Lease, names: Sequence[str]) -> None:
    for first in range(0, len(names), _BATCH):
        if not lease.sure:
            raise StoreError(
                f"collecting garbage of {store} was held up for too long and stopped",
                cure="run the same command again",
            )
        store.place.delete(names[first : first + _BATCH])


def _clock(store: Store) -> float:
    """The place's own time: when it says that an object was written just now."""
    store.check_writable()
    name = "tmp/clock/now"
    store.place.put(name, b"")
    found = [one.modified for one in store.place.list("tmp/clock/") if one.modified is not None]
    store.place.delete([name])
    if not found:
        raise StoreError(
            f"{store} does not tell when its objects were written, so no age is known",
            cure="collect garbage in a folder or a bucket that does",
        )
    return max(found)
