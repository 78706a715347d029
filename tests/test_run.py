"""A run: its events reach every listener, sync and async; cancelling and failing end it well."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from storyflow.errors import Cancelled, StoreError
from storyflow.events import Event, Finished, Notice, Result, Spent, Step
from storyflow.run import Run


def result(exit_code: int = 0, error: str | None = None) -> Result:
    return Result(
        title="Swan",
        folder=Path("renders/swan"),
        film=None,
        manifest=None,
        complete=exit_code == 0,
        failures=(),
        rendered=0,
        reused=0,
        spent=Spent(0.0, 0.0),
        exit_code=exit_code,
        error=error,
    )


def ending(error: BaseException) -> Result:
    return result(130 if isinstance(error, Cancelled) else 5, str(error))


def short_film(gate: threading.Event | None = None):
    async def work(emit):
        emit(Notice("begin"))
        while gate is not None and not gate.is_set():
            await asyncio.sleep(0.005)
        emit(Step("1A/1", 1, 2))
        emit(Notice("end"))
        return result()

    return work


def texts(events: list[Event]) -> list[str]:
    return [e.text if isinstance(e, Notice) else type(e).__name__ for e in events]


def test_events_come_in_order_and_end_with_finished() -> None:
    gate = threading.Event()
    run = Run(short_film(gate), ending)
    events = iter(run.events())
    first = next(events)
    gate.set()
    assert texts([first, *events]) == ["begin", "Step", "end", "Finished"]


def test_a_late_listener_misses_only_steps() -> None:
    run = Run(short_film(), ending)
    run.result(timeout=30)
    assert texts(list(run.events())) == ["begin", "end", "Finished"]


def test_two_listeners_get_all_events_each() -> None:
    run = Run(short_film(), ending)
    run.result(timeout=30)
    assert list(run.events()) == list(run.events())


def test_events_and_result_work_inside_a_running_event_loop() -> None:
    async def listen() -> tuple[list[Event], Result]:
        run = Run(short_film(), ending)
        heard = [event async for event in run.events()]
        return heard, await run.wait()

    heard, end = asyncio.run(listen())
    assert isinstance(heard[-1], Finished)
    assert end.complete


def test_a_cancelled_run_is_a_result() -> None:
    gate = threading.Event()
    run = Run(short_film(gate), ending)
    next(iter(run.events()))
    run.cancel()
    end = run.result(timeout=30)
    assert (end.exit_code, end.complete) == (130, False)
    run.cancel()


def test_a_run_cancelled_at_once_still_finishes() -> None:
    run = Run(short_film(threading.Event()), ending)
    run.cancel()
    assert run.result(timeout=30).exit_code == 130
    assert isinstance(list(run.events())[-1], Finished)


def test_an_infrastructure_failure_is_raised_by_result_and_told_by_finished() -> None:
    async def work(_emit):
        raise StoreError("the disk is full", cure="free space")

    run = Run(work, ending)
    last = list(run.events())[-1]
    assert isinstance(last, Finished)
    assert last.result.exit_code == 5
    with pytest.raises(StoreError, match="disk is full"):
        run.result(timeout=30)


def test_waiting_for_a_running_film_can_time_out() -> None:
    gate = threading.Event()
    run = Run(short_film(gate), ending)
    with pytest.raises(TimeoutError):
        run.result(timeout=0.01)
    gate.set()
    assert run.result(timeout=30).complete
