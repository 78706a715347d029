"""What goes wrong with a series ends what it must and nothing else, and the ledger stays true."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_film_prompts import MODEL, talks
from test_prompts_faithful import Desk
from test_series_plan import EPISODES, SERIES, series_in

import storyflow.series.call
from storyflow.budget import Budget
from storyflow.cluster import Cluster
from storyflow.doctor import Diagnosis, Finding
from storyflow.errors import FarmError, InputError, LedgerError, ModelError
from storyflow.events import SegmentDone, SegmentStarted
from storyflow.farm.address import open_farm
from storyflow.farm.held import Held
from storyflow.farm.pools import Farm
from storyflow.pipeline import Profile
from storyflow.poison import FAILED, Poison
from storyflow.prompts.model import LanguageModel
from storyflow.serial import retry_series, series_status
from storyflow.series.ledger import EpisodeRow, Ledger, RunRow, SegmentRow
from storyflow.series.orders import Grounds
from storyflow.series.render import ALL, Wishes, render_series
from storyflow.series.told import (
    EpisodeBegan,
    EpisodeEnded,
    EpisodeTold,
    SeriesBegan,
    SeriesEnded,
    SeriesEvent,
    SeriesNotice,
    SeriesResult,
)
from storyflow.store.store import Store

NOW = datetime(2026, 1, 10, 23, tzinfo=UTC)
NEXT = NOW + timedelta(days=1)
WIDE = "- {file: e2.yaml, settings: [frame=128x64]}"
"""An entry of another profile."""


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock, by which all accounts go, can be put forward."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead

    def jump(self, seconds: float) -> None:
        self.ahead += seconds


class Stage:
    """A series in a folder, and what its calls tell."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.told: list[SeriesEvent] = []

    def call(
        self,
        now: datetime = NOW,
        wishes: Wishes = ALL,
        seconds: float = 0.0,
    ) -> SeriesResult:
        """Render as if it were `now`, and as if each segment took so many seconds."""
        self.told = []
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, JumpingLoop)

            def tell(event: SeriesEvent) -> None:
                self.told.append(event)
                if isinstance(event, EpisodeTold) and isinstance(event.event, SegmentStarted):
                    # Not at once: the segment's time begins when this has been told.
                    loop.call_soon(loop.jump, seconds)

            grounds = Grounds(self.file)
            return runner.run(render_series(grounds, tell, None, lambda: now, wishes))

    @property
    def rendered(self) -> list[tuple[str, str]]:
        """Segments that the last call rendered, with their episodes."""
        inner = [(e.episode, e.event) for e in self.told if isinstance(e, EpisodeTold)]
        done = [(name, e) for name, e in inner if isinstance(e, SegmentDone) and not e.reused]
        return sorted((name, event.segment) for name, event in done)

    @property
    def last(self) -> SeriesResult:
        """What was told of the last call's end."""
        (ended,) = (event for event in self.told if isinstance(event, SeriesEnded))
        return ended.result

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        with Ledger.reading(Grounds(self.file).ledger) as ledger:
            yield ledger

    @property
    def runs(self) -> list[RunRow]:
        with self.ledger() as ledger:
            return list(ledger.runs("Shapes"))

    @property
    def episodes(self) -> list[EpisodeRow]:
        with self.ledger() as ledger:
            return list(ledger.episodes("Shapes"))

    @property
    def segments(self) -> list[SegmentRow]:
        with self.ledger() as ledger:
            return list(ledger.segments("Shapes"))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(series_in(tmp_path))


def endings(result: SeriesResult) -> dict[str, str]:
    return {each.name: each.outcome for each in result.episodes}


FROZEN = """\
import asyncio, signal, sys
from datetime import datetime
from storyflow.events import SegmentDone
from storyflow.series.orders import Grounds
from storyflow.series.render import render_series
from storyflow.series.told import EpisodeTold

def tell(event):
    if isinstance(event, EpisodeTold) and isinstance(event.event, SegmentDone):
        print("rendered", flush=True)
        signal.pause()

now = datetime.fromisoformat(sys.argv[2])
asyncio.run(render_series(Grounds(sys.argv[1]), tell, clock=lambda: now))
"""


def test_a_call_beside_another_ends_at_once_and_a_killed_one_is_taken_over(stage):
    other = subprocess.Popen(
        [sys.executable, "-c", FROZEN, str(stage.file), NOW.isoformat()], stdout=subprocess.PIPE
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"rendered\n"
        busy = stage.call()
        assert (busy.outcome, busy.exit_code) == ("busy", 0)
        assert busy.error.startswith("this series is being rendered into")
        assert f"process {other.pid}" in busy.error
        assert [type(event) for event in stage.told] == [SeriesEnded]
        status = series_status(stage.file)
        assert status.at_work is not None and f"process {other.pid}" in status.at_work.who
        assert status.at_work.since and not status.lost
        assert "running" in {each.state for each in status.episodes}
    finally:
        other.kill()
        other.wait()
        assert other.stdout is not None
        other.stdout.close()
    (noted,) = stage.segments
    status = series_status(stage.file)
    assert (status.at_work, status.lost) == (None, True)
    assert stage.call().outcome == "complete"
    assert [run.outcome for run in stage.runs] == ["lost", "complete"]
    lost = [row for row in stage.episodes if row.run == 1 and row.episode == noted.episode]
    assert [(row.outcome, row.rendered) for row in lost] == [("lost", 1)]
    assert lost[0].gpu_seconds == pytest.approx(noted.seconds)
    # Nothing twice: also what was stored after the last note, or not at all.
    assert (noted.episode, noted.segment) not in stage.rendered
    every = sorted((row.episode, row.segment) for row in stage.segments)
    assert every == [("e1", "1A/1"), ("e1", "1B/1"), ("e2", "2A/1")]


BROKEN: dict[str, tuple[str, bytes]] = {
    "no such file": ("gone.yaml", b""),
    "a folder": ("folder.yaml", b""),
    "not UTF-8": ("bytes.yaml", b"film: \xff\xfe\n"),
    "no YAML": ("odd.yaml", b"film: [\n"),
    "nothing in it": ("empty.yaml", b""),
    "deeply nested": ("deep.yaml", b"[" * 5000),
    "within itself": ("alias.yaml", b"film: &a [*a]\n"),
    "no such profile": ("{file: p.yaml, pipeline: no.yaml}", b"film: P\nshots: [a dot]\n"),
    "a wrong setting": ("{file: s.yaml, settings: [frame=7]}", b"film: S\nshots: [a dot]\n"),
    "no such model": (
        "{file: m.yaml, pipeline: toybox, settings: [model.id=/no/model]}",
        b"film: M\nshots: [a dot]\n",
    ),
}


def test_whatever_is_wrong_with_an_episode_the_others_are_rendered(tmp_path):
    entries = "".join(f"- {entry}\n" for entry, _ in BROKEN.values())
    listed = f"episodes:\n- e1.yaml\n{entries}- e2.yaml"
    stage = Stage(series_in(tmp_path, SERIES.replace("episodes: [e*.yaml]", listed)))
    (tmp_path / "folder.yaml").mkdir()
    for entry, data in BROKEN.values():
        name = entry.removeprefix("{file: ").split(",")[0]
        if name not in ("gone.yaml", "folder.yaml"):
            (tmp_path / name).write_bytes(data)
    result = stage.call()
    first, *broken, last = result.episodes
    assert (first.outcome, last.outcome, result.exit_code) == ("complete", "complete", 3)
    for how, each in zip(BROKEN, broken, strict=True):
        assert (each.outcome, bool(each.error)) == ("broken", True), how
        assert "Error" not in each.error, f"{how} is told as nobody foresaw it: {each.error}"


def test_a_broken_episode_is_noted_once_in_a_night(stage):
    (stage.file.parent / "e1.yaml").write_text("film: One\nshots: [{do: '@bell rolls'}]\n")
    stage.call()
    first = [event.result.name for event in stage.told if isinstance(event, EpisodeEnded)]
    assert sorted(first) == ["e1", "e2"]
    again = stage.call()
    assert (endings(again), again.run) == ({"e1": "broken", "e2": "done"}, 0)
    assert not any(isinstance(e, SeriesBegan | EpisodeEnded) for e in stage.told)
    assert len(stage.runs) == 1
    stage.call(NEXT)
    assert [run.outcome for run in stage.runs] == ["broken", "broken"]
    assert [type(e) for e in stage.told] == [EpisodeEnded, SeriesEnded]


def test_a_farm_that_one_profile_cant_have_ends_only_its_episodes(stage, monkeypatch):
    stage.file.write_text(SERIES.replace("episodes: [e*.yaml]", f"episodes:\n- e1.yaml\n{WIDE}"))

    @asynccontextmanager
    async def choosy(
        profile: Profile, cluster: Cluster, store: Store, title: str
    ) -> AsyncIterator[Farm]:
        if "128" in str(profile.frame):
            raise FarmError("there is no such card", cure="buy one")
        async with open_farm(profile, cluster, store, title=title) as farm:
            yield farm

    monkeypatch.setattr(storyflow.series.call, "open_farm", choosy)
    result = stage.call()
    assert endings(result) == {"e1": "complete", "e2": "failed"}
    assert result.episodes[1].error == "there is no such card; buy one"
    assert (result.outcome, result.exit_code) == ("failed", 5)
    monkeypatch.undo()
    assert endings(stage.call()) == {"e1": "done", "e2": "complete"}


def diagnosis(error: bool) -> Diagnosis:
    findings = [Finding("warning", "disk", "little room")]
    if error:
        findings = [Finding("error", "store", "can't write", "gpu-7", cure="mount it"), *findings]
    return Diagnosis("auto", "slate", "store", (), tuple(findings))


@pytest.mark.parametrize("sick", [(False, False), (False, True), (True, True)])
def test_the_doctor_stops_what_the_machines_cant_render(stage, monkeypatch, sick):
    stage.file.write_text(SERIES.replace("episodes: [e*.yaml]", f"episodes:\n- e1.yaml\n{WIDE}"))
    asked: list[int] = []

    def examine(cluster: Cluster, store: str, profiles: list[Profile]) -> tuple[Diagnosis, ...]:
        asked.append(len(profiles))
        return tuple(diagnosis(each) for each in sick)

    monkeypatch.setattr("storyflow.doctor.beforehand.examine_before", examine)
    if all(sick):
        with pytest.raises(FarmError, match=r"gpu-7: can't write.*mount it"):
            stage.call()
        result = stage.last
        assert [run.outcome for run in stage.runs] == ["failed"]
        assert "mount it" in stage.runs[0].error
    else:
        result = stage.call()
    notices = [event.text for event in stage.told if isinstance(event, SeriesNotice)]
    assert len(notices) == 1 and "little room" in notices[0]
    expected = ["failed" if each else "complete" for each in sick]
    assert list(endings(result).values()) == expected
    assert [row.outcome for row in stage.episodes] == expected
    assert asked == [2]
    # Nobody is asked when that isn't wished, or when there is nothing to render.
    assert stage.call(wishes=replace(ALL, doctor=False)).outcome == "complete"
    assert stage.call().outcome == "complete"
    assert asked == [2]


@pytest.fixture
def worded(tmp_path: Path) -> Stage:
    """A series of three short films whose words a model writes."""
    settings = ", ".join(f"'{each}'" for each in (*MODEL, "deliver.report=false"))
    head, _, rest = SERIES.replace("pipeline: slate", "pipeline: toybox").partition("  settings:")
    text = f"{head}  settings: [{settings}]\n{rest[rest.index('  cast:') :]}"
    stage = Stage(series_in(tmp_path, text))
    for name in ("e1", "e2", "e3"):
        shot = f"{{id: {name[1]}A, dur: 8f, do: '@ball rolls {name}'}}"
        (tmp_path / f"{name}.yaml").write_text(f"film: {name}\nshots:\n- {shot}\n")
    return stage


class Counted(Desk):
    """A desk that counts how often a model is started."""

    starts = 0

    def __init__(self, held: Held) -> None:
        super().__init__(talks)
        self.held = held

    @contextmanager
    def language(self) -> Iterator[LanguageModel]:
        Counted.starts += 1
        with self.held.during(1), super().language() as model:
            yield model


class Missing(Counted):
    """A desk without a model."""

    @contextmanager
    def language(self) -> Iterator[LanguageModel]:
        Counted.starts += 1
        raise ModelError("no weights in this folder")
        yield


def desk(monkeypatch: pytest.MonkeyPatch, kind: type[Counted]) -> None:
    """Have words written there."""
    monkeypatch.setattr(Counted, "starts", 0)
    monkeypatch.setattr(
        "storyflow.farm.language.ProfileWriters",
        lambda prompts, cluster, notify, check, held: kind(held),
    )


def test_one_engine_writes_the_words_of_all_episodes(worded, monkeypatch):
    desk(monkeypatch, Counted)
    result = worded.call()
    assert endings(result) == {"e1": "complete", "e2": "complete", "e3": "complete"}
    assert Counted.starts == 1
    assert all(row.prompt_seconds > 0 for row in worded.episodes)
    used = sum(row.gpu_seconds + row.prompt_seconds for row in worded.episodes)
    assert worded.runs[0].gpu_seconds >= used - 1e-6
    # What was refused is asked for again, by all with one engine.
    worded.call()
    assert Counted.starts == 2


def test_an_engine_that_cant_be_loaded_is_not_tried_for_each_episode(worded, monkeypatch):
    desk(monkeypatch, Missing)
    result = worded.call()
    assert endings(result) == {"e1": "broken", "e2": "broken", "e3": "broken"}
    assert {each.error for each in result.episodes} == {"no weights in this folder"}
    assert Counted.starts == 1


def test_episodes_that_share_segments_and_not_a_profile_dont_wait_for_each_other(stage):
    entry = "- {file: e2.yaml, priority: 2, settings: [deliver.crf=30]}"
    stage.file.write_text(SERIES.replace("episodes: [e*.yaml]", f"episodes:\n- e1.yaml\n{entry}"))
    (stage.file.parent / "e2.yaml").write_text(EPISODES["e1"].replace("One", "Two"))
    assert stage.call().outcome == "complete"
    assert stage.rendered == [("e2", "1A/1"), ("e2", "1B/1")]


@pytest.mark.parametrize("limited", ["night", "call"])
def test_a_budget_ends_an_episode_between_two_segments(stage, limited):
    wishes = ALL
    if limited == "night":
        rules = "{budget: {night: {gpu_hours: 0.0125}}, cluster"
        stage.file.write_text(SERIES.replace("{cluster", rules))
    else:
        wishes = Wishes(limit=Budget(gpu_hours=0.0125))
    stage.file.write_text(stage.file.read_text().replace("rules: {", "rules: {at_once: 1, "))
    result = stage.call(wishes=wishes, seconds=50)
    assert (result.exit_code, endings(result)) == (4, {"e1": "budget", "e2": "budget"})
    first = stage.rendered
    assert len(first) == 1
    begun = [event.episode for event in stage.told if isinstance(event, EpisodeBegan)]
    assert begun == ["e1"]
    e1 = stage.episodes[0]
    assert (e1.outcome, e1.rendered, e1.planned) == ("budget", 1, 2)
    assert e1.gpu_seconds >= stage.segments[0].seconds
    later = "the next night" if limited == "night" else "a later call"
    assert f"{later} goes on from here" in e1.error
    if limited == "night":
        # The same night has nothing left, however often it is called.
        again = stage.call(wishes=wishes)
        assert (again.exit_code, stage.rendered) == (4, [])
    assert stage.call(NEXT).outcome == "complete"
    assert sorted([*first, *stage.rendered]) == [("e1", "1A/1"), ("e1", "1B/1"), ("e2", "2A/1")]


def test_a_spent_night_still_cuts(stage):
    assert stage.call().outcome == "complete"
    rules = "{budget: {night: {gpu_hours: 1.0e-9}}, cluster"
    stage.file.write_text(SERIES.replace("{cluster", rules))
    (Grounds(stage.file).folder / "e1/film.mp4").unlink()
    assert endings(stage.call()) == {"e1": "complete", "e2": "done"}


@pytest.mark.parametrize(("rule", "tonight"), [("leave", "partial"), ("retry", "partial")])
def test_what_failed_for_good_waits_as_the_rules_say(tmp_path, rule, tonight):
    fails = SERIES.replace("settings: [", "settings: ['slate.fail={1A/1: -1}', ")
    stage = Stage(series_in(tmp_path, fails.replace("{cluster", f"{{on_failure: {rule}, cluster")))
    assert endings(stage.call()) == {"e1": "partial", "e2": "complete"}
    (failed,) = Poison(Grounds(stage.file).folder / "e1" / FAILED).all
    stage.file.write_text(stage.file.read_text().replace("'slate.fail={1A/1: -1}', ", ""))
    # The script is no part of a key, so the same segment would succeed now.
    assert endings(stage.call())["e1"] == tonight
    assert stage.call(NEXT).outcome == ("partial" if rule == "leave" else "complete")
    if rule == "leave":
        (again,) = retry_series(stage.file, ["E1"])
        assert (again.episode, again.failed) == ("e1", failed)
        assert stage.call(wishes=Wishes(only=["e1"])).outcome == "complete"
        assert list(endings(stage.last)) == ["e1"]


def test_a_call_for_some_episodes_leaves_the_nights_retry_to_the_others(tmp_path):
    fails = SERIES.replace("settings: [", "settings: ['slate.fail={1A/1: -1}', ")
    stage = Stage(series_in(tmp_path, fails.replace("{cluster", "{on_failure: retry, cluster")))
    assert endings(stage.call()) == {"e1": "partial", "e2": "complete"}
    stage.file.write_text(stage.file.read_text().replace("'slate.fail={1A/1: -1}', ", ""))
    stage.file.write_text(stage.file.read_text().replace("a blue star", "a white star"))
    assert endings(stage.call(NEXT, Wishes(only=["e2"]))) == {"e2": "complete"}
    assert endings(stage.call(NEXT)) == {"e1": "complete", "e2": "done"}


def test_an_unknown_episode_is_refused(stage):
    with pytest.raises(InputError, match="did you mean 'e1'"):
        stage.call(wishes=Wishes(only=["e1x"]))
    assert stage.last.outcome == "failed"


def test_a_ledger_that_cant_be_written_ends_the_call_and_lets_go_of_the_series(stage, monkeypatch):
    def full(self: Ledger, row: SegmentRow) -> None:
        raise LedgerError("can't use the ledger (disk full)")

    monkeypatch.setattr(Ledger, "write_segment", full)
    with pytest.raises(LedgerError, match="disk full"):
        stage.call()
    assert (stage.last.outcome, stage.last.exit_code) == ("failed", 5)
    assert all(each.outcome in ("failed", "complete") for each in stage.last.episodes)
    assert [run.outcome for run in stage.runs] == ["failed"]
    monkeypatch.undo()
    assert stage.call().outcome == "complete"
    # What was stored and could not be noted is found.
    assert {row.outcome for row in stage.segments} >= {"found"}


def test_a_cancelled_call_says_so_of_every_episode(stage):
    async def cancelled() -> None:
        task = asyncio.current_task()
        assert task is not None

        def tell(event: SeriesEvent) -> None:
            stage.told.append(event)
            if isinstance(event, EpisodeBegan):
                task.cancel()

        await render_series(Grounds(stage.file), tell, None, lambda: NOW)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert endings(stage.last) == {"e1": "stopped", "e2": "stopped"}
    assert [row.outcome for row in stage.episodes] == ["stopped", "stopped"]
    assert [run.outcome for run in stage.runs] == ["stopped"]
    assert stage.call().outcome == "complete"


def test_a_film_that_somebody_else_renders_is_that_episodes_matter(stage):
    from storyflow.claim import claimed

    with claimed(Grounds(stage.file).folder / "e1"):
        pid = os.getpid()
        result = stage.call()
    assert endings(result) == {"e1": "failed", "e2": "complete"}
    assert f"another run (process {pid}" in result.episodes[0].error


def test_a_window_that_closes_lets_what_runs_finish(stage):
    text = SERIES.replace("{cluster", "{at_once: 1, window: {from: 22:00, to: 06:00}, cluster")
    stage.file.write_text(text)
    moment = NOW
    first = True

    def clock() -> datetime:
        return moment

    # The window closes at the moment at which the work begins: its timer fires at once.
    def at_the_end() -> datetime:
        nonlocal first
        now = NOW if first else datetime(2026, 1, 11, 5, 59, 59, 999999, tzinfo=UTC)
        first = False
        return now

    told: list[SeriesEvent] = []
    result = asyncio.run(render_series(Grounds(stage.file), told.append, None, at_the_end))
    assert (result.outcome, result.exit_code) == ("window", 4)
    assert set(endings(result).values()) <= {"window", "complete"}
    assert asyncio.run(render_series(Grounds(stage.file), told.append, None, clock)).exit_code == 0


def test_figures_tell_films_from_the_workers_that_they_share(stage):
    folder = stage.file.parent / "metrics"
    (stage.file.parent / "cluster.yaml").write_text(
        f"address: in-process\nmetrics: {{folder: {folder}}}\n"
    )
    stage.call()
    text = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(text) == {
        "storyflow-shapes.prom", "storyflow-shapes-e1.prom", "storyflow-shapes-e2.prom"
    }  # fmt: skip
    done = 'storyflow_segments{film="%s",state="done"} %s'
    assert done % ("Shapes: e1", "2.0") in text["storyflow-shapes-e1.prom"]
    assert done % ("Shapes", "0.0") in text["storyflow-shapes.prom"]
    assert "storyflow_store_bytes{" in text["storyflow-shapes.prom"]
    assert "storyflow_store_bytes{" not in text["storyflow-shapes-e1.prom"]
    assert (
        'storyflow_segment_seconds_count{film="Shapes: e1"} 2.0' in text["storyflow-shapes-e1.prom"]
    )
    assert "segment_seconds_count{" not in text["storyflow-shapes.prom"]
