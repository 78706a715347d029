"""One run at a time per output folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storyflow.errors import InfrastructureError


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Make `folder` and hold it; the claim ends with the process, however that dies.

    Raises InfrastructureError: the folder can't be made or written, or another run holds it.
    """
    path = folder / ".claim"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InfrastructureError(
            f"can't write to the folder {folder} ({error.strerror})", cure="choose one with --out"
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(handle, 64, 0).decode(errors="replace").strip() or "unknown"
            raise InfrastructureError(
                f"another run (process {holder}) is rendering into {folder}",
                cure="wait for it, or choose another folder with --out",
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield folder
    finally:
        os.close(handle)
