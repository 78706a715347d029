"""Small file operations that survive a crash, and disk errors told as StoreError."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storyflow.errors import StoreError

_CURES = {
    errno.ENOSPC: ("the disk is full", "free some space and run the same command again"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run the same command again"),
    errno.EFBIG: ("a file grew past the allowed size", "raise the file size limit (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", "name a folder that can be written"),
    errno.EACCES: ("permission is denied", "name a folder that can be written"),
    errno.EPERM: ("permission is denied", "name a folder that can be written"),
    errno.ENOTDIR: ("a part of the path is a file", "name a folder"),
    errno.EEXIST: ("a file is in the way", "name a folder"),
    errno.ENOENT: ("it does not exist or vanished", "check that its disk is mounted"),
    errno.EIO: ("the disk reports an error", "check the disk, then run the same command again"),
    errno.ESTALE: ("the network folder was lost", "mount it again, then run the same command"),
    errno.ENAMETOOLONG: ("a name is too long", "name a folder with a shorter path"),
}

_CHUNK = 1 << 20


def explain(error: OSError) -> tuple[str, str]:
    """Why the disk refused, and the cure, in words."""
    return _CURES.get(error.errno or 0, (error.strerror or str(error), "check the folder"))


def store_error(error: OSError, doing: str, path: Path) -> StoreError:
    """What failed, on which path, why, and the cure, as one error."""
    why, cure = explain(error)
    return StoreError(f"can't {doing} {path}: {why}", cure=cure)


@contextmanager
def telling(doing: str, path: Path) -> Iterator[None]:
    """Turns an OSError inside the block into a StoreError."""
    try:
        yield
    except OSError as error:
        raise store_error(error, doing, path) from error


@contextmanager
def scratch(root: Path, what: str) -> Iterator[Path]:
    """A folder in the `tmp` of the store at `root`, which is swept when this process is killed.

    Raises StoreError.
    """
    place = root / "tmp"
    with telling("write to", place):
        folder = tempfile.TemporaryDirectory(dir=place, prefix=f"{os.getpid()}-{what}-")
    with folder as name:
        yield Path(name)


def cache_folder() -> Path:
    """Where storyflow keeps what it can get again: `storyflow` in XDG_CACHE_HOME or ~/.cache."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    # A relative path is to be ignored, says the XDG base directory specification.
    base = Path(named) if named.startswith("/") else Path.home() / ".cache"
    return base / "storyflow"


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. File systems that can't do it are left alone."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on the disk. Raises FileExistsError."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def copy_hashed(source: Path, target: Path) -> tuple[str, int]:
    """Copy into a new file; its sha256 and size."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            writer.write(chunk)
    return digest.hexdigest(), size


def copy_synced(source: Path, target: Path) -> tuple[str, int]:
    """Copy into a new file that nobody may change, wait until it is on the disk; as above."""
    answer = copy_hashed(source, target)
    handle = os.open(target, os.O_RDONLY)
    try:
        os.fchmod(handle, 0o444)
        os.fsync(handle)
    finally:
        os.close(handle)
    return answer
