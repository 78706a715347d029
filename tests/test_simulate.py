"""Farms that don't exist: how good the dispatcher is, against bounds that are stated."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from storyflow.simulate.clock import run_virtual
from storyflow.simulate.farm import FarmRun, simulate
from storyflow.simulate.scenario import FilmLoad, Scenario, scenarios

NAMES = [scenario.name for scenario in scenarios()]


@pytest.fixture(scope="module")
def runs() -> dict[str, FarmRun]:
    return {scenario.name: simulate(scenario) for scenario in scenarios(1)}


@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_meets_its_bound(runs: dict[str, FarmRun], name: str) -> None:
    run = runs[name]
    assert run.meets and run.ratio >= 1.0, "no schedule is shorter than the lower bound"
    assert run.idle < 0.03
    assert run.dispatched >= run.scenario.segments


def test_the_even_farm_is_within_three_percent_and_dispatches_fast(
    runs: dict[str, FarmRun],
) -> None:
    run = runs["even"]
    assert len(run.scenario.speeds) == 64 and run.scenario.segments == 3000
    assert run.ratio < 1.03 and run.idle < 0.03
    # About 300,000 on a quiet machine.
    assert run.per_minute > 100_000


def test_what_is_lost_is_what_died(runs: dict[str, FarmRun]) -> None:
    loading = 64 * 45.0
    assert runs["even"].lost_seconds == pytest.approx(loading)
    assert runs["deaths"].lost_seconds > loading and runs["spot"].lost_seconds > loading


def test_films_share_by_weight_and_none_waits_long(runs: dict[str, FarmRun]) -> None:
    for film in runs["films"].films:
        assert film.begun - film.arrived < 60
        assert film.share is not None and film.fair is not None
        assert abs(film.share - film.fair) < 0.03


@pytest.mark.parametrize("seed", [2, 3])
def test_bounds_hold_for_other_seeds(seed: int) -> None:
    for scenario in scenarios(seed):
        if scenario.name in ("even", "speeds", "spot"):
            assert simulate(scenario).meets, scenario.name


def test_planned_films_take_turns_and_hardly_any_gpu_waits_for_the_next_one() -> None:
    films = tuple(FilmLoad(60, planned=(5,) * 12) for _ in range(20))
    run = simulate(Scenario("series", "", films, (1.0,) * 8, 1.05, at_once=2))
    assert run.meets and run.dispatched == 1200
    for film in run.films:
        others = [o for o in run.films if o.begun <= film.begun < o.done and o is not film]
        assert len(others) <= 1


def test_the_same_seed_is_the_same_night() -> None:
    tiny = Scenario("tiny", "", (FilmLoad(60),), (1.0, 0.5, 2.0), 2.0, fails=0.1, lasts=2000.0)
    first, second = simulate(tiny), simulate(tiny)
    assert (first.makespan, first.lost_seconds) == (second.makespan, second.lost_seconds)


def test_a_simulation_that_hangs_says_so() -> None:
    async def hang() -> None:
        import asyncio

        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="what is simulated hangs"):
        run_virtual(hang())


def test_a_long_film_takes_little_more_memory_than_a_short_one() -> None:
    def peak(segments: int) -> int:
        scenario = Scenario("memory", "", (FilmLoad(segments),), (1.0,) * 8, 2.0)
        assert scenario.shots
        gc.collect()
        tracemalloc.start()
        try:
            simulate(scenario)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(2000) - peak(200) < 1800 * 2000, "bytes, 2,000 for each further segment"
