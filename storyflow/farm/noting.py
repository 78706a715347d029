"""Writes hints for later plans into the store: nobody waits for them but the run's end."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor

from storyflow.store.store import Store


class Noting:
    """One after the other, in a thread of its own: in a bucket each entry is a request.

    A hint that can't be written is left out.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="noting")
        self._last: Future[None] | None = None

    def note(self, entry: str, key: str) -> None:
        """Index an artifact under a further name; returns at once."""
        self._last = self._thread.submit(self._store.remember, entry, key)

    async def settled(self) -> None:
        """Wait until all is written."""
        if self._last is not None:
            await asyncio.wait((asyncio.wrap_future(self._last),))

    def close(self) -> None:
        """Leave out what is not written yet."""
        self._thread.shutdown(wait=False, cancel_futures=True)
