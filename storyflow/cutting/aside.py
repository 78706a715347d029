"""Written aside, renamed at the end: what has a final name is whole."""

from __future__ import annotations

import os
import shutil
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
        raise refused("write", path, error) from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file if it is there. Raises CutError when the disk refuses."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise refused("remove", path, error) from error


def refused(doing: str, path: Path, error: OSError) -> CutError:
    """What failed, on which path, why, and the cure, as one error."""
    why, cure = explain(error)
    return CutError(f"can't {doing} {path}: {why}", cure=cure)


@contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """A folder beside `path` to fill; it takes `path`'s place when the block ends well.

    An exception leaves whatever `path` held untouched. Raises CutError when the disk refuses.
    """
    aside, old = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.old")
    try:
        for stale in (aside, old):
            if stale.exists():
                shutil.rmtree(stale)
        aside.mkdir(parents=True)
        yield aside
        # A folder that holds something can't be renamed over.
        if path.exists():
            path.rename(old)
        aside.rename(path)
    except OSError as error:
        raise refused("write", path, error) from error
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        for left in (aside, old):
            shutil.rmtree(left, ignore_errors=True)
