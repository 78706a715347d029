"""A worker that dies while it only stores is out of reach at once."""

from __future__ import annotations

import asyncio

from test_farm_dispatch import FakePool, chain, play

from storyflow.farm.retries import WorkerDied


def test_a_worker_that_is_being_ended_is_given_nothing() -> None:
    class Slow(FakePool):
        """Ending a worker takes ten seconds, in which it has no process."""

        async def kill(self, worker: str) -> None:
            self.busy.add(worker)
            await asyncio.sleep(10)
            self.busy.discard(worker)
            await super().kill(worker)

        async def submit(self, worker: str, job: tuple[str, float], attempt: int) -> str:
            if worker in self.busy:
                raise KeyError(worker)
            return await super().submit(worker, job, attempt)

    # a/0 dies at 14 while it is stored; d/0 and e/0 are free for any worker from 19 on.
    tasks = [*chain("a", [10]), *chain("c", [15])]
    tasks += [*chain("d", [10], after="c/0"), *chain("e", [10], after="c/0")]

    def stores(task: str, count: int) -> BaseException | None:
        return WorkerDied("killed") if (task, count) == ("a/0", 1) else None

    played = play(tasks, pool := Slow(2, load=0.0, storing=4.0, stores=stores))
    assert played.outcome.complete and not played.outcome.failures
    assert sorted(pool.order()) == ["a/0", "a/0", "c/0", "d/0", "e/0"]
