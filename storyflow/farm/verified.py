"""What workers say is believed when it can be seen here."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from storyflow.budget import Budget
from storyflow.errors import BudgetError, StoreError
from storyflow.farm.borders import OtherOutput, Started
from storyflow.farm.jobs import Job, Rendered
from storyflow.farm.oneclass import Hold
from storyflow.farm.pools import WorkerPool
from storyflow.store.artifacts import Artifact
from storyflow.store.store import Store


class VerifiedPool:
    """A pool whose outputs count only when this process, too, finds them whole in the store.

    `stored` asks for the whole artifact of a key. In a run that is held to one numerics class
    (`hold`), workers and outputs of others don't count either. `budget` limits the workers.
    `opening` is how long it took to learn which workers there are, `seating` until the first of
    them was there, loading left out; in seconds, None while there was none.
    """

    def __init__(
        self,
        pool: WorkerPool,
        store: Store,
        stored: Callable[[str], Awaitable[Artifact | None]],
        hold: Hold | None,
        budget: Budget,
    ) -> None:
        self._pool, self._store, self._stored = pool, store, stored
        self._hold, self._budget = hold, budget
        self.opening = 0.0
        self.seating: float | None = None
        self.release, self.kill, self.close = pool.release, pool.kill, pool.close
        self.progress, self.allowance = pool.progress, pool.allowance

    @property
    def gpus(self) -> float:
        return self._pool.gpus

    async def workers(self) -> tuple[str, ...]:
        began = time.monotonic()
        names = await self._pool.workers()
        self.opening = time.monotonic() - began
        if self._budget.gpus is None:
            return names
        allowed = int(self._budget.gpus / self.gpus + 1e-9)
        if not allowed:
            raise BudgetError(
                f"one worker holds {self.gpus:g} GPUs, more than the limit of {self._budget.gpus}",
                cure="raise --max-gpus, or give workers fewer GPUs in the cluster file",
            )
        return names[:allowed]

    async def start(self, worker: str, avoid: frozenset[str]) -> Started:
        began = time.monotonic()
        started = await self._pool.start(worker, avoid)
        if self.seating is None:
            self.seating = max(0.0, time.monotonic() - began - started.seconds)
        if self._hold is not None:
            self._hold.check(worker, started.numerics)
        return started

    async def submit(self, worker: str, job: Job, attempt: int) -> Rendered:
        rendered = await self._pool.submit(worker, job, attempt)
        if not rendered.settled:
            return rendered
        await self._verify(worker, rendered)
        if self._hold is not None and not self._hold.accepts(rendered.artifact.numerics):
            # Another run has stored its own output here since this one looked.
            return await self.submit(worker, self._hold.moved(job), attempt)
        return rendered

    def settle(self, worker: str, output: Rendered) -> Awaitable[Rendered] | None:
        storing = self._pool.settle(worker, output)
        return None if storing is None else self._settled(worker, output, storing)

    async def _settled(
        self, worker: str, promised: Rendered, storing: Awaitable[Rendered]
    ) -> Rendered:
        rendered = await storing
        await self._verify(worker, rendered)
        if self._hold is not None and not self._hold.accepts(rendered.artifact.numerics):
            raise RuntimeError("another run stored its own output here, of another numerics class")
        made, stored = promised.artifact, rendered.artifact
        if (made.digest, made.latents) != (stored.digest, stored.latents):
            raise OtherOutput(rendered)
        return rendered

    async def _verify(self, worker: str, rendered: Rendered) -> None:
        if await self._stored(rendered.artifact.key) is None:
            raise StoreError(
                f"{worker} stored {rendered.artifact.key}, but it is not in {self._store} here",
                cure="name a store that this machine and all workers see as the same",
            )
