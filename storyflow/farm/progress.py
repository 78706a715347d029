"""Asks busy workers now and then how far they are: tells of steps, and ends who is stuck."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from storyflow.events import Step
from storyflow.farm.jobs import Progress
from storyflow.farm.watchdog import Patience, Watchdog

PER_SECOND = 100
"""Questions to all workers together, at most."""


class Busy(Protocol):
    """What of a dispatcher is needed here."""

    def busy(self) -> tuple[tuple[str, int, int, str], ...]:
        """The working workers, each with its film's number, its attempt and its task."""

    def give_up(self, worker: str, error: Exception) -> None:
        """Take a working worker for dead."""


@asynccontextmanager
async def following(
    dispatcher: Busy,
    ask: Callable[[str], Awaitable[Progress | None]],
    name: Callable[[int, str], str],
    emit: Callable[[int, Step], None],
    seconds: float,
    patience: Patience,
) -> AsyncIterator[None]:
    """Every few `seconds` inside the block, emit a Step for each job that got on, and give up
    workers that have been silent for longer than `patience` allows.

    `ask` gives a worker's progress, `name` what the job of a film's task is called; `emit` takes
    the film, too.
    """
    told: dict[str, tuple[str, int]] = {}
    watchdog = Watchdog(patience)
    asked: dict[str, asyncio.Task[None]] = {}
    loop = asyncio.get_running_loop()

    async def follow(worker: str, film: int, attempt: int, task: str) -> None:
        progress = await ask(worker)
        # By the time of the answer the job may be done.
        if progress is None or (worker, film, attempt, task) not in dispatcher.busy():
            return
        if progress.name != name(film, task):
            return
        watchdog.heard(worker, (film, attempt, task), progress.beats, loop.time())
        if progress.total and told.get(worker) != (progress.name, progress.done):
            told[worker] = (progress.name, progress.done)
            emit(film, Step(progress.name, progress.done, progress.total))

    async def watch() -> None:
        while True:
            busy = dispatcher.busy()
            await asyncio.sleep(max(seconds, len(busy) / PER_SECOND))
            for worker, film, attempt, task in dispatcher.busy():
                # One question at a time: a worker that hangs may never answer.
                if worker not in asked or asked[worker].done():
                    asked[worker] = asyncio.ensure_future(follow(worker, film, attempt, task))
                stuck = watchdog.silent(worker, (film, attempt, task), loop.time())
                if stuck is not None:
                    asked.pop(worker).cancel()
                    dispatcher.give_up(worker, stuck)

    watching = asyncio.ensure_future(watch())
    try:
        yield
    finally:
        for task in (watching, *asked.values()):
            task.cancel()
        await asyncio.gather(watching, *asked.values(), return_exceptions=True)
