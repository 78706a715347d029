"""Marks of verified content: which files of a store were hashed before and are unchanged since.

A file counts as unchanged while device, inode, size and modification time are the same. That
misses what a dying disk changes behind the file system's back; content is therefore hashed again
whenever it is read to be rendered on or cut, and by `storyflow store verify`. Losing the marks
costs time, never safety, so nothing here fails.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

from storyflow.store.disk import cache_folder

_TABLE = "CREATE TABLE IF NOT EXISTS verified (path TEXT PRIMARY KEY, state TEXT) WITHOUT ROWID"


class Marks:
    """The marks of one store's files. Safe for threads, forks and several processes."""

    def __init__(self, root: Path, file: Path | None = None) -> None:
        self._root = root
        self._file = file or cache_folder() / "verified.sqlite"
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._owner = 0

    def holds(self, path: Path) -> bool:
        """Whether this file was marked as it is now. Raises OSError where it can't be seen."""
        state = state_of(path)
        with suppress(sqlite3.Error, OSError), self._lock:
            rows = self._open().execute("SELECT state FROM verified WHERE path = ?", (str(path),))
            return bool(rows.fetchone() == (state,))
        return False

    def add(self, path: Path, state: str) -> None:
        """Mark a file that was hashed after it had this state."""
        with suppress(sqlite3.Error, OSError), self._lock:
            self._open().execute(
                "INSERT OR REPLACE INTO verified VALUES (?, ?)", (str(path), state)
            )

    def clear(self) -> None:
        """Forget all marks of this store: where one file is damaged, others may be."""
        with suppress(sqlite3.Error, OSError), self._lock:
            inside = f"{self._root}/"
            self._open().execute(
                "DELETE FROM verified WHERE substr(path, 1, ?) = ?", (len(inside), inside)
            )

    def _open(self) -> sqlite3.Connection:
        # A connection must not cross a fork.
        if self._connection is None or self._owner != os.getpid():
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self._file, timeout=5, isolation_level=None, check_same_thread=False
            )
            self._owner = os.getpid()
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute(_TABLE)
        return self._connection


def state_of(path: Path) -> str:
    """What changes whenever a file is written or replaced. Raises OSError."""
    found = path.stat()
    return f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns}"
