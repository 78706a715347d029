"""A series of 1,000 episodes, planned and scheduled: `python tests/bench/bench_series_plan.py`.

Writes the storyboards, plans them against an empty store and against one that has everything, plans
them as a render does, which keeps the plans, and plays the planned segments with the real
dispatcher on GPUs that don't exist. Each plan is made in a process of its own, so that its memory
is its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml
from bench_plan import film

NIGHT = datetime(2026, 1, 10, 23, tzinfo=UTC)
SERIES = """\
series: A thousand
bible:
  pipeline: toybox
  cast: {hero: {look: "a man of sixty, navy coat"}}
episodes: [e*.yaml]
rules: {cluster: cluster.yaml, at_once: 4, budget: {night: {gpu_hours: 512}}}
"""
CLUSTER = "address: in-process\nprice: 2\n"
SCENES = 4
"""Of ten shots, each of five segments: 200 segments an episode."""


@dataclass(frozen=True)
class Made:
    """What a plan came to: segments in all, those to render, shots by length in segments."""

    segments: int
    render: int
    shots: tuple[tuple[int, ...], ...]
    recipes: tuple[str, ...]


def write(folder: Path, episodes: int) -> Path:
    """A series in which no two episodes share a segment."""
    for number in range(episodes):
        data = {key: value for key, value in film(SCENES, 2).items() if key != "cast"}
        text = yaml.safe_dump({**data, "film": f"Episode {number}"}, sort_keys=False)
        (folder / f"e{number}.yaml").write_text(text.replace("stair", f"stair of house {number},"))
    (folder / "cluster.yaml").write_text(CLUSTER)
    (folder / "series.yaml").write_text(SERIES)
    return folder / "series.yaml"


def planned(file: Path) -> Made:
    """As `storyflow series plan` does."""
    from storyflow.series.orders import Grounds
    from storyflow.series.plan import plan_series

    plan = plan_series(Grounds(file), NIGHT)
    return Made(plan.segments, plan.render, (), ())


def prepared(file: Path) -> Made:
    """As `storyflow series render` does, which keeps what it has planned."""
    from storyflow.series.night import night_of
    from storyflow.series.orders import Grounds
    from storyflow.series.plan import prepared_episodes

    grounds = Grounds(file)
    every = list(prepared_episodes(grounds, night_of(grounds.series.rules, NIGHT)))
    plans = [each.made.plan for each in every if each.made is not None]
    return Made(
        sum(len(plan.segments) for plan in plans),
        sum(len(each.row.render) for each in every),
        tuple(tuple(len(take.segments) for take in plan.takes) for plan in plans),
        tuple(segment.recipe for plan in plans for segment in plan.segments),
    )


def fill(store: Path, recipes: tuple[str, ...]) -> None:
    """The index of a store that has all of them; of the artifacts planning reads only timings."""
    from storyflow.store.store import Store

    Store(store).check_writable()
    for number, recipe in enumerate(recipes):
        folder = store / "recipes" / recipe[:2]
        folder.mkdir(exist_ok=True)
        (folder / f"{recipe}.{recipe}").touch()
        length = (97, 0) if number % 5 == 0 else (97, 17)
        time_of = store / "recipes" / "ti"
        time_of.mkdir(exist_ok=True)
        (time_of / f"time-{'0' * 32}-{length[0]}-{length[1]}.{recipe}").touch()


def alone(what: str, work: Callable[[Path], Made], file: Path) -> Made:
    """Do it in a fresh process and print what that took."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        made, wall, cpu, peak = process.submit(_measured, work, file).result()
    print(
        f"{what:48} {made.segments:8,} segments, {made.render:8,} to render: "
        f"{wall:6.1f} s, {cpu:6.1f} s of CPU, at most {peak / 1e6:5.0f} MB",
        flush=True,
    )
    return made


def _measured(work: Callable[[Path], Made], file: Path) -> tuple[Made, float, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    made = work(file)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return made, wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def schedule(shots: tuple[tuple[int, ...], ...], gpus: int, at_once: int) -> None:
    """Play the planned episodes on so many GPUs."""
    from storyflow.simulate.farm import simulate
    from storyflow.simulate.scenario import FilmLoad, Scenario

    films = tuple(FilmLoad(sum(each), planned=each) for each in shots)
    scenario = Scenario("series", "", films, (1.0,) * gpus, 1.05, at_once=at_once, fails=0.002)
    wall = time.perf_counter()
    run = simulate(scenario)
    wall = time.perf_counter() - wall
    print(
        f"scheduled on {gpus} GPUs, {at_once} episodes at once: {run.dispatched:,} segments in "
        f"{run.makespan / 3600:,.0f} simulated hours, {run.ratio:.4f} of the lower bound, idle "
        f"{100 * abs(run.idle):.2f} %; {wall:.1f} s, {run.cpu_seconds:.1f} s of CPU "
        f"({run.per_minute:,.0f} a minute), "
        f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6:.0f} MB",
        flush=True,
    )


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("--episodes", type=int, default=1000)
    words.add_argument("--gpus", type=int, default=64)
    words.add_argument("--at-once", type=int, default=4)
    asked = words.parse_args()
    print(
        f"Python {platform.python_version()}, {platform.machine()}, load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = name
        file = write(Path(name), asked.episodes)
        alone("planned, empty store", planned, file)
        made = alone("planned as a render does, empty store", prepared, file)
        fill(Path(name) / ".storyflow/store", made.recipes)
        alone("planned, everything stored", planned, file)
    schedule(made.shots, asked.gpus, asked.at_once)


if __name__ == "__main__":
    main()
