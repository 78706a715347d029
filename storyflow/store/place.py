"""Where a store's objects lie: the few operations that a folder and an object store both have.

Objects have names of parts joined by `/`. All methods raise StoreError when the place can't be
used; what is merely absent is told by the answer. Two implementations: `local.Folder` and
`remote.Remote`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from storyflow.errors import StoreError
from storyflow.store.artifacts import Blob

TEMPORARY_SECONDS = 24 * 3600
"""Age at which content that nothing names can't belong to a living writer any more."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


@dataclass(frozen=True)
class Stored:
    """An object in a listing: its size in bytes, and seconds since 1970 by the place's own clock.

    `modified` is None where the place doesn't tell.
    """

    name: str
    size: int
    modified: float | None


@dataclass(frozen=True)
class CacheLimit:
    """Where content of remote stores is kept on this machine, and how many bytes of it.

    Without `folder`: `storyflow` in the user's cache folder (XDG_CACHE_HOME).
    """

    folder: Path | None = None
    size: int = 50_000_000_000


class Place(Protocol):
    """A folder or a bucket."""

    location: str
    """What the user named: an absolute path or a URL."""

    exclusive: bool
    """Whether `put_new` is known to be exclusive among writers."""

    def prepare(self) -> None:
        """Make what must be there before anything is written."""

    def tidy(self) -> None:
        """Remove what dead writers left half-written, once nobody alive can own it."""

    def require(self) -> None:
        """Raises StoreError where a store that was there is gone: its disk was unmounted."""

    def read(self, name: str) -> bytes | None:
        """A small object's content, None if there is none."""

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """The content of those of these that are there, with as few waits as can be."""

    def put(self, name: str, data: bytes) -> None:
        """Write a small object whole, in place of an older one."""

    def put_new(self, name: str, data: bytes) -> bool:
        """Write a small object, unless there is one: then False.

        Its name's last part is the only one below what comes before it.
        """

    def touch(self, name: str) -> None:
        """Make an empty object. It is only a hint: a failure is not told."""

    def size(self, name: str) -> int | None:
        """An object's size in bytes, None if there is none."""

    def names(self, prefix: str) -> Iterator[str]:
        """The names below a prefix (`recipes/`), in no order, not opened."""

    def list(self, prefix: str) -> Iterator[Stored]:
        """The objects below a prefix, in no order."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; what is gone already is no error."""

    def set_aside(self, name: str) -> None:
        """Move an object into `damaged/`; one that is gone already is no error."""

    def put_blob(self, source: Path) -> tuple[str, int]:
        """Store a file's content under its hash; sha256 and size in bytes.

        Content that is there already counts as written now.
        """

    def fetch(self, blob: Blob) -> Path | None:
        """A local file with this content, its sha256 verified once per process.

        None where it is missing or differs. The file may go when nobody has asked for it for an
        hour.
        """

    def sound(self, blob: Blob) -> bool:
        """Whether the content is whole as far as can be told without reading it again."""

    def verified(self, sha256: str) -> bool:
        """Whether the content is whole, every byte read now."""

    def scratch(self, what: str) -> AbstractContextManager[Path]:
        """A folder on this machine to write files in before they are stored."""


def blob_name(sha256: str) -> str:
    """The object that holds this content."""
    return f"blobs/{sha256[:2]}/{sha256}"


def is_url(location: str) -> bool:
    """Whether a store's location is a URL of something other than a folder."""
    found = _SCHEME.fullmatch(location)
    return found is not None and found[1] not in ("file", "local")


def open_place(location: str | Path, cache: CacheLimit) -> Place:
    """The place that a location means: a path, `file://PATH`, or any other fsspec URL.

    Raises StoreError for a URL that can't be used here.
    """
    text = str(location)
    if is_url(text):
        from storyflow.store.remote import Remote

        return Remote(text, cache)
    from storyflow.store.local import Folder

    found = _SCHEME.fullmatch(text)
    if found is not None and not found[2].startswith("/"):
        raise StoreError(
            f"the store {text} names no folder of this machine",
            cure="write file:///FOLDER, or the folder alone",
        )
    return Folder(Path(found[2] if found is not None else text), cache)
