"""Films on a Ray of several machines: shared by runs, with accelerators of several types, with
machines that vanish and machines that break. One cluster for all; its accelerators are made up."""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from campaign.nodes import Nodes
from campaign.processes import kill, tree_of, waiting
from campaign.runs import Order, Program
from campaign.stage import PATIENCE, environment

pytestmark = [pytest.mark.ray, pytest.mark.slow]

DOOMED = Path(__file__).with_name("doomed")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    pytest.importorskip("ray")
    nodes = Nodes(environment(tmp_path_factory.mktemp("ray").resolve()), workers=0)
    yield nodes
    nodes.close()


class Film:
    """A film of single segments, rendered by a process of its own."""

    def __init__(self, folder: Path, name: str, address: str, shots: int, **options: Any) -> None:
        self.name, self.folder = name, folder / name
        self.folder.mkdir()
        lines = [f"- {{id: S{n}, dur: 1s, do: action {n}}}" for n in range(shots)]
        (self.folder / "film.yaml").write_text("\n".join([f"film: {name}", "shots:", *lines]))
        sections = (f"{section}: {words}" for section, words in options.items())
        (self.folder / "cluster.yaml").write_text("\n".join(["storyflow: 1", *sections]))
        self._words = ["render", "film.yaml", "--address", address, "--cluster", "cluster.yaml"]
        self._words += ["--pipeline", "slate", "--store", "store", "--out", "out"]
        self._words += ["--set", "frame=96x64", "--set", "deliver.preset=ultrafast"]
        self._log = self.folder / "log"

    def start(self, delay: float) -> Program:
        """Segments take so many seconds."""
        words = (*self._words, "--set", f"slate.delay={delay}")
        return Program(Order(words, self.folder, self._log, environment(self.folder)))

    def log(self) -> str:
        return self._log.read_text()

    def rendered(self) -> list[tuple[str, str]]:
        """Segment and worker of each that was rendered."""
        return re.findall(r"^render (\S+) on (\S+)", self.log(), re.MULTILINE)


@pytest.fixture
def begin() -> Iterator[Callable[[Film, float], Program]]:
    """Starts a film's process, and ends it with the test."""
    runs: list[Program] = []

    def start(film: Film, delay: float) -> Program:
        runs.append(film.start(delay))
        return runs[-1]

    yield start
    for run in runs:
        kill(tree_of((run.pid,)))
        run.wait()


Begin = Callable[[Film, float], Program]


def workers_of(nodes: Nodes) -> Counter[str]:
    """How many workers each film holds."""
    names = (str(actor["Name"]) for actor in nodes.actors())
    return Counter(name.partition("/")[0] for name in names if "/" in name)


def until(nodes: Nodes, run: Program, **films: int) -> None:
    """Wait until the films hold so many workers."""
    for _ in waiting():
        if workers_of(nodes) == films:
            return
        assert run.poll() is None, "the film was too short for this machine"
        time.sleep(0.25)
    raise AssertionError(f"{films} is not reached; there are {workers_of(nodes)}")


def test_two_films_of_separate_processes_share_a_cluster_by_weight(
    nodes: Nodes, tmp_path: Path, begin: Begin
) -> None:
    """Whoever comes later gets his share, and who is left gets all."""
    address = nodes.address
    place = nodes.add({}, num_cpus=4, resources={"accelerator_type:SHARED": 1})
    one, two = (
        Film(tmp_path, name, address, 1000, workers=f"{{accelerator: SHARED, weight: {weight}}}")
        for name, weight in (("One", 1), ("Two", 3))
    )
    first = begin(one, 4.0)
    until(nodes, first, One=4)
    second = begin(two, 4.0)
    until(nodes, first, One=1, Two=3)
    second.interrupt()
    assert second.wait(PATIENCE) == 128 + signal.SIGTERM, two.log()
    until(nodes, first, One=4)
    first.interrupt()
    assert first.wait(PATIENCE) == 128 + signal.SIGTERM, one.log()
    for film in (one, two):
        assert max(Counter(name for name, _ in film.rendered()).values(), default=1) == 1
    nodes.kill_node(place)


def test_another_type_takes_over_and_none_is_refused(
    nodes: Nodes, tmp_path: Path, begin: Begin
) -> None:
    address = nodes.address
    fast = nodes.add({}, num_cpus=1, resources={"accelerator_type:FAST": 1})
    slow = nodes.add({}, num_cpus=1, resources={"accelerator_type:SLOW": 1})
    workers = "{accelerator: [FAST, SLOW], count: 1}"
    film = Film(tmp_path, "Fallback", address, 4, workers=workers)
    run = begin(film, 2.0)
    until(nodes, run, Fallback=1)
    (worker,) = (actor for actor in nodes.actors() if "/" in actor["Name"])
    assert worker["Address"]["NodeID"] == nodes.node_of(fast)
    nodes.kill_node(fast)
    assert run.wait(PATIENCE) == 0, film.log()
    assert film.log().count("worker-1 ready") >= 1
    assert sorted(Counter(name for name, _ in film.rendered()).values()) == [1, 1, 1, 1]
    nodes.until_alive()
    refused = Film(tmp_path, "Refused", address, 1, workers="{accelerator: [FAST, H100]}")
    assert begin(refused, 0.0).wait(PATIENCE) == 5
    said = " ".join(refused.log().split())
    assert "one needs 1 CPU and a machine with FAST, or 1 CPU and a machine with H100" in said
    assert "(SLOW)" in said
    nodes.kill_node(slow)


def test_a_machine_whose_workers_keep_dying_is_left(
    nodes: Nodes, tmp_path: Path, begin: Begin
) -> None:
    address, lab = nodes.address, {"accelerator_type:LAB": 1}
    good = nodes.add({}, num_cpus=1, resources=lab)
    doomed = nodes.add({"PYTHONPATH": str(DOOMED)}, num_cpus=1, resources=lab)
    film = Film(
        tmp_path,
        "Broken",
        address,
        1000,
        workers="{accelerator: LAB, count: 2}",
        retries="{segment: 20, worker: 100}",
    )
    run = begin(film, 1.0)
    leaving = re.compile(r"machine\s(\w+)\slost\sworkers\sin\s\d+\ssegments")
    while (left := leaving.search(film.log())) is None:
        assert run.poll() is None, film.log()
        time.sleep(0.1)
    assert left[1] == nodes.node_of(doomed)
    run.interrupt()
    assert run.wait(PATIENCE) == 128 + signal.SIGTERM, film.log()
    assert len({worker for _, worker in film.rendered()}) <= 1
    assert max(Counter(name for name, _ in film.rendered()).values(), default=1) == 1
    nodes.kill_node(doomed)
    nodes.kill_node(good)
