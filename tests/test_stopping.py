"""Work in a thread ends when the coroutine that waits for it is cancelled, and not later."""

from __future__ import annotations

import asyncio
import threading

import pytest

from storyflow.errors import Cancelled
from storyflow.stopping import Check, stoppable


def test_work_that_nobody_stops_gives_its_result() -> None:
    def work(check: Check) -> int:
        check()
        return 7

    assert asyncio.run(stoppable(work)) == 7


def test_what_the_work_raises_is_passed_on() -> None:
    def work(check: Check) -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(stoppable(work))


@pytest.mark.parametrize("ends_by", ["its check", "itself", "an error of its own"])
def test_a_cancelled_wait_ends_after_the_work(ends_by: str) -> None:
    began, ended = threading.Event(), threading.Event()

    def work(check: Check) -> None:
        began.set()
        try:
            while True:
                check()
        except Cancelled:
            if ends_by == "its check":
                raise
            if ends_by == "an error of its own":
                raise OSError("the disk") from None
        finally:
            ended.set()

    async def run() -> None:
        waiting = asyncio.ensure_future(stoppable(work))
        await asyncio.to_thread(began.wait)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert ended.is_set()

    asyncio.run(run())
