"""Six episodes over two nights on a Ray of three nodes, with all that goes wrong at night.

The nights' clock is made up, and so is the time that the first episode takes: whenever a segment of
it is stored, the event loop's clock jumps. So the budget ends in its midst on a machine of any
speed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from campaign.books import Books, faults, read_books
from campaign.nodes import ENVIRONMENT, Nodes
from films import SMALL

from storyflow.events import SegmentDone, SegmentStarted, WorkerLost
from storyflow.series.orders import Grounds
from storyflow.series.plan import plan_series
from storyflow.series.render import Wishes, render_series
from storyflow.series.told import EpisodeTold, SeriesEvent, SeriesResult

pytestmark = pytest.mark.ray

FIRST = datetime(2026, 1, 10, 23, tzinfo=UTC)
SECOND = FIRST + timedelta(days=1)

JUMP = 50.0
"""Seconds that each of the first episode's segments seems to take. Eight in a chain need more than
a night's 200, of which loading and all else takes little."""

SETTINGS = (*SMALL, "windows.trained=49", "windows.floor=33", "slate.delay=0.3")
TITLE = "Six in two nights"
SERIES = f"""\
series: {TITLE}
bible:
  pipeline: slate
  settings: [{", ".join(SETTINGS)}]
  cast: {{ball: a red ball, star: a blue star}}
episodes:
- e1.yaml
- e2.yaml
- e[3-6].yaml
rules:
  cluster: cluster.yaml
  at_once: 2
  budget: {{night: {{gpu_hours: {200 / 3600}}}}}
"""
CLUSTER = """\
address: {address}
price: 36
workers: {{count: 2, idle: 86400}}
# A worker that was silent while the clock jumped is none that hangs.
retries: {{stuck: 10000, silence: 864000}}
"""
EPISODES = {
    "e1": "film: Long\nshots:\n- {id: 1A, dur: 11s, do: '@ball rolls'}\n",
    "e2": "film: Two\nshots:\n- {id: 2A, dur: 1s, do: '@star hops'}\n"
    "- {id: 2B, dur: 2s, do: '@ball and @star meet'}\n",
    "e3": "film: Three\nshots:\n- id: 3A\n  beats:\n  - {dur: 2s, do: '@ball waits'}\n"
    "  - {dur: 2s, do: '@star comes'}\n",
    "e4": "film: Four\nshots:\n- {id: 4A, dur: 1s, do: '@ball sleeps'}\n",
    "e5": "film: Five\nshots:\n- {id: 5A, dur: 1s, do: rain}\n"
    "- {id: 5B, from: prev, dur: 1s, do: '@star in the rain'}\n",
    "e6": "film: Six\nshots:\n- {id: 6A, dur: 1s, do: '@star goes'}\n",
}
BROKEN = EPISODES["e4"].replace("@ball", "@bell")


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock can be put forward. All accounts go by it."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


class Studio:
    """The series in a folder."""

    def __init__(self, folder: Path, cluster: str, **texts: str) -> None:
        folder.mkdir()
        self.file = folder / "series.yaml"
        self.file.write_text(SERIES)
        (folder / "cluster.yaml").write_text(cluster)
        for name, text in {**EPISODES, **texts}.items():
            (folder / f"{name}.yaml").write_text(text)

    def call(
        self,
        now: datetime,
        tell: Callable[[SeriesEvent], None] = lambda event: None,
        jump: float = 0.0,
    ) -> SeriesResult:
        """As cron does."""
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, JumpingLoop)

            def told(event: SeriesEvent) -> None:
                match event:
                    case EpisodeTold("e1", SegmentDone(reused=False)):
                        loop.ahead += jump
                tell(event)

            wishes = Wishes(doctor=False)
            return runner.run(render_series(Grounds(self.file), told, None, lambda: now, wishes))

    @property
    def books(self) -> Books:
        return read_books(Grounds(self.file))

    def films(self) -> dict[str, str]:
        folder = Grounds(self.file).folder
        films = {name: folder / name / "film.mp4" for name in EPISODES}
        return {
            name: hashlib.sha256(film.read_bytes()).hexdigest()
            for name, film in films.items()
            if film.is_file()
        }


def inside(event: SeriesEvent) -> object:
    return event.event if isinstance(event, EpisodeTold) else None


def endings(result: SeriesResult) -> dict[str, str]:
    return {each.name: each.outcome for each in result.episodes}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    pytest.importorskip("ray")
    nodes = Nodes({**ENVIRONMENT, "OMP_NUM_THREADS": "1"})
    yield nodes
    nodes.close()


class Trouble:
    """Kills a worker in the middle of its second segment of the film, and calls again meanwhile."""

    def __init__(self, nodes: Nodes, studio: Studio) -> None:
        self.nodes, self.studio = nodes, studio
        self.started, self.killed = 0, ""
        self.lost: list[str] = []
        self.others: list[SeriesResult] = []
        self.threads: list[threading.Thread] = []

    def __call__(self, event: SeriesEvent) -> None:
        match inside(event):
            case SegmentStarted(segment=segment, worker=worker):
                self.started += 1
                if self.started == 2:
                    self.kill(worker)
                    self.killed = segment
            case SegmentDone():
                self.call_again()
            case WorkerLost(segment=str(segment)):
                self.lost.append(segment)

    def kill(self, worker: str) -> None:
        (pid,) = (a["Pid"] for a in self.nodes.actors() if f"/{worker}-" in a["Name"])
        os.kill(pid, signal.SIGKILL)

    def call_again(self) -> None:
        if not self.threads:
            again = threading.Thread(target=lambda: self.others.append(self.studio.call(FIRST)))
            again.start()
            self.threads.append(again)

    def over(self) -> None:
        for thread in self.threads:
            thread.join()


def test_two_nights_full_of_trouble_make_the_films_of_an_undisturbed_one(
    tmp_path: Path, nodes: Nodes
) -> None:
    quiet = Studio(tmp_path / "quiet", "address: in-process\n")
    assert quiet.call(FIRST).outcome == "complete"
    where = CLUSTER.format(address=nodes.address)
    studio = Studio(tmp_path / "studio", where, e4=BROKEN)
    expected = plan_series(Grounds(studio.file), FIRST).render

    trouble = Trouble(nodes, studio)
    night = studio.call(FIRST, trouble, JUMP)
    trouble.over()
    assert (night.outcome, night.exit_code) == ("budget", 4)
    stood = endings(night)
    assert stood["e1"] == "budget" and stood["e4"] == "broken"
    assert trouble.lost == [trouble.killed]
    assert [(other.outcome, other.exit_code) for other in trouble.others] == [("busy", 0)]
    begun = studio.books.of_night(str(FIRST.date()))
    done = [row.segment for row in begun.segments if row.episode == "e1"]
    assert 0 < len(done) < 8, "the budget ended in the middle of an episode"
    later = studio.call(FIRST + timedelta(hours=1), jump=JUMP)
    assert (later.outcome, later.exit_code) == ("budget", 4)
    assert studio.books.of_night(str(FIRST.date())).segments == begun.segments

    (studio.file.parent / "e4.yaml").write_text(EPISODES["e4"])
    night = studio.call(SECOND)
    assert (night.outcome, night.exit_code) == ("complete", 0)
    assert set(endings(night).values()) <= {"complete", "done"}
    books = studio.books
    assert len(books.of_night(str(SECOND.date())).segments) == expected + 1 - len(begun.segments)
    last = studio.call(SECOND + timedelta(hours=1))
    assert set(endings(last).values()) == {"done"} and studio.books == books

    assert studio.films() == quiet.films()
    assert len(studio.films()) == 6
    assert list(faults(Grounds(studio.file), books)) == []
    for when, outcomes in ((FIRST, {"e1": "budget"}), (SECOND, {"e1": "complete"})):
        page = Grounds(studio.file).folder / "dailies" / f"{when.date()}.html"
        assert page.is_file(), page.parent
        told = json.loads(page.with_suffix(".json").read_text())
        stood = {each["name"]: each["outcome"] for each in told["episodes"]}
        assert outcomes.items() <= stood.items()
        own = books.of_night(str(when.date()))
        assert told["bill"]["rendered"] == len(own.segments)
        assert told["bill"]["gpu_seconds"] == pytest.approx(sum(r.gpu_seconds for r in own.runs))
        broken = [failure["episode"] for failure in told["failures"]]
        assert broken == (["e4"] if when == FIRST else [])
