"""Work in a thread of its own with its own event loop: events as they happen, cancelling, and the
result at the end.

So it neither blocks a running event loop nor needs one, and works inside a Ray actor. Nothing is
printed.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from storyflow.draining import Draining
from storyflow.errors import Cancelled

E = TypeVar("E")
R = TypeVar("R")


@dataclass(frozen=True)
class Kind(Generic[E, R]):
    """What runs of a kind share: `finished` makes the last event, `passing` ones are of interest
    only while they happen; `what` is the work in messages."""

    what: str
    finished: Callable[[R], E]
    passing: Callable[[E], bool]


class Events(Generic[E]):
    """The events of a run from its beginning, to be iterated either way, by anybody, once each.

    What passed before the iteration began is left out; all else is kept.
    """

    def __init__(self, hub: _Hub[E]) -> None:
        self._hub = hub

    def __iter__(self) -> Iterator[E]:
        inbox: queue.SimpleQueue[E | None] = queue.SimpleQueue()
        with self._hub.listener(inbox.put):
            while (event := inbox.get()) is not None:
                yield event

    async def __aiter__(self) -> AsyncIterator[E]:
        loop = asyncio.get_running_loop()
        inbox: asyncio.Queue[E | None] = asyncio.Queue()

        def put(event: E | None) -> None:
            # The listener's loop may have ended before the work did.
            if not loop.is_closed():
                loop.call_soon_threadsafe(inbox.put_nowait, event)

        with self._hub.listener(put):
            while (event := await inbox.get()) is not None:
                yield event


class Running(Generic[E, R]):
    """Work that goes on.

    It takes `emit` and ends with its result or raises StoryflowError; `ending` is the result of
    work that raised. `draining` is the wish that `drain` tells the work.
    """

    def __init__(
        self,
        kind: Kind[E, R],
        work: Callable[[Callable[[E], None]], Awaitable[R]],
        ending: Callable[[BaseException], R],
        draining: Draining | None = None,
    ) -> None:
        self._kind = kind
        self._work = work
        self._end = ending
        self._draining = draining or Draining()
        self._hub: _Hub[E] = _Hub(kind.passing)
        self._result: R | None = None
        self._error: BaseException | None = None
        self._cancelled = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[R] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._main, name="storyflow", daemon=True)
        self._thread.start()

    def events(self) -> Events[E]:
        """All events, from the first to the one that tells the end; sync and async iterable."""
        return Events(self._hub)

    def drain(self) -> None:
        """Finish and store the segments that are being rendered, begin no other, and end.

        A run that has rendered everything goes on to the film. Harmless when already finished.
        """
        self._draining.wish()

    def cancel(self) -> None:
        """Stop now; finished segments stay in the store. Harmless when already finished."""
        with self._lock:
            self._cancelled.set()
            if self._loop is not None and self._task is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._task.cancel)

    @property
    def ending(self) -> R | None:
        """What the last event told, also where `result` raises; None while the run goes on."""
        return self._result

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return not self._thread.is_alive()

    def result(self, timeout: float | None = None) -> R:
        """Wait for the end. A partial or cancelled film is a result too.

        Raises InfrastructureError (disk, store, Ray) and what else stopped the run as a whole;
        TimeoutError after `timeout` seconds.
        """
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"{self._kind.what} is still being rendered")
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    async def wait(self) -> R:
        """`result()` for coroutines: does not block the event loop."""
        return await asyncio.to_thread(self.result)

    def _main(self) -> None:
        try:
            result = asyncio.run(self._guarded())
        except (asyncio.CancelledError, Cancelled) as error:
            result = self._end(error if isinstance(error, Cancelled) else Cancelled("cancelled"))
        except BaseException as error:
            self._error = error
            result = self._end(error)
        self._result = result
        self._hub.emit(self._kind.finished(result))
        self._hub.close()

    async def _guarded(self) -> R:
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.ensure_future(self._begin())
            if self._cancelled.is_set():
                self._task.cancel()
        return await self._task

    async def _begin(self) -> R:
        return await self._work(self._hub.emit)


class _Hub(Generic[E]):
    """Passes events to every listener; late listeners get what they missed, but for what passes."""

    def __init__(self, passing: Callable[[E], bool]) -> None:
        self._passing = passing
        self._lock = threading.Lock()
        self._past: list[E] = []
        self._listeners: list[Callable[[E | None], None]] = []
        self._closed = False

    def emit(self, event: E) -> None:
        with self._lock:
            if not self._passing(event):
                self._past.append(event)
            for put in self._listeners:
                put(event)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for put in self._listeners:
                put(None)

    def listener(self, put: Callable[[E | None], None]) -> _Listening[E]:
        return _Listening(self, put)

    def join(self, put: Callable[[E | None], None]) -> None:
        with self._lock:
            for event in self._past:
                put(event)
            if self._closed:
                put(None)
            else:
                self._listeners.append(put)

    def leave(self, put: Callable[[E | None], None]) -> None:
        with self._lock:
            if put in self._listeners:
                self._listeners.remove(put)


class _Listening(Generic[E]):
    def __init__(self, hub: _Hub[E], put: Callable[[E | None], None]) -> None:
        self._hub, self._put = hub, put

    def __enter__(self) -> None:
        self._hub.join(self._put)

    def __exit__(self, *_: object) -> None:
        self._hub.leave(self._put)
