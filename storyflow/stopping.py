"""Long work in a thread that ends soon after the coroutine waiting for it is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from storyflow.errors import Cancelled

T = TypeVar("T")

Check = Callable[[], None]
"""Called by long work between its steps. Raises Cancelled once the work is to end."""


def go_on() -> None:
    """The check of work that nothing stops."""


async def stoppable(work: Callable[[Check], T]) -> T:
    """Run `work(check)` in a thread. When this coroutine is cancelled, `check` raises Cancelled in
    the thread, and only when the work has ended is the cancelling passed on: what the caller holds
    for the work (a claim, a file) is never let go before.
    """
    stopped = threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise Cancelled("the run was stopped")

    working = asyncio.ensure_future(asyncio.to_thread(work, check))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        stopped.set()
        await asyncio.wait((working,))
        if not working.cancelled():
            working.exception()  # looked at, so that it is not reported as forgotten
        raise
