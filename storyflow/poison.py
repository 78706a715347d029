"""`failed.json`: what failed for good in a film's folder, by key, so that no later run pays for it
again before somebody says so.

A segment whose inputs change has another key, so it is tried by itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from storyflow.errors import InfrastructureError

FAILED = "failed.json"
"""Name of the file in a film's folder."""

RETRY = "storyflow retry STORYBOARD"
RETRY_EPISODE = "storyflow series retry SERIES EPISODE"


@dataclass(frozen=True)
class Failed:
    """What failed: its key, its name and shot (empty for a prompt), the error and the day."""

    key: str
    name: str
    shot: str
    error: str
    when: str


class Poison:
    """What failed for good. Without a `file` it is remembered as long as this object only.

    `retry` is the command that lets it be tried again. A file that can't be understood is taken for
    empty: the worst is that something is tried again.
    """

    def __init__(self, file: Path | None = None, retry: str = RETRY) -> None:
        self._file = file
        self.retry = retry
        self._known = {failed.key: failed for failed in _read(file)}

    @property
    def all(self) -> tuple[Failed, ...]:
        """Everything that is not tried again."""
        return tuple(self._known.values())

    def find(self, key: str) -> Failed | None:
        """What is known of a key."""
        return self._known.get(key)

    def note(self, key: str, name: str, shot: str, error: str) -> None:
        """A key failed for good. Raises InfrastructureError when that can't be written."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        self._known[key] = Failed(key, name, shot, error, when)
        self._write()

    def forget(self, shots: Collection[str] | None = None) -> tuple[Failed, ...]:
        """Let these shots, or everything, be tried again; prompts always are. What is forgotten.

        Raises InfrastructureError.
        """
        gone = [f for f in self.all if shots is None or not f.shot or f.shot in shots]
        for failed in gone:
            del self._known[failed.key]
        if gone:
            self._write()
        return tuple(gone)

    def _write(self) -> None:
        if self._file is None:
            return
        aside = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        text = json.dumps([asdict(failed) for failed in self.all], indent=1, ensure_ascii=False)
        try:
            aside.write_text(text + "\n", encoding="utf-8")
            aside.replace(self._file)
        except OSError as error:
            raise InfrastructureError(
                f"can't write {self._file} ({error.strerror})",
                cure="make room or choose another folder with --out",
            ) from error


def _read(file: Path | None) -> tuple[Failed, ...]:
    if file is None:
        return ()
    try:
        return _entries().validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return ()


@cache
def _entries() -> TypeAdapter[tuple[Failed, ...]]:
    return TypeAdapter(tuple[Failed, ...])
