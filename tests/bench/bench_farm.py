"""What the farm itself costs: `python tests/bench/bench_farm.py [--ray]`.

Prints how close the dispatcher comes to the lower bound and how fast it is (simulated farms), what
the driver's memory does as films grow, what storing beside rendering saves, and with `--ray` what
one segment costs on a local Ray beyond the worker's own time.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

from figures import Figure, Row

sys.path.insert(0, str(Path(__file__).parents[1]))

from farm_support import Shot, cluster, render, slate_profile, tiny_plan

from storyflow.events import SegmentDone, SegmentStarted
from storyflow.farm.workers import SegmentWorker
from storyflow.simulate.farm import simulate
from storyflow.simulate.scenario import FilmLoad, Scenario, scenarios
from storyflow.store.store import Store

SLOW_STORE = 0.3
"""Seconds that a store far away takes for one segment."""


def simulated() -> Row:
    run = simulate(scenarios()[0])
    return Row(
        "dispatcher",
        run.scenario.about,
        (
            Figure("makespan over lower bound", run.ratio, "", "below 1.03"),
            Figure("idle before the tail", 100 * abs(run.idle), "%", "below 3"),
            Figure("dispatched in a minute of one processor", run.per_minute, "", "above 100,000"),
        ),
    )


def peak(segments: int) -> int:
    """Bytes at most, while a film of so many segments is dispatched on 16 GPUs."""
    scenario = Scenario("memory", "", (FilmLoad(segments),), (1.0,) * 16, 2.0)
    assert scenario.shots
    gc.collect()
    tracemalloc.start()
    simulate(scenario)
    size = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return size


def memory() -> Row:
    small, large = peak(100), peak(10_000)
    return Row(
        "driver memory",
        "the dispatcher's graph, queue and outcome",
        (
            Figure("100 segments", small / 1e6, "MB"),
            Figure("10,000 segments", large / 1e6, "MB"),
            Figure("for each further segment", (large - small) / 9900, "bytes", "below 2,000"),
        ),
    )


def overlap() -> Row:
    """A chain of eight segments into a store that takes its time, with and without overlap."""
    shot = Shot("1A", tuple("abcdefgh"))
    commit, ahead = Store.commit, SegmentWorker.run_ahead

    def slow(self: Store, **parts: Any) -> Any:
        time.sleep(SLOW_STORE)
        return commit(self, **parts)

    def whole(self: SegmentWorker, job: Any, attempt: int) -> Any:
        return self.settle(ahead(self, job, attempt).artifact.key)

    def took() -> float:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            asyncio.run(render(tiny_plan(shot), Path(folder), profile=slate_profile(delay=0.5)))
            return time.perf_counter() - began

    Store.commit = slow  # type: ignore[method-assign]
    try:
        after = took()
        SegmentWorker.run_ahead = whole  # type: ignore[method-assign]
        before = took()
    finally:
        Store.commit, SegmentWorker.run_ahead = commit, ahead  # type: ignore[method-assign]
    return Row(
        "overlap",
        f"one shot of 8 segments of 0.5 s, a store that takes {SLOW_STORE} s for each",
        (Figure("stored after rendering", before, "s"), Figure("stored beside it", after, "s")),
    )


def on_ray(segments: int = 200) -> Row:
    os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    here = str(Path(__file__).parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join((here, os.environ.get("PYTHONPATH", "")))
    moments: list[tuple[float, object]] = []

    class Events(list[Any]):
        def append(self, event: object) -> None:
            moments.append((time.perf_counter(), event))

    plan = tiny_plan(*(Shot(f"S{number}", ("a",)) for number in range(segments)))
    where = cluster("local", workers={"count": 1})
    with tempfile.TemporaryDirectory() as folder:
        cpu = time.process_time()
        made = asyncio.run(render(plan, Path(folder), where=where, events=Events()))
        cpu = time.process_time() - cpu
    begun = sorted(when for when, event in moments if isinstance(event, SegmentStarted))
    ended = max(when for when, event in moments if isinstance(event, SegmentDone))
    own = sum(artifact.seconds for artifact in made.report.artifacts.values())
    each = (ended - begun[0] - own) / segments
    return Row(
        "ray",
        f"{segments} segments of the smallest kind on one worker of a local Ray",
        (
            Figure("the worker's own time for one", 1000 * own / segments, "ms"),
            Figure("what comes on top, storing and all", 1000 * each, "ms", "below 20"),
            Figure("the driver's processor time for one", 1000 * cpu / segments, "ms"),
        ),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--ray", action="store_true", help="also the row that starts a Ray")
    chosen = parser.parse_args()
    for row in (simulated, memory, overlap, *((on_ray,) if chosen.ray else ())):
        print(row(), flush=True)
