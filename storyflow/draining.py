"""The wish to stop at the next border between segments, told from any thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Draining:
    """One wish, told once; who wants to hear of it later is told at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wished = False
        self._listeners: list[Callable[[], None]] = []

    @property
    def wished(self) -> bool:
        """Whether the run is to stop at the next border."""
        return self._wished

    def wish(self) -> None:
        """Stop at the next border."""
        with self._lock:
            self._wished = True
            listeners = tuple(self._listeners)
        for tell in listeners:
            tell()

    @contextmanager
    def told(self, call: Callable[[], None]) -> Iterator[None]:
        """Inside the block, `call` is called on the running event loop when the wish is told."""
        loop = asyncio.get_running_loop()

        def tell() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(call)

        with self._lock:
            self._listeners.append(tell)
            late = self._wished
        if late:
            tell()
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(tell)
