"""Written aside, renamed at the end: what has a final name is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storyflow.errors import CutError
from storyflow.store.disk import explain


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; renamed to `path` when the block ends well.

    An exception leaves whatever `path` held untouched. The name aside is fixed, so that a kill
    leaves at most one stale file, which the next writer replaces: one writer per folder at a time.
    Raises CutError when the disk refuses.
    """
    aside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise _refused("write", path, error) from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file if it is there. Raises CutError when the disk refuses."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _refused("remove", path, error) from error


def _refused(doing: str, path: Path, error: OSError) -> CutError:
    why, cure = explain(error)
    return CutError(f"can't {doing} {path}: {why}", cure=cure)
