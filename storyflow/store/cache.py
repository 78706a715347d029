"""A local copy of what was read from a remote store: bounded, the least recently used go first.

    FOLDER/blobs/ab/SHA256     content, named by its hash; shared by all stores
    FOLDER/tmp/                files being written or downloaded

Each file is verified once per process before it is handed out. One that somebody asked for within
the last hour stays, so that it can still be opened: for that long the bound may be exceeded.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storyflow.store.disk import cache_folder, scratch, telling
from storyflow.store.hashing import file_hash
from storyflow.store.place import TEMPORARY_SECONDS, CacheLimit, blob_name

IN_USE_SECONDS = 3600.0
"""For so long after it was asked for, a file is not removed."""


class BlobCache:
    """The cache folder. Raises StoreError when its disk refuses."""

    def __init__(self, limit: CacheLimit) -> None:
        self.folder = (limit.folder or cache_folder()).expanduser().absolute()
        self._limit = limit.size
        self._verified: set[str] = set()
        self._size: int | None = None

    @contextmanager
    def scratch(self, what: str) -> Iterator[Path]:
        """A folder for files that are being made, on the cache's disk."""
        with telling("create the cache", self.folder):
            (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        with scratch(self.folder, what) as folder:
            yield folder

    def get(self, sha256: str) -> Path | None:
        """The file with this content, if it is here and whole; its use is noted."""
        path = self.folder / blob_name(sha256)
        try:
            os.utime(path)
            if sha256 in self._verified:
                return path
            if file_hash(path) == sha256:
                self._verified.add(sha256)
                return path
            path.unlink()
        except OSError:
            # Whatever is wrong here, the content can be had from the store.
            pass
        self._verified.discard(sha256)
        return None

    def add(self, sha256: str, made: Path) -> Path:
        """Take over a file whose content was just hashed; where it is now."""
        path = self.folder / blob_name(sha256)
        with telling("write to the cache", self.folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            made.replace(path)
            size = path.stat().st_size
        self._verified.add(sha256)
        if self._size is not None:
            self._size += size
        if self._size is None or self._size > self._limit:
            self._trim()
        return path

    def _trim(self) -> None:
        """Remove the least recently used files until the rest fits, and what dead writers left."""
        found: list[tuple[float, int, str]] = []
        for shelf in _scan(self.folder / "blobs"):
            for entry in _scan(Path(shelf.path)):
                with suppress(OSError):
                    state = entry.stat()
                    found.append((state.st_mtime, state.st_size, entry.path))
        now = time.time()
        self._size = sum(size for _, size, _ in found)
        for used, size, path in sorted(found):
            if self._size <= self._limit or used > now - IN_USE_SECONDS:
                break
            with suppress(OSError):
                os.unlink(path)
                self._size -= size
        for entry in _scan(self.folder / "tmp"):
            with suppress(OSError):
                if entry.stat().st_mtime < now - TEMPORARY_SECONDS:
                    shutil.rmtree(entry.path, ignore_errors=True)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError:
        return []
