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
    """One artifact, verified. `fault` says what is wrong with it; it was set aside then."""

    key: str
    size: int
    fault: str = ""


@dataclass(frozen=True)
class Verified:
    """A store, verified. `size` counts content bytes once, `damaged` was set aside."""

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
    seen: dict[str, bool] = {}
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
                yield Checked(key, 0, "done.json can't be understood")


def _checked(store: Store, artifact: Artifact, seen: dict[str, bool]) -> Checked:
    size, faults = 0, []
    for blob in artifact.blobs:
        if blob.sha256 not in seen:
            size += blob.size
            seen[blob.sha256] = store.place.verified(blob.sha256)
        if not seen[blob.sha256]:
            faults.append(_fault(store, blob))
    if faults:
        with suppress(StoreError):
            for blob in artifact.blobs:
                if not seen[blob.sha256]:
                    store.place.set_aside(blob_name(blob.sha256))
            store.discard(artifact.key)
    return Checked(artifact.key, size, ", ".join(faults))


def _fault(store: Store, blob: Blob) -> str:
    found = store.place.size(blob_name(blob.sha256))
    if found is None:
        return f"{blob.name} is missing"
    if found != blob.size:
        return f"{blob.name} has {found} bytes instead of {blob.size}"
    return f"{blob.name} differs from its hash"
