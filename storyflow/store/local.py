"""A store's objects as files of a folder, safe for any number of processes at once.

Nothing visible is ever half-written: content goes to `tmp`, is synced and renamed into place. What
must be exclusive is written inside a folder in `tmp`, which is then renamed to its final name; a
rename onto a folder that isn't empty fails, so the first writer wins on every POSIX file system,
with or without hard links.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from storyflow.errors import StoreError
from storyflow.store.artifacts import Blob
from storyflow.store.disk import copy_synced, scratch, sync_folder, telling, write_synced
from storyflow.store.hashing import file_hash
from storyflow.store.marks import Marks, state_of
from storyflow.store.place import TEMPORARY_SECONDS, CacheLimit, Stored, blob_name

_FOLDERS = ("tmp", "blobs", "artifacts", "recipes", "roots")

_ALONE = ("artifacts", "claims", "tmp")
"""Where an object's folder is its alone, and goes with it."""


class Folder:
    """A folder that need not exist yet. Raises StoreError for a file in its place."""

    exclusive = True

    def __init__(self, root: Path, cache: CacheLimit) -> None:
        self.root = root.expanduser().absolute()
        self.location = str(self.root)
        marks = None if cache.folder is None else cache.folder / "verified.sqlite"
        self._marks = Marks(self.root, marks)
        self._verified: set[str] = set()
        with telling("open the store", self.root):
            if self.root.exists() and not self.root.is_dir():
                raise StoreError(f"the store {self.root} is a file", cure="name a folder")

    def prepare(self) -> None:
        with telling("create the store", self.root):
            for name in _FOLDERS:
                (self.root / name).mkdir(parents=True, exist_ok=True)
            sync_folder(self.root)

    def require(self) -> None:
        with telling("reach the store", self.root):
            (self.root / "format.json").stat()

    def tidy(self) -> None:
        """Ages are told by the file system's own clock: this machine's may have jumped."""
        here = self._temporary()
        with suppress(OSError):
            here.touch()
            oldest = here.stat().st_mtime - TEMPORARY_SECONDS
            here.unlink()
            for entry in os.scandir(self.root / "tmp"):
                # Another process may tidy up at the same time.
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime >= oldest or _lives(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        os.unlink(entry.path)

    def read(self, name: str) -> bytes | None:
        path = self.root / name
        with telling("read", path):
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        found = ((name, self.read(name)) for name in names)
        return {name: data for name, data in found if data is not None}

    def put(self, name: str, data: bytes) -> None:
        target, temporary = self.root / name, self._temporary()
        with telling("write to the store", self.root):
            try:
                write_synced(temporary, data)
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary.replace(target)
            finally:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
            sync_folder(target.parent)

    def put_new(self, name: str, data: bytes) -> bool:
        target, temporary = self.root / name, self._temporary()
        folder = target.parent
        with telling("write to the store", self.root):
            folder.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            try:
                write_synced(temporary / target.name, data)
                sync_folder(temporary)
                os.rename(temporary, folder)
            except OSError as error:
                shutil.rmtree(temporary, ignore_errors=True)
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return False
                raise
            sync_folder(folder.parent)
        return True

    def touch(self, name: str) -> None:
        path = self.root / name
        with suppress(OSError):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()

    def size(self, name: str) -> int | None:
        path = self.root / name
        with telling("read", path):
            try:
                return path.stat().st_size
            except (FileNotFoundError, NotADirectoryError):
                return None

    def names(self, prefix: str) -> Iterator[str]:
        for entry in self._entries(prefix):
            yield entry.path[len(self.location) + 1 :]

    def list(self, prefix: str) -> Iterator[Stored]:
        for entry in self._entries(prefix):
            # Another process may remove it meanwhile.
            with telling("list", self.root), suppress(FileNotFoundError):
                found = entry.stat()
                name = entry.path[len(self.location) + 1 :]
                yield Stored(name, found.st_size, found.st_mtime)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            path = self.root / name
            with telling("delete from the store", path):
                path.unlink(missing_ok=True)
            if name.split("/")[0] in _ALONE:
                with suppress(OSError):
                    path.parent.rmdir()

    def set_aside(self, name: str) -> None:
        path = self.root / name
        alone = path.name == "done.json"
        what = path.parent if alone else path
        damaged = self.root / "damaged"
        with telling("set aside a damaged artifact in", self.root), suppress(FileNotFoundError):
            damaged.mkdir(exist_ok=True)
            os.rename(what, damaged / f"{what.name}.{secrets.token_hex(4)}")
        if not alone:
            self._verified.discard(path.name)
            self._marks.clear()

    def put_blob(self, source: Path) -> tuple[str, int]:
        temporary = self._temporary()
        with telling(f"store {source.name} in", self.root):
            try:
                sha256, size = copy_synced(source, temporary)
                target = self.root / blob_name(sha256)
                if not self._freshened(target, sha256):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    temporary.replace(target)
                    sync_folder(target.parent)
            finally:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
            self._marks.add(target, state_of(target))
        self._verified.add(sha256)
        return sha256, size

    def fetch(self, blob: Blob) -> Path | None:
        path = self.root / blob_name(blob.sha256)
        if blob.sha256 not in self._verified and not self.verified(blob.sha256):
            return None
        return path

    def sound(self, blob: Blob) -> bool:
        path = self.root / blob_name(blob.sha256)
        with telling("read", path):
            try:
                if self._marks.holds(path):
                    return True
            except FileNotFoundError:
                return False
        return self.verified(blob.sha256)

    def verified(self, sha256: str) -> bool:
        path = self.root / blob_name(sha256)
        with telling("read", path):
            try:
                before = state_of(path)
                whole = file_hash(path) == sha256
            except (FileNotFoundError, NotADirectoryError):
                return False
        if whole:
            self._verified.add(sha256)
            self._marks.add(path, before)
        return whole

    def scratch(self, what: str) -> AbstractContextManager[Path]:
        return scratch(self.root, what)

    def _freshened(self, target: Path, sha256: str) -> bool:
        """Whether whole content is there already; then its age begins anew, which `gc` goes by."""
        if not _matches(target, sha256):
            return False
        try:
            os.utime(target)
        except FileNotFoundError:
            return False
        except PermissionError:
            pass  # another user's file: it can be used, and is as old as it is
        return True

    def _entries(self, prefix: str) -> Iterator[os.DirEntry[str]]:
        pending = [str(self.root / prefix.rstrip("/"))]
        while pending:
            folder = pending.pop()
            with telling("list", Path(folder)):
                try:
                    entries = list(os.scandir(folder))
                except (FileNotFoundError, NotADirectoryError):
                    continue
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    yield entry

    def _temporary(self) -> Path:
        return self.root / "tmp" / f"{os.getpid()}-{secrets.token_hex(8)}"


def _matches(path: Path, sha256: str) -> bool:
    try:
        return file_hash(path) == sha256
    except (FileNotFoundError, NotADirectoryError):
        return False


def _lives(temporary: str) -> bool:
    """Whether a process that may own this temporary file runs on this machine."""
    number = temporary.partition("-")[0]
    return number.isdigit() and Path("/proc", number).exists()
