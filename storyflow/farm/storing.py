"""Stores a worker's outputs in a thread, one after the other, while it does its next job."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from storyflow.store.artifacts import Artifact


class Storing:
    """At most one output is under way: the next one waits for it, so a kill costs two at most."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="storing")
        self._under_way: dict[str, Future[Artifact]] = {}
        self._last: Future[Artifact] | None = None

    def put(self, key: str, store: Callable[[], Artifact]) -> None:
        """Begin to store an output, once the one before is stored (or is known not to be)."""
        if self._last is not None:
            wait((self._last,))
        self._last = self._under_way[key] = self._thread.submit(store)

    def settle(self, key: str) -> Artifact:
        """Wait for an output. Raises what storing it raised."""
        try:
            return self._under_way[key].result()
        finally:
            del self._under_way[key]

    def wait(self, key: str) -> None:
        """Wait for an output, if it is under way, however that ends."""
        if key in self._under_way:
            wait((self._under_way[key],))

    def close(self) -> None:
        """Wait for what is under way."""
        self._thread.shutdown(wait=True)
