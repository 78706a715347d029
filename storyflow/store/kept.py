"""The artifacts of a film in a few bytes each: their keys are kept, they are read when asked for.

An artifact has a hash for each of its frames, 10 kB in all; a film of ten thousand segments would
hold 100 MB of them from its first segment to its cut.
"""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, BinaryIO

from storyflow.errors import DamagedError
from storyflow.store.artifacts import Artifact

if TYPE_CHECKING:
    from storyflow.store.store import Store

RECENT = 64
"""Artifacts that are at hand: what was done last is what is continued next."""


class StoredArtifacts(Mapping[str, Artifact]):
    """Artifacts by recipe. Asking for one reads it from the store, unless it was used just now.

    `[...]` and what is made of it raise DamagedError for an artifact that has left the store since,
    StoreError. Names, keys and length cost nothing. Safe to be read by several threads.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys: dict[str, str] = {}
        self._recent: OrderedDict[str, Artifact] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, recipe: str, artifact: Artifact) -> None:
        """Add an artifact that the store has."""
        self._keys[recipe] = artifact.key
        self._use(artifact)

    def key(self, recipe: str) -> str:
        """The key of an artifact; nothing is read. Raises KeyError."""
        return self._keys[recipe]

    def key_list(self) -> list[str]:
        """The keys of all; nothing is read."""
        return list(self._keys.values())

    def ready(self, recipes: Iterable[str]) -> None:
        """Read those of these that are not at hand, in one go; the others wait their turn."""
        wanted = [self._keys[recipe] for recipe in recipes if recipe in self._keys]
        lacking = [key for key in wanted[:RECENT] if key not in self._recent]
        for artifact in self._store.recall(lacking).values() if lacking else ():
            self._use(artifact)

    def copy(self) -> StoredArtifacts:
        """Another one with the same artifacts."""
        made = StoredArtifacts(self._store)
        made._keys.update(self._keys)
        return made

    def __getitem__(self, recipe: str) -> Artifact:
        key = self._keys[recipe]
        with self._lock:
            found = self._recent.get(key)
        if found is None:
            found = self._store.recall([key]).get(key)
        if found is None:
            raise DamagedError(
                f"the artifact {key} has left the store {self._store} while the film was made",
                cure="run the same command again to render it anew",
            )
        self._use(found)
        return found

    def __contains__(self, recipe: object) -> bool:
        return recipe in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def _use(self, artifact: Artifact) -> None:
        with self._lock:
            self._recent[artifact.key] = artifact
            self._recent.move_to_end(artifact.key)
            while len(self._recent) > RECENT:
                self._recent.popitem(last=False)


def ready(artifacts: Mapping[str, Artifact], recipes: Iterable[str]) -> None:
    """Say which artifacts are asked for next: those that are not at hand are read in one go."""
    if isinstance(artifacts, StoredArtifacts):
        artifacts.ready(recipes)


class Spool:
    """Small texts by name, in a file that nobody else sees and that goes with this process."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[int, int]] = {}
        self._file: BinaryIO | None = None
        self._end = 0
        self._lock = threading.Lock()

    def put(self, name: str, text: bytes) -> None:
        """Add a text, or put it in place of an older one. Raises OSError."""
        with self._lock:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this
            self._file.seek(self._end)
            self._file.write(text)
            self._places[name] = (self._end, len(text))
            self._end += len(text)

    def get(self, name: str) -> bytes | None:
        """A text, None if there is none. Raises OSError."""
        with self._lock:
            if name not in self._places or self._file is None:
                return None
            start, length = self._places[name]
            self._file.seek(start)
            return self._file.read(length)

    def drop(self, name: str) -> None:
        """Forget a text."""
        with self._lock:
            self._places.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._places
