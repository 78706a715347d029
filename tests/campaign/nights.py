"""A series over two nights, with the real command: `python -m tests.campaign.nights --work DIR`.

Six short episodes of the toybox on a Ray of three nodes on this machine. In the first night the
budget ends in the middle of an episode, a worker is killed, a storyboard is broken, and calls
overlap as cron's do; in the second the storyboard is mended and all is finished. Night falls by
moving the series to another time zone. Judged: every film is equal in bytes to one of an
undisturbed series in one process; nothing is rendered twice; ledger, store, films and dailies
agree. Exit code 0 if all of it holds, 1 otherwise. The dailies stay in DIR.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from storyflow.series.orders import Grounds

from .books import Books, faults, read_books
from .nodes import ENVIRONMENT, Nodes
from .processes import kill, waiting
from .runs import Order, Program
from .stage import ROOT

SERIES = """\
series: Two nights
bible:
  pipeline: toybox
  settings: [forcing.steps={steps}, windows.floor=21]
  avoid: text, watermark
  defaults: {{move: static, size: MS}}
  cast:
    lamp: a yellow star
    friend: a small teal circle
    sun: an orange circle
  places:
    shore: the sea
    roofs: the city
    slope: a snowy hill
episodes:
- {{file: e1.yaml, priority: 2}}
- e[2-6].yaml
rules:
  cluster: cluster.yaml
  at_once: 2
  zone: {zone}
  budget: {{night: {{gpu_hours: {hours}}}}}
"""
EPISODES = {
    "e1": """\
film: The Lamp Comes
shots:
- id: 1A
  place: shore
  light: dusk
  beats:
  - {dur: 1.5s, do: '@lamp rises'}
  - {dur: 1.5s, do: '@lamp grows'}
  - {dur: 1.5s, do: '@lamp rests'}
  - {dur: 1.5s, do: '@lamp shrinks'}
""",
    "e2": """\
film: A Friend on the Roofs
shots:
- {id: 2A, place: roofs, light: night, dur: 1.5s, do: '@friend bounces up and down'}
- {id: 2B, from: prev, place: roofs, light: night, dur: 1s, do: '@friend rests'}
""",
    "e3": """\
film: Home over the Snow
shots:
- {id: 3A, place: slope, light: day, move: pan right, dur: 1.5s, do: '@lamp moves right'}
""",
    "e4": """\
film: Two by the Sea
shots:
- {id: 4A, place: shore, light: day, dur: 1.5s, do: '@sun rises'}
- {id: 4B, place: shore, light: night, dur: 1.5s, do: '@friend moves left'}
""",
    "e5": """\
film: The Sun Goes Down
shots:
- id: 5A
  place: slope
  light: dusk
  beats:
  - {dur: 1.5s, do: '@sun sinks'}
  - {dur: 1.5s, do: '@sun shrinks'}
""",
    "e6": """\
film: Good Night
shots:
- {id: 6A, place: roofs, light: dusk, dur: 1.5s, do: '@sun sinks'}
- {id: 6B, place: roofs, light: night, dur: 1.5s, do: '@lamp grows'}
""",
}
BROKEN = EPISODES["e4"].replace("@sun", "@son")
BUDGET = 0.6
"""What the first night may use, of what the undisturbed series did; two workers load twice."""


def zones(now: datetime) -> tuple[str, str]:
    """Two time zones: in the first it is before noon, in the second afternoon of the same day.

    A series without a window has its nights from noon to noon, so they are two nights.
    """
    morning = max(-12, 8 - now.hour)
    return _zone(morning), _zone(morning + 6)


def _zone(ahead: int) -> str:
    # Their names count the hours behind UTC.
    return f"Etc/GMT{-ahead:+d}"


class Studio:
    """The series in a folder, and the command that renders it."""

    def __init__(self, folder: Path, cluster: str, steps: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder, self.steps, self.calls = folder, steps, 0
        self.file = folder / "series.yaml"
        (folder / "cluster.yaml").write_text(cluster)
        for name, text in EPISODES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        """An episode's storyboard."""
        (self.folder / f"{name}.yaml").write_text(text)

    def rule(self, zone: str, seconds: float) -> None:
        """Where it is, and what a night may use, in GPU-seconds."""
        self.file.write_text(
            SERIES.format(steps=self.steps, zone=zone, hours=round(seconds / 3600, 6))
        )

    def start(self) -> Program:
        """`storyflow series render`; its words go to call-1.log, ..."""
        self.calls += 1
        words = ("series", "render", str(self.file))
        environment = {**os.environ, **plain(), "XDG_CACHE_HOME": str(self.folder / "cache")}
        return Program(Order(words, self.folder, self.log, environment))

    @property
    def log(self) -> Path:
        """Of the last call."""
        return self.folder / f"call-{self.calls}.log"

    @property
    def books(self) -> Books:
        """What its ledger has."""
        return read_books(Grounds(self.file))

    def films(self) -> dict[str, str]:
        """The sha256 of every film."""
        folder = Grounds(self.file).folder
        films = ((name, folder / name / "film.mp4") for name in EPISODES)
        return {n: hashlib.sha256(f.read_bytes()).hexdigest() for n, f in films if f.is_file()}

    def dailies(self) -> tuple[Path, ...]:
        """Their pages, the oldest first."""
        return tuple(sorted((Grounds(self.file).folder / "dailies").glob("*.html")))


def plain() -> dict[str, str]:
    """What every process finds in its environment besides this one's."""
    return {**ENVIRONMENT, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class Campaign:
    """Both nights; what should not be gathers in `wrong`."""

    def __init__(self, work: Path, steps: int, console: Console) -> None:
        self.work, self.steps, self.console = work, steps, console
        self.wrong: list[str] = []

    def play(self) -> None:
        """All of it."""
        first, second = zones(datetime.now(UTC))
        quiet = Studio(self.work / "quiet", "address: in-process\n", self.steps)
        quiet.rule(first, 360000)
        self.expect("the undisturbed series", self.ended(quiet), 0)
        used = sum(run.gpu_seconds for run in quiet.books.runs)
        self.say(f"undisturbed: {len(quiet.books.segments)} segments, {used:.1f} s of one worker")
        nodes = Nodes({**os.environ, **plain()})
        try:
            cluster = f"address: {nodes.address}\nprice: 2\nworkers: {{count: 2}}\n"
            studio = Studio(self.work / "studio", cluster, self.steps)
            studio.write("e4", BROKEN)
            studio.rule(first, BUDGET * used)
            self.first_night(studio, nodes)
            studio.write("e4", EPISODES["e4"])
            studio.rule(second, 360000)
            self.second_night(studio)
        finally:
            nodes.close()
        self.wrong += faults(Grounds(studio.file), studio.books)
        self.wrong += differences(studio.films(), quiet.films())
        self.wrong += dailies_of(studio)

    def first_night(self, studio: Studio, nodes: Nodes) -> None:
        """Budget, kill, broken storyboard, overlapping calls."""
        call = studio.start()
        log = studio.log
        victim = caught(nodes, call, log)
        if victim:
            kill((victim,))
        other = self.ended(studio)
        self.expect("a call beside another", other, 0)
        self.say(f"a call beside another: {said(studio.log, 'render')}")
        self.expect("the first night", call.wait(3600), 4)
        self.tell(log, studio)
        self.say(f"killed: {said(log, ' lost')}")
        if not said(log, " lost"):
            self.wrong.append("no worker was lost")
        begun = studio.books
        for each in begun.episodes:
            if each.outcome == "budget" and each.rendered:
                self.say(f"the budget ended {each.episode} after {each.rendered} segments of it")
                break
        else:
            self.wrong.append("the budget ended in no episode's midst")
        self.expect("an hour later", self.ended(studio), 4)
        if studio.books.segments != begun.segments:
            self.wrong.append("a call rendered beyond the budget")

    def second_night(self, studio: Studio) -> None:
        """The rest, and a call for which nothing is left."""
        self.expect("the second night", self.ended(studio), 0)
        self.tell(studio.log, studio)
        books = studio.books
        self.expect("an hour later", self.ended(studio), 0)
        if studio.books != books:
            self.wrong.append("a call had something to do when all was done")

    def ended(self, studio: Studio) -> int:
        """Call, and wait for its end."""
        return studio.start().wait(3600)

    def expect(self, what: str, code: int, wanted: int) -> None:
        """Exit codes."""
        if code != wanted:
            self.wrong.append(f"{what} ended with {code}, not {wanted}")

    def tell(self, log: Path, studio: Studio) -> None:
        """What a night came to."""
        night = studio.books.runs[-1].night
        own = studio.books.of_night(night)
        seconds = sum(run.gpu_seconds for run in own.runs)
        self.say(
            f"night of {night}: {len(own.segments)} segments rendered, {seconds:.1f} s held; "
            f"{said(log, ' episodes: ')}"
        )

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)


def caught(nodes: Nodes, call: Program, log: Path) -> int:
    """Wait for the worker that goes on with the first episode's second segment; 0 without."""
    for _ in waiting(1800):
        done = re.search(r"render 1A/1 on (worker-\d+) ", log.read_text(errors="replace"))
        if done is not None:
            names = (a for a in nodes.actors() if f"/{done[1]}-" in str(a["Name"]))
            return next((int(actor["Pid"]) for actor in names), 0)
        if call.poll() is not None:
            break
    return 0


def differences(made: dict[str, str], expected: dict[str, str]) -> Iterator[str]:
    """Films that are not as they should be."""
    for name in EPISODES:
        if name not in made:
            yield f"{name} has no film"
        elif made[name] != expected.get(name):
            yield f"the film of {name} differs"


def dailies_of(studio: Studio) -> Iterator[str]:
    """Whether both nights have their dailies, and those the ledger's sums."""
    pages = studio.dailies()
    nights = sorted({run.night for run in studio.books.runs})
    if [page.stem for page in pages] != nights or len(nights) != 2:
        yield f"the nights {', '.join(nights)} have {len(pages)} dailies"
    for page in pages:
        told = json.loads(page.with_suffix(".json").read_text())
        own = studio.books.of_night(page.stem)
        if told["bill"]["rendered"] != len(own.segments):
            yield f"{page.name} tells of {told['bill']['rendered']} segments"


def said(log: Path, words: str) -> str:
    """The last line of a call's that has these words."""
    lines = log.read_text(errors="replace").splitlines()
    return next((line for line in reversed(lines) if words in line), "")


def main() -> int:
    """Play both nights."""
    words = argparse.ArgumentParser(prog="python -m tests.campaign.nights", description=__doc__)
    words.add_argument("--work", type=Path, required=True, help="folder for films and logs")
    words.add_argument("--steps", type=int, default=20, help="solver steps of a segment [20]")
    given = words.parse_args()
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    console = Console()
    began = time.monotonic()
    campaign = Campaign(given.work.resolve(), given.steps, console)
    campaign.play()
    for line in campaign.wrong:
        console.print(f"[red]{line}[/]", soft_wrap=True)
    seconds = time.monotonic() - began
    console.print(f"{'not as it should be' if campaign.wrong else 'equal'}, {seconds:.0f} s in all")
    return 1 if campaign.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
