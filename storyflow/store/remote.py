"""A store's objects in an object store, over fsspec: `s3://`, `gs://`, `abfs://` and the like.

An object appears whole or not at all, so nothing is written aside. Content is named by its hash
and goes first; `done.json` goes last, created only if it is not there (S3: `If-None-Match: *`).
Where a backend can't promise that, two writers at the same moment may both believe to be first:
then the later one's `done.json` stays, and since both name content by hash, either is whole.

Whatever fails for a moment is tried again with growing pauses. Content is read through a cache on
this machine (see `cache.py`), which also keeps what was written here.
"""

from __future__ import annotations

import datetime
import errno
import hashlib
import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TypeVar

from storyflow.errors import StoreError
from storyflow.store.artifacts import Blob
from storyflow.store.cache import BlobCache
from storyflow.store.disk import copy_hashed, explain, telling
from storyflow.store.place import TEMPORARY_SECONDS, CacheLimit, Stored, blob_name

PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each further attempt, each times a random factor from 0.5 to 1.5."""

_CHUNK = 1 << 22

_PACKAGES = {
    "s3": "storyflow[s3]",
    "s3a": "storyflow[s3]",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
}
"""What opens the large object stores. Of others fsspec knows what to install."""

_OPTIONS: dict[str, dict[str, object]] = {
    # botocore's own retries would multiply with those here.
    "s3": {"config_kwargs": {"retries": {"max_attempts": 0}}},
}

_LISTED_BY_PREFIX = ("s3", "s3a")
"""Where an empty prefix is told as empty in one request, not looked for as an object after that."""

_UNKNOWN_TO_SERVER = (errno.ENOSYS, errno.ENOTSUP)

_REFUSED = ("NoCredentials", "PartialCredentials", "InvalidAccessKey", "Forbidden", "Unauthorized")

Answer = TypeVar("Answer")


class Remote:
    """A prefix in a bucket. Raises StoreError for a URL that no installed package can open."""

    def __init__(self, url: str, cache: CacheLimit) -> None:
        import fsspec

        self.location = url.rstrip("/")
        self.exclusive = True
        self._cache = BlobCache(cache)
        self._sizes: dict[str, int] = {}
        self._protocol = protocol = url.partition("://")[0]
        try:
            # Listings kept by the client would hide what others write.
            self._fs, self._root = fsspec.core.url_to_fs(
                self.location,
                use_listings_cache=False,
                **_OPTIONS.get(protocol, {}),
            )
        except ImportError as error:
            package = _PACKAGES.get(protocol)
            raise StoreError(
                f"the store {url} can't be opened: the package for {protocol}:// is missing",
                cure=f"pip install '{package}'" if package else str(error),
            ) from None
        except (ValueError, TypeError) as error:
            raise StoreError(
                f"the store {url} can't be opened ({error})",
                cure="name a folder, or a URL such as s3://BUCKET/PREFIX",
            ) from None

    def prepare(self) -> None:
        """Nothing: prefixes need not be made."""

    def tidy(self) -> None:
        """Delete what runs that died had left to be read back.

        Uploads that were cut off can't be seen; a bucket's lifecycle rule ends them.
        """
        found = [one for one in self.list("tmp/") if one.modified is not None]
        newest = max((one.modified or 0.0 for one in found), default=0.0)
        old = newest - TEMPORARY_SECONDS
        self.delete([one.name for one in found if (one.modified or 0.0) < old])

    def require(self) -> None:
        """Nothing: a bucket that is gone refuses."""

    def read(self, name: str) -> bytes | None:
        path = self._path(name)
        try:
            # A range, even of all, spares s3fs from asking for the size first.
            data: bytes = self._try("read", name, partial(self._fs.cat_file, path, start=0))
        except FileNotFoundError:
            return None
        return data

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        paths = {self._path(name): name for name in names}
        if not paths:
            return {}
        answers: dict[str, object] = self._try(
            "read", "", lambda: self._fs.cat(list(paths), on_error="return", start=0)
        )
        found = {}
        for path, answer in answers.items():
            name = paths[path.strip("/")]
            if not isinstance(answer, bytes | FileNotFoundError):
                answer = self.read(name)
            if isinstance(answer, bytes):
                found[name] = answer
        return found

    def put(self, name: str, data: bytes) -> None:
        try:
            self._try("write", name, lambda: self._fs.pipe_file(self._path(name), data))
        except FileNotFoundError as error:
            raise self._missing(error) from None

    def put_new(self, name: str, data: bytes) -> bool:
        path = self._path(name)

        def create() -> bool:
            if not self.exclusive:
                if self._fs.exists(path):
                    return False
                self._fs.pipe_file(path, data)
                return True
            try:
                self._fs.pipe_file(path, data, mode="create")
            except FileExistsError:
                return False
            except (NotImplementedError, TypeError, OSError) as error:
                if not isinstance(error, OSError) or error.errno in _UNKNOWN_TO_SERVER:
                    self.exclusive = False
                    return create()
                # Not every server says why it refuses.
                if not self._fs.exists(path):
                    raise
                return False
            return True

        try:
            if self._try("write", name, create):
                return True
        except FileNotFoundError as error:
            raise self._missing(error) from None
        # An earlier attempt of this very call may have arrived, and only its answer been lost.
        return self.read(name) == data

    def touch(self, name: str) -> None:
        try:
            self._try("write", name, lambda: self._fs.pipe_file(self._path(name), b""))
        except (StoreError, FileNotFoundError):
            return

    def size(self, name: str) -> int | None:
        try:
            found: dict[str, object] = self._try(
                "look at", name, lambda: self._fs.info(self._path(name))
            )
        except FileNotFoundError:
            return None
        return _int(found.get("size")) if found.get("type") == "file" else None

    def names(self, prefix: str) -> Iterator[str]:
        for found in self.list(prefix):
            yield found.name

    def list(self, prefix: str) -> Iterator[Stored]:
        if self._protocol in _LISTED_BY_PREFIX:
            look = partial(self._fs.find, self._root.strip("/"), detail=True, prefix=prefix)
        else:
            look = partial(self._fs.find, self._path(prefix.rstrip("/")), detail=True)
        try:
            found: dict[str, dict[str, object]] = self._try("list", prefix, look)
        except FileNotFoundError:
            return
        start = len(self._path("")) + 1
        for name, info in found.items():
            if info.get("type") == "file" and not name.endswith("/"):
                yield Stored(name.strip("/")[start:], _int(info.get("size")) or 0, _modified(info))

    def delete(self, names: Iterable[str]) -> None:
        paths = [self._path(name) for name in names]
        for first in range(0, len(paths), 1000):
            some = paths[first : first + 1000]
            try:
                self._try("delete from", "", partial(self._fs.rm, some))
            except FileNotFoundError:
                for path in some:
                    self._remove(path)

    def set_aside(self, name: str) -> None:
        source, parts = self._path(name), name.split("/")
        kept = parts[-2] if parts[-1] == "done.json" else parts[-1]
        target = self._path(f"damaged/{kept}.{secrets.token_hex(4)}")
        try:
            self._try("set aside in", name, lambda: self._fs.cp_file(source, target))
        except FileNotFoundError:
            return
        self._remove(source)
        self._sizes.pop(parts[-1], None)

    def put_blob(self, source: Path) -> tuple[str, int]:
        with self._cache.scratch("put") as folder:
            made = folder / "blob"
            with telling("write to the cache", self._cache.folder):
                sha256, size = copy_hashed(source, made)
            path = self._path(blob_name(sha256))
            try:
                # Also where it is there already: then its age begins anew, which `gc` goes by.
                self._try(f"store {source.name} in", "", lambda: self._fs.put_file(str(made), path))
            except FileNotFoundError as error:
                raise self._missing(error) from None
            self._cache.add(sha256, made)
        self._sizes[sha256] = size
        return sha256, size

    def fetch(self, blob: Blob) -> Path | None:
        path = self._cache.get(blob.sha256)
        if path is not None:
            return path
        name = blob_name(blob.sha256)
        with self._cache.scratch("get") as folder:
            # A second download tells a damaged object from a damaged answer.
            for attempt in ("first", "second"):
                made = folder / attempt
                try:
                    sha256 = self._try("read", name, partial(self._download, name, made))
                except FileNotFoundError:
                    return None
                if sha256 == blob.sha256:
                    return self._cache.add(sha256, made)
        return None

    def sound(self, blob: Blob) -> bool:
        """Its size is right: what an object store has taken it keeps as it is."""
        if blob.sha256 not in self._sizes:
            size = self.size(blob_name(blob.sha256))
            if size is None:
                return False
            self._sizes[blob.sha256] = size
        return self._sizes[blob.sha256] == blob.size

    def verified(self, sha256: str) -> bool:
        name = blob_name(sha256)
        try:
            found: str = self._try("read", name, lambda: self._download(name, None))
        except FileNotFoundError:
            return False
        return found == sha256

    def scratch(self, what: str) -> AbstractContextManager[Path]:
        return self._cache.scratch(what)

    def remember_sizes(self, found: Iterable[Stored]) -> None:
        """Take blobs' sizes from a listing, so that each need not be asked for."""
        self._sizes.update((one.name.rpartition("/")[2], one.size) for one in found)

    def _download(self, name: str, made: Path | None) -> str:
        """Read an object, into a file if one is given; its sha256."""
        digest = hashlib.sha256()
        with self._fs.open(self._path(name), "rb", block_size=_CHUNK) as reader:
            if made is None:
                while chunk := reader.read(_CHUNK):
                    digest.update(chunk)
                return digest.hexdigest()
            with made.open("wb") as writer:
                while chunk := reader.read(_CHUNK):
                    digest.update(chunk)
                    with telling("write to the cache", made):
                        writer.write(chunk)
        return digest.hexdigest()

    def _remove(self, path: str) -> None:
        try:
            self._try("delete from", "", lambda: self._fs.rm_file(path))
        except FileNotFoundError:
            return

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}".strip("/")

    def _missing(self, error: FileNotFoundError) -> StoreError:
        return StoreError(
            f"can't write to {self.location}: {explain(error)[0]}",
            cure="make the bucket, or name another store",
        )

    def _try(self, doing: str, name: str, call: Callable[[], Answer]) -> Answer:
        """Do it, again where it failed for a moment.

        Raises FileNotFoundError, and StoreError for everything else that a backend may raise.
        """
        where = f"{self.location}/{name}" if name else self.location
        for pause in (*PAUSES, None):
            try:
                return call()
            except (FileNotFoundError, StoreError):
                raise
            except Exception as error:
                if pause is None or _refusal(error):
                    raise StoreError(
                        f"can't {doing} {where}: {_why(error)}", cure=_cure(error)
                    ) from error
                time.sleep(pause * random.uniform(0.5, 1.5))
        raise AssertionError("the last attempt returns or raises")


def _refusal(error: Exception) -> bool:
    """Whether trying again is of no use."""
    if isinstance(error, PermissionError | NotImplementedError | ValueError | TypeError):
        return True
    return any(word in type(error).__name__ for word in _REFUSED)


def _why(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _cure(error: Exception) -> str:
    if _refusal(error):
        return "check the credentials and what they allow"
    return "check the network and the store's service, then run the same command again"


def _int(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _modified(info: dict[str, object]) -> float | None:
    """When an object was written; backends have no common name for it."""
    for name in ("LastModified", "last_modified", "updated", "mtime", "created"):
        value = info.get(name)
        if isinstance(value, str):
            try:
                value = datetime.datetime.fromisoformat(value)
            except ValueError:
                continue
        if isinstance(value, datetime.datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return None
