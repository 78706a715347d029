"""The commands that render a series and say how it stands, and the same from Python."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from pathlib import Path

import pytest
from rich.console import Console
from test_series_plan import SERIES, series_in
from typer.testing import CliRunner, Result

import storyflow
from storyflow.claim import claimed_run
from storyflow.cli import app
from storyflow.errors import BudgetError, FarmError, InputError
from storyflow.events import Notice, Step, WorkerLost, WorkerReady
from storyflow.series.orders import Grounds
from storyflow.series.told import EpisodeBegan, EpisodeTold, SeriesBegan, SeriesEnded, SeriesEvent
from storyflow.series.watching import View, watch
from storyflow.store.store import Store


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["series", *(str(word) for word in words)])


def held(file: Path, *words: str | Path) -> Result:
    """A command while another call holds the series."""
    grounds, begun, over = Grounds(file), threading.Event(), threading.Event()

    async def hold() -> None:
        async with claimed_run(Store(grounds.store), grounds.claim):
            begun.set()
            await asyncio.to_thread(over.wait)

    # Commands handle signals, which only the main thread can.
    other = threading.Thread(target=lambda: asyncio.run(hold()))
    other.start()
    try:
        assert begun.wait(60)
        return call(*words)
    finally:
        over.set()
        other.join()


FAILS = SERIES.replace("settings: [", "settings: ['slate.fail={1A/1: -1}', ")


def test_a_series_is_rendered_looked_at_and_tried_again(tmp_path):
    file = series_in(tmp_path, FAILS)
    (tmp_path / "e3.yaml").write_text("film: Three\nshots: [{do: '@bell rolls'}]\n")
    told = call("render", file)
    assert told.exit_code == 3
    lines = told.stdout.splitlines()
    assert lines[0].startswith("Shapes, night of ")
    assert lines[0].endswith("2 episodes to finish, 3 segments to render")
    assert sum("worker-1 ready" in line for line in lines) == 1
    assert any(line.startswith("e2: render 2A/1 on worker-1") for line in lines)
    assert any("3 episodes: 1 broken, 1 complete, 1 partial" in line for line in lines)
    assert lines[-1].endswith(f"is tried again by: storyflow series retry {file}")

    status = json.loads(call("status", file, "--json").stdout)
    states = {each["name"]: each["state"] for each in status["episodes"]}
    assert states == {"e1": "partial", "e2": "done", "e3": "broken"}
    assert [each["stored"] for each in status["episodes"]] == [1, 1, 0]
    assert status["at_work"] is None and status["used"] > 0
    shown = call("status", file)
    assert shown.exit_code == 0
    assert "nobody renders" in shown.stdout and "did you mean 'ball'?" in shown.stdout

    # What is tried again still fails as long as its script says so.
    told = call("retry", file, "e1")
    assert told.exit_code == 3
    assert told.stdout.startswith("e1 1A/1 (key ")
    assert "1 episode: 1 partial" in told.stdout
    file.write_text(SERIES)
    assert call("render", file, "e1").exit_code == 3
    told = call("retry", file, "e1")
    assert (told.exit_code, "e1: complete" in told.stdout) == (0, True)


def test_a_render_that_has_nothing_to_do_or_may_not_says_so_in_a_line(tmp_path):
    file = series_in(tmp_path)
    beside = held(file, "render", file)
    assert beside.exit_code == 0
    assert beside.stdout.count("\n") == 1 and "this series is being rendered" in beside.stdout
    assert "is planning" in held(file, "status", file).stdout
    assert call("render", file).exit_code == 0
    assert call("render", file).stdout.startswith("2 episodes: 2 done (0 GPU-hours")


def test_how_a_render_ended_is_data_for_programs(tmp_path):
    file = series_in(tmp_path)
    told = call("render", file, "--json")
    data = json.loads(told.stdout)
    assert (data["outcome"], data["exit_code"], data["run"]) == ("complete", 0, 1)
    assert [each["rendered"] for each in data["episodes"]] == [2, 1]
    assert data["episodes"][0]["film"].endswith("renders/series/e1/film.mp4")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nobody"], InputError),
        (["--max-cost", "-1"], InputError),
        (["--cluster", "no"], InputError),
    ],
)
def test_what_cant_be_meant_is_refused(tmp_path, words, code):
    file = series_in(tmp_path)
    told = call("render", file, *words)
    assert isinstance(told.exception, code)
    assert not (tmp_path / "renders").exists()


def test_a_running_ray_is_examined_unless_one_says_otherwise(tmp_path, monkeypatch):
    file = series_in(tmp_path)

    def refuse(*_: object) -> None:
        raise FarmError("examined")

    monkeypatch.setattr("storyflow.doctor.beforehand.examine_before", refuse)
    assert isinstance(call("render", file).exception, FarmError)
    assert call("render", file, "--no-doctor").exit_code == 0


def test_a_terminal_has_a_line_for_each_episode_at_work_and_one_for_all(tmp_path):
    file = series_in(tmp_path)
    run = storyflow.start_series(file)
    view = View(Console(file=io.StringIO(), force_terminal=True, width=100))
    most: set[str] = set()
    for event in run.events():
        view.show(event)
        most.update(task.description.strip() for task in view.progress.tasks)
    assert most == {"series", "e1", "e2"}
    (total,) = view.progress.tasks
    assert (total.description, total.completed, total.total) == ("series", 3, 3)
    # Workers are shared: what happens to one is said once.
    again: list[SeriesEvent] = [
        EpisodeTold(name, event)
        for event in (WorkerReady("w", "cpu"), WorkerLost("w", None, "died"))
        for name in ("e1", "e2")
    ]
    screen = io.StringIO()
    watch([*again, EpisodeTold("e1", Notice("[look]"))], Console(file=screen, width=100))
    assert screen.getvalue() == "e1: w ready (cpu)\ne1: w lost: died\ne1: [look]\n"


def test_a_run_tells_its_events_to_whoever_comes_and_ends_with_the_result(tmp_path):
    run = storyflow.start_series(series_in(tmp_path))
    events = list(run.events())
    result = run.result()
    assert isinstance(events[0], SeriesBegan) and events[-1] == SeriesEnded(result)
    assert (result.outcome, len(events)) == ("complete", len(set(map(id, events))))
    late = [e for e in run.events() if not isinstance(e, EpisodeTold)]
    assert late == [e for e in events if not isinstance(e, EpisodeTold)]
    assert not any(isinstance(e, EpisodeTold) and isinstance(e.event, Step) for e in run.events())


def test_a_run_is_drained_and_cancelled_and_goes_on_later(tmp_path):
    file = series_in(tmp_path)
    run = storyflow.start_series(file)
    for event in run.events():
        if isinstance(event, EpisodeBegan):
            run.drain()
    assert run.result().exit_code == 130
    run = storyflow.start_series(file)
    for event in run.events():
        if isinstance(event, EpisodeBegan):
            run.cancel()
    assert run.result().outcome == "stopped"
    assert storyflow.render_series(file).outcome == "complete"


def test_a_call_may_be_given_less_than_the_night_has(tmp_path):
    file = series_in(tmp_path)
    result = storyflow.render_series(file, max_gpu_hours=0)
    assert (result.outcome, result.exit_code) == ("budget", 4)
    assert "budget" in result.episodes[0].error
    with pytest.raises(BudgetError):
        storyflow.render(tmp_path / "e1.yaml", series=file, max_gpu_hours=0)
    result = storyflow.render_series(file, max_cost=100, episodes=["e2"])
    assert [(each.name, each.outcome) for each in result.episodes] == [("e2", "complete")]
    made = storyflow.series_history(file, "segments")
    assert list(made.segment) == ["2A/1"]
