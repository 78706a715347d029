"""Verification: every byte of a store is read and compared with its hash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from storyflow.errors import StoreError
from storyflow.store.artifacts import Artifact, Blob
from storyflow.store.place import blob_name
from storyflow.store.store import Store, artifact_name

_BATCH = 500


@dataclass(frozen=True)
class Checked:
    """One artifact, verified. `fault` says what is wrong with it.

    It was set aside then, unless its content could not be read at all.
    """

    key: str
    size: int
    fault: str = ""
    set_aside: bool = False


@dataclass(frozen=True)
class Verified:
    """A store, verified. `size` counts content bytes once, `damaged` has what has a fault."""

    artifacts: int
    size: int
    damaged: tuple[Checked, ...]


def verify(store: Store, tell: Callable[[Checked], None] | None = None) -> Verified:
    """Check the whole store; what is damaged is set aside, to be rendered again. Raises StoreError.

    `tell` hears of each artifact. Damage in a store that can't be written is only told.
    """
    count, size, damaged = 0, 0, []
    for checked in verifying(store):
        if tell is not None:
            tell(checked)
        count += 1
        size += checked.size
        if checked.fault:
            damaged.append(checked)
    return Verified(count, size, tuple(damaged))


def verifying(store: Store) -> Iterator[Checked]:
    """The same, artifact by artifact. Content that several share counts with the first."""
    seen: dict[str, str] = {}
    keys = sorted(name.split("/")[-2] for name in store.place.names("artifacts/"))
    for first in range(0, len(keys), _BATCH):
        some = keys[first : first + _BATCH]
        artifacts = store.artifacts(some)
        for key in some:
            artifact = artifacts.get(key)
            if artifact is not None:
                yield _checked(store, artifact, seen)
            elif store.place.size(artifact_name(key)) is not None:
                with suppress(StoreError):
                    store.discard(key)
                yield Checked(key, 0, "done.json can't be understood", set_aside=True)


def _checked(store: Store, artifact: Artifact, seen: dict[str, str]) -> Checked:
    size, faults, unread = 0, [], False
    for blob in artifact.blobs:
        if blob.sha256 not in seen:
            size += blob.size
            try:
                seen[blob.sha256] = "" if store.place.verified(blob.sha256) else _fault(store, blob)
            except StoreError as error:
                # Not known to be damaged: what can't be read now may be readable tomorrow.
                unread = True
                seen[blob.sha256] = f"can't be read: {error.what}"
        if seen[blob.sha256]:
            faults.append(f"{blob.name} {seen[blob.sha256]}")
    aside = False
    if faults and not unread:
        with suppress(StoreError):
            for blob in artifact.blobs:
                if seen[blob.sha256]:
                    store.place.set_aside(blob_name(blob.sha256))
            store.discard(artifact.key)
            aside = True
    return Checked(artifact.key, size, ", ".join(faults), aside)


def _fault(store: Store, blob: Blob) -> str:
    found = store.place.size(blob_name(blob.sha256))
    if found is None:
        return "is missing"
    return (
        "differs from its hash"
        if found == blob.size
        else f"has {found} bytes instead of {blob.size}"
    )
