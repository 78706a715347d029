"""Series are rendered: what is left, on shared workers, within a night, whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from test_series_plan import EPISODES, SERIES, series_in

from storyflow.claim import claimed_run
from storyflow.draining import Draining
from storyflow.events import Event, SegmentDone, SegmentStarted, WorkerReady
from storyflow.series.ledger import Ledger
from storyflow.series.orders import Grounds
from storyflow.series.plan import plan_series
from storyflow.series.render import render_series
from storyflow.series.told import EpisodeTold, SeriesEvent, SeriesNotice, SeriesResult
from storyflow.store.store import Store

NOW = datetime(2026, 1, 10, 23, tzinfo=UTC)
Told = list[tuple[str, Event]]


def rendered(
    file: Path,
    told: Told | None = None,
    draining: Draining | None = None,
    now: datetime = NOW,
    also: Callable[[str, Event], None] = lambda name, event: None,
) -> SeriesResult:
    def tell(event: SeriesEvent) -> None:
        assert not isinstance(event, SeriesNotice), event
        if isinstance(event, EpisodeTold):
            if told is not None:
                told.append((event.episode, event.event))
            also(event.episode, event.event)

    return asyncio.run(render_series(Grounds(file), tell, draining, lambda: now))


def made(told: Told) -> list[tuple[str, str]]:
    """Segments that were rendered, with their episodes."""
    done = [(name, e) for name, e in told if isinstance(e, SegmentDone)]
    return sorted((name, event.segment) for name, event in done if not event.reused)


def endings(result: SeriesResult) -> dict[str, str]:
    return {each.name: each.outcome for each in result.episodes}


def test_a_series_is_rendered_once_on_one_worker_and_the_ledger_has_it(tmp_path):
    file, told = series_in(tmp_path), Told()
    result = rendered(file, told)
    assert (result.outcome, result.exit_code) == ("complete", 0)
    assert made(told) == [("e1", "1A/1"), ("e1", "1B/1"), ("e2", "2A/1")]
    ready = {event.worker for _, event in told if isinstance(event, WorkerReady)}
    assert ready == {"worker-1"}
    assert sum(isinstance(event, WorkerReady) for _, event in told) <= 2
    for each in result.episodes:
        assert each.film is not None and each.film.is_file()
    grounds = Grounds(file)
    with Ledger.reading(grounds.ledger) as ledger:
        (run,) = ledger.runs("Shapes")
        segments = ledger.segments("Shapes")
        episodes = ledger.episodes("Shapes")
    assert (run.outcome, run.night) == ("complete", "2026-01-10")
    assert run.gpu_seconds >= sum(row.gpu_seconds for row in episodes) > 0
    assert [row.outcome for row in segments] == ["rendered"] * 3
    store = Store(grounds.store)
    assert all(store.find(row.key) for row in segments)
    assert [(row.episode, row.planned, row.rendered) for row in episodes] == [
        ("e1", 2, 2),
        ("e2", 1, 1),
    ]
    again = Told()
    assert endings(rendered(file, again)) == {"e1": "done", "e2": "done"}
    assert again == []


def test_an_edit_of_the_bible_renders_what_the_plan_says(tmp_path):
    file, told = series_in(tmp_path), Told()
    rendered(file)
    file.write_text(SERIES.replace("a blue star", "a white star"))
    plan = plan_series(Grounds(file), NOW)
    planned = [(each.name, name) for each in plan.episodes for name in each.render]
    assert endings(rendered(file, told)) == {"e1": "complete", "e2": "complete"}
    assert made(told) == sorted(planned) == [("e1", "1B/1"), ("e2", "2A/1")]


def test_a_broken_episode_stops_no_other_and_is_rendered_once_repaired(tmp_path):
    file, told = series_in(tmp_path), Told()
    (tmp_path / "e1.yaml").write_text("film: One\nshots: [{do: '@bell rolls'}]\n")
    result = rendered(file)
    assert endings(result) == {"e1": "broken", "e2": "complete"}
    assert result.exit_code == 3
    (tmp_path / "e1.yaml").write_text(EPISODES["e1"])
    assert endings(rendered(file, told)) == {"e1": "complete", "e2": "done"}
    assert made(told) == [("e1", "1A/1"), ("e1", "1B/1")]


def test_what_failed_for_good_is_left_until_it_is_retried(tmp_path):
    fails = SERIES.replace("settings: [", "settings: ['slate.fail={1A/1: 9}', ")
    file = series_in(tmp_path, fails)
    assert endings(rendered(file)) == {"e1": "partial", "e2": "complete"}
    assert endings(rendered(file)) == {"e1": "partial", "e2": "done"}


def test_a_spent_night_ends_between_two_segments_and_the_next_one_goes_on(tmp_path):
    text = SERIES.replace("{cluster", "{budget: {night: {gpu_hours: 1}}, cluster")
    file, told = series_in(tmp_path, text), Told()
    grounds = Grounds(file)
    with Ledger.writing(grounds.ledger) as ledger:
        run = ledger.begin_run("Shapes", "2026-01-10", "USD")
        ledger.spent(run, 3600, None)
        ledger.end_run(run, "complete")
    result = rendered(file, told)
    assert endings(result) == {"e1": "budget", "e2": "budget"}
    assert (result.exit_code, made(told)) == (4, [])
    result = rendered(file, told, now=NOW.replace(day=11))
    assert endings(result) == {"e1": "complete", "e2": "complete"}


def test_a_drained_call_finishes_what_is_rendered_and_the_next_one_the_rest(tmp_path):
    file, told, draining = series_in(tmp_path), Told(), Draining()

    def stop(name: str, event: Event) -> None:
        if isinstance(event, SegmentStarted):
            draining.wish()

    result = rendered(file, told, draining, also=stop)
    assert result.exit_code == 130
    first = made(told)
    assert len(first) == 1
    rest = Told()
    assert rendered(file, rest).outcome == "complete"
    assert sorted([*first, *made(rest)]) == [("e1", "1A/1"), ("e1", "1B/1"), ("e2", "2A/1")]


def test_outside_of_its_window_nothing_is_rendered(tmp_path):
    text = SERIES.replace("{cluster", "{window: {from: 22:00, to: 06:00}, cluster")
    file = series_in(tmp_path, text)
    result = rendered(file, now=NOW.replace(hour=12))
    assert (result.outcome, result.exit_code) == ("closed", 0)
    assert not (tmp_path / "renders").exists()
    assert rendered(file).outcome == "complete"


def test_a_call_while_another_one_renders_ends_at_once(tmp_path):
    file = series_in(tmp_path)
    grounds = Grounds(file)

    async def twice() -> SeriesResult:
        async with claimed_run(Store(grounds.store), grounds.claim):
            return await render_series(grounds, lambda event: None, clock=lambda: NOW)

    result = asyncio.run(twice())
    assert (result.outcome, result.exit_code) == ("busy", 0)
    assert "process" in result.error


def test_segments_that_two_episodes_share_are_rendered_once(tmp_path):
    file, told = series_in(tmp_path), Told()
    (tmp_path / "e2.yaml").write_text(EPISODES["e1"].replace("film: One", "film: Two"))
    assert rendered(file, told).outcome == "complete"
    assert made(told) == [("e1", "1A/1"), ("e1", "1B/1")]


def test_what_a_killed_run_could_not_note_is_found_by_the_next_one(tmp_path):
    file = series_in(tmp_path)
    rendered(file)
    grounds = Grounds(file)
    grounds.ledger.unlink()
    rendered(file)
    with Ledger.reading(grounds.ledger) as ledger:
        found = [(row.episode, row.segment, row.outcome) for row in ledger.segments("Shapes")]
    assert sorted(found) == [
        ("e1", "1A/1", "found"),
        ("e1", "1B/1", "found"),
        ("e2", "2A/1", "found"),
    ]
