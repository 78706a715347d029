"""The farm in this process: one worker in a thread, no Ray."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from storyflow.cluster import Cluster
from storyflow.farm.borders import Started
from storyflow.farm.jobs import Job, Progress, Rendered, Role, WorkerConfig
from storyflow.farm.pools import Notify, caps_of, lost, worker_price
from storyflow.farm.workers import Worker, make_worker


class LocalFarm:
    """Implements `Farm`. One worker at a time: torch in one process uses its cores itself."""

    def __init__(self, config: WorkerConfig, cluster: Cluster) -> None:
        self._config = config
        self._count = cluster.workers.count
        self.caps = caps_of(cluster)
        self.price = worker_price(cluster)

    def pool(self, role: Role, notify: Notify) -> LocalPool:
        """A pool of one worker in a thread."""
        if self._count > 1 and role == "segment":
            notify(f"{self._count} workers were asked for; in-process there is one")
        return LocalPool(lambda name: make_worker(role, self._config, name, own_process=False))

    async def close(self) -> None:
        """Pools close themselves."""


class LocalPool:
    """Implements `WorkerPool` with a single thread, in which a worker lives from setup to close."""

    def __init__(self, make: Callable[[str], Worker]) -> None:
        self._make = make
        self._thread: ThreadPoolExecutor | None = None
        self._worker: Worker | None = None

    async def workers(self) -> tuple[str, ...]:
        """One."""
        return ("worker-1",)

    async def start(self, worker: str, avoid: frozenset[str] = frozenset()) -> Started:
        """Make the worker and load its model in the thread."""
        self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix=worker)
        self._worker = self._make(worker)
        began, loop = time.monotonic(), asyncio.get_running_loop()
        numerics = await loop.run_in_executor(self._thread, self._worker.setup)
        return Started(numerics, seconds=time.monotonic() - began)

    async def submit(self, worker: str, job: Job, attempt: int) -> Rendered:
        """Run the job in the thread."""
        assert self._worker is not None and self._thread is not None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._worker.run_ahead, job, attempt)

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

    async def release(self, worker: str) -> None:
        """Unload the model."""
        await self.close()

    async def kill(self, worker: str) -> None:
        """Stop the running job at its next step; the thread can't be killed."""
        if self._worker is not None:
            self._worker.stop()
            await self.close()

    async def close(self) -> None:
        """Unload the model when the running job has ended, and end the thread."""
        worker, thread = self._worker, self._thread
        self._worker = self._thread = None
        if thread is not None:
            if worker is not None:
                thread.submit(worker.close)
            await asyncio.to_thread(thread.shutdown, wait=True)
