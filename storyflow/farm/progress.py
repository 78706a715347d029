"""Tells of solver steps while segments are rendered, by asking busy workers now and then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from storyflow.events import Step
from storyflow.farm.jobs import Progress


@asynccontextmanager
async def telling_steps(
    busy: Callable[[], tuple[tuple[str, int, str], ...]],
    ask: Callable[[str], Awaitable[Progress | None]],
    name: Callable[[str], str],
    emit: Callable[[Step], None],
    seconds: float,
) -> AsyncIterator[None]:
    """Every few `seconds` inside the block, emit a Step for each job that got on.

    `busy` gives (worker, film, task), `ask` a worker's progress,
    `name` what a task's job is called.
    """
    told: dict[str, Progress] = {}

    async def follow(worker: str, film: int, task: str) -> None:
        progress = await ask(worker)
        if progress is None or told.get(worker) == progress:
            return
        # By the time of the answer the job may be done.
        if progress.name == name(task) and (worker, film, task) in busy():
            told[worker] = progress
            emit(Step(progress.name, progress.done, progress.total))

    async def watch() -> None:
        while True:
            await asyncio.sleep(seconds)
            await asyncio.gather(*(follow(*each) for each in busy()))

    watching = asyncio.ensure_future(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
