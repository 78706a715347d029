"""Several runs on one cluster: each holds its share of the workers, and no more while others wait.

The runs tell each other through one small actor on the cluster (`shares`): what each could use and
what it weighs. Shares are parts of the cluster, so runs whose workers differ in size share too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

ASK_SECONDS = 10.0
"""How often a run asks for its share."""


class Shared(Protocol):
    """What of a dispatcher is needed here."""

    def wanted(self) -> int:
        """Workers that have something to do, or would have."""

    def limit(self, workers: int | None) -> None:
        """Hold at most so many workers."""


@asynccontextmanager
async def sharing(
    dispatcher: Shared,
    allowance: Callable[[int], Awaitable[int | None]],
    seconds: float = ASK_SECONDS,
) -> AsyncIterator[None]:
    """Inside the block, keep to the run's share of the workers, asked for every few `seconds`."""

    async def keep() -> None:
        while True:
            wanted = dispatcher.wanted()
            if wanted:
                dispatcher.limit(await allowance(wanted))
            await asyncio.sleep(seconds if wanted else seconds / 20)

    keeping = asyncio.ensure_future(keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
