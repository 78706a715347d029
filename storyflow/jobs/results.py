"""A job's film in the store: published when the job ends, so that it can be fetched from anywhere.

It is an artifact like any other: content first, then visible at once and whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from storyflow.events import Result
from storyflow.store.artifacts import Artifact
from storyflow.store.hashing import file_hash
from storyflow.store.store import Store

LOCK = "job.lock.yaml"
"""The lock that the job left."""

BASE = "submitted.lock.yaml"
"""The lock that the job was sent with."""


@dataclass(frozen=True)
class Published:
    """What a job made. `names` are its files in the store, the two locks among them."""

    artifact: Artifact
    exit_code: int
    complete: bool
    film: str | None
    manifest: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """The files, sorted."""
        return tuple(blob.name for blob in self.artifact.blobs)


def film_key(job: str) -> str:
    """The store's key for what a job made."""
    return f"film-{job}"


def publish(store: Store, job: str, result: Result, lock: Path, base: Path) -> Artifact | None:
    """Store the film, its manifest and what else lies in its folder, with both locks.

    Shot masters stay behind: they are made again from the store. None where nothing was cut, as
    in a run that was stopped. Raises StoreError.
    """
    if result.manifest is None:
        return None
    files = {path.name: path for path in _files(result.folder)}
    files |= {LOCK: lock, BASE: base}
    about = {
        "job": job,
        "title": result.title,
        "complete": result.complete,
        "exit_code": result.exit_code,
        "film": result.film and result.film.name,
        "manifest": result.manifest.name,
    }
    return store.commit(
        key=film_key(job),
        recipe=film_key(job),
        kind="film",
        digest=file_hash(result.film or result.manifest),
        inputs=json.dumps(about, ensure_ascii=False),
        files=files,
    )


def published(store: Store, job: str) -> Published | None:
    """What a job made, None if it is not in the store. Raises StoreError."""
    artifact = store.find(film_key(job))
    if artifact is None:
        return None
    about = cast(Mapping[str, object], json.loads(artifact.inputs))
    film, manifest = about.get("film"), about.get("manifest")
    return Published(
        artifact=artifact,
        exit_code=int(str(about.get("exit_code", 0))),
        complete=bool(about.get("complete")),
        film=str(film) if film else None,
        manifest=str(manifest) if manifest else None,
    )


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file() and path.name[0] != "."]
