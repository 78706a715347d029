"""The farm in this process: one worker in a thread, no Ray."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from storyflow.cluster import Cluster
from storyflow.farm.borders import Started
from storyflow.farm.jobs import Job, Progress, Rendered, Role, WorkerConfig
from storyflow.farm.pools import Notify, caps_of, lost, patience_of, worker_price
from storyflow.farm.workers import Worker, make_worker

T = TypeVar("T")

GOODBYE_SECONDS = 30.0
"""How long a stopped worker may take to its next step before its thread is left alone."""


class LocalFarm:
    """Implements `Farm`. One worker at a time: torch in one process uses its cores itself."""

    def __init__(self, config: WorkerConfig, cluster: Cluster) -> None:
        self._config = config
        self.cluster = cluster
        self.caps, self.patience = caps_of(cluster), patience_of(cluster)
        self.idle = cluster.workers.idle
        self.price = worker_price(cluster)

    def pool(self, role: Role, notify: Notify) -> LocalPool:
        """A pool of one worker in a thread."""
        count = self.cluster.workers.count
        if count > 1 and role == "segment":
            notify(f"{count} workers were asked for; in-process there is one")
        return LocalPool(lambda name: make_worker(role, self._config, name, own_process=False))

    async def close(self) -> None:
        """Pools close themselves."""


class LocalPool:
    """Implements `WorkerPool` with a single thread, in which a worker lives from setup to close."""

    gpus = 1.0

    def __init__(self, make: Callable[[str], Worker]) -> None:
        self._make = make
        self._thread: _Thread | None = None
        self._worker: Worker | None = None

    async def workers(self) -> tuple[str, ...]:
        """One."""
        return ("worker-1",)

    async def start(self, worker: str, avoid: frozenset[str] = frozenset()) -> Started:
        """Make the worker and load its model in the thread."""
        self._thread = self._thread or _Thread(worker)
        self._worker = self._make(worker)
        began = time.monotonic()
        numerics = await asyncio.wrap_future(self._thread.call(self._worker.setup))
        return Started(numerics, seconds=time.monotonic() - began)

    async def submit(self, worker: str, job: Job, attempt: int) -> Rendered:
        """Run the job in the thread."""
        assert self._worker is not None and self._thread is not None
        return await asyncio.wrap_future(self._thread.call(self._worker.run_ahead, job, attempt))

    def settle(self, worker: str, output: Rendered) -> Awaitable[Rendered] | None:
        """Wait until what a job made is stored."""
        if output.settled:
            return None
        if self._worker is None:
            return lost(worker)
        return asyncio.to_thread(self._worker.settle, output.artifact.key)

    async def progress(self, worker: str) -> Progress | None:
        """How far the running job is."""
        return self._worker.progress() if self._worker is not None else None

    async def allowance(self, wanted: int) -> int | None:
        """Nobody else has this process's worker."""
        return None

    async def release(self, worker: str) -> None:
        """Unload the model."""
        await self.close()

    async def kill(self, worker: str) -> None:
        """Stop the running job at its next step; a thread that never comes there is left alone."""
        if self._worker is not None:
            self._worker.stop()
            await self._end(GOODBYE_SECONDS)

    async def close(self) -> None:
        """Unload the model when the running job has ended, and end the thread."""
        await self._end(None)

    async def _end(self, patience: float | None) -> None:
        worker, thread = self._worker, self._thread
        self._worker = self._thread = None
        if thread is not None:
            if worker is not None:
                thread.call(worker.close)
            await asyncio.to_thread(thread.end, patience)


class _Thread:
    """Calls one after the other in a thread that can't keep the process from ending."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """What the call returns or raises, once it is its turn."""
        future: Future[T] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    result = work(*arguments)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)

        self._calls.put(run)
        return future

    def end(self, patience: float | None) -> None:
        """Wait until all calls are done, or for `patience` seconds."""
        self._calls.put(None)
        self._thread.join(patience)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
