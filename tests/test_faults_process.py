"""Whole films whose workers run out of memory, and one whose clock jumps."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest
from films import Studio

from storyflow.events import WorkerLost
from storyflow.slate import SlateRenderer


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


def refuse_memory(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The fifth segment and those after it are refused memory so many times."""
    renders, left = itertools.count(1), iter(range(times))
    draw = SlateRenderer.render

    def render(self: SlateRenderer, *arguments: Any) -> None:
        if next(renders) >= 5 and next(left, None) is not None:
            raise MemoryError("Unable to allocate 3.5 GiB")
        draw(self, *arguments)

    monkeypatch.setattr(SlateRenderer, "render", render)


def test_a_worker_out_of_memory_once_is_replaced(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_memory(monkeypatch, 1)
    made = studio.render()
    (lost,) = (event for event in made.events if isinstance(event, WorkerLost))
    assert "Unable to allocate 3.5 GiB" in lost.cause
    assert made.result.complete and len(made.names) == 6


def test_a_segment_too_big_for_the_memory_costs_what_hangs_on_it_and_says_why(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_memory(monkeypatch, 1000)
    made = studio.render()
    assert made.result.exit_code == 3
    assert made.result.film is not None and made.result.film.name == "film.partial.mp4"
    assert len(made.names) == 4
    for failure in made.result.failures:
        assert "no memory left (MemoryError: Unable to allocate 3.5 GiB)" in failure.error
        assert "failed 2 times" in failure.error


def test_a_clock_that_jumps_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every look at it is a month later or earlier than the one before."""
    (tmp_path / "steady").mkdir()
    steady = Studio(tmp_path / "steady").render()
    true, jump = time.time, itertools.cycle([0, 30 * 86400, -30 * 86400, 365 * 86400])
    monkeypatch.setattr(time, "time", lambda: true() + next(jump))
    (tmp_path / "jumping").mkdir()
    studio = Studio(tmp_path / "jumping")
    run = studio.render(settings=(*studio.options["settings"], "slate.fail={1B/2: -1}"))
    assert run.result.exit_code == 3
    studio.retry()
    rest = studio.render()
    assert set(run.names) | set(rest.names) == set(steady.names)
    assert not set(run.names) & set(rest.names)
    assert rest.sha256 == steady.sha256
    assert studio.render().names == ()
