"""How long and how dear a plan will be, from timings or operations, on any number of workers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plan_films import planned

from storyflow.budget import Budget
from storyflow.errors import BudgetError
from storyflow.planning.finish import Timing, Timings, estimate
from storyflow.planning.nodes import Segment

STORY = """
film: Finish
shots:
- {id: A, dur: 14s, do: waves break}
- {id: B, dur: 4s, do: foam}
- {id: C, dur: 4s, do: a gull cries}
- {id: D, dur: 4s, do: rain}
"""
SEGMENTS = planned(STORY).segments
FRESH = Timing(97, 0, 10.0, 5, flops=97.0**2)
CONTINUED = Timing(97, 17, 12.0, 5, flops=97.0**2)
KNOWN = Timings((FRESH, CONTINUED), "cpu", setup=3.0, prompt=2.0, prompt_setup=1.0)

CHAIN = sum(KNOWN.seconds(s) for s in SEGMENTS if s.shot == "A")
REST = sum(KNOWN.seconds(s) for s in SEGMENTS if s.shot != "A")


def named(name: str) -> Segment:
    return next(segment for segment in SEGMENTS if segment.name == name)


def test_a_length_that_was_timed_takes_what_it_took() -> None:
    assert KNOWN.seconds(named("A/1")) == 10
    assert KNOWN.seconds(named("A/2")) == 12


def test_another_length_is_scaled_by_its_operations_or_else_by_its_frames() -> None:
    whole = named("A/1")
    short = replace(
        whole, flops=whole.flops / 4,
        inputs=replace(whole.inputs, spec=replace(whole.inputs.spec, window=49)),
    )  # fmt: skip
    assert KNOWN.seconds(short) == pytest.approx(10 / 4)
    uncounted = Timings((replace(FRESH, flops=0.0),))
    assert uncounted.seconds(short) == pytest.approx(10 * 49 / 97)


def test_without_timings_a_speed_is_assumed_and_told() -> None:
    assumed = Timings(speed=97.0**2)
    assert assumed.seconds(named("A/1")) == pytest.approx(1.0)
    assert "assumed" in assumed.source and "no timings" in assumed.source
    assert Timings().seconds(named("A/1")) == 0
    assert KNOWN.source == "10 timings in the store, cpu"


def test_more_workers_finish_sooner_but_never_before_the_longest_chain() -> None:
    made = estimate(SEGMENTS, 0, KNOWN)
    times = {finish.workers: finish.seconds for finish in made.finish}
    chain = [s for s in SEGMENTS if s.shot == "A"]
    longest = 3 + sum(KNOWN.seconds(s) for s in chain)
    assert made.chain_seconds == pytest.approx(longest)
    assert times[1] == pytest.approx(3 + sum(KNOWN.seconds(s) for s in SEGMENTS))
    assert times[1] > times[2] >= longest
    assert max(times) < 64, "no more workers are listed than are of use"
    assert min(times.values()) == pytest.approx(longest)


def test_work_is_sent_out_as_the_farm_does_it_longest_chain_first() -> None:
    """Two workers: one has the chain of A, the other the rest; another order would take longer."""
    made = estimate(SEGMENTS, 0, KNOWN, workers=2)
    rest = sum(KNOWN.seconds(s) for s in SEGMENTS if s.shot != "A")
    chain = sum(KNOWN.seconds(s) for s in SEGMENTS if s.shot == "A")
    assert made.seconds == pytest.approx(3 + max(rest, chain))


def test_loading_and_prompts_cost_time_too() -> None:
    alone = estimate(SEGMENTS, 0, KNOWN, workers=1)
    made = estimate(SEGMENTS, 4, KNOWN, workers=1)
    assert alone.seconds is not None and made.seconds is not None
    assert made.seconds == pytest.approx(alone.seconds + 1 + 4 * 2)
    assert made.gpu_seconds == pytest.approx(made.seconds)
    assert made.chain_seconds == pytest.approx(alone.chain_seconds + 9)


def test_each_worker_loads_but_no_more_than_are_of_use() -> None:
    two, many = (estimate(SEGMENTS, 0, KNOWN, workers=n) for n in (2, 100))
    segments = sum(KNOWN.seconds(s) for s in SEGMENTS)
    assert two.gpu_seconds == pytest.approx(segments + 2 * 3)
    assert many.gpu_seconds == pytest.approx(segments + 4 * 3)


@pytest.mark.parametrize(
    ("workers", "idle", "waiting"),
    [
        (1, 60.0, 0.0),
        (2, 60.0, CHAIN - REST),  # one has the chain, the other the rest and then nothing
        (2, 5.0, 5.0),  # until it is let go
        (2, 0.0, 0.0),
        (4, 1000.0, 3 * CHAIN - REST),
        (100, 1000.0, 3 * CHAIN - REST),  # more are never started
    ],
)
def test_workers_without_work_are_paid_until_they_are_let_go(
    workers: int, idle: float, waiting: float
) -> None:
    made = estimate(SEGMENTS, 0, KNOWN, workers=workers, idle=idle)
    loads = 3 * min(workers, 4)
    assert made.gpu_seconds == pytest.approx(CHAIN + REST + loads + waiting)


def test_money_counts_the_gpus_of_a_worker() -> None:
    made = estimate(SEGMENTS, 0, KNOWN, gpus=4, price=2.0, currency="EUR")
    one = estimate(SEGMENTS, 0, KNOWN)
    assert made.gpu_seconds == 4 * one.gpu_seconds
    assert made.money == pytest.approx(2.0 * made.gpu_hours)
    assert (made.currency, one.money, one.currency) == ("EUR", None, "")


def test_nothing_to_render_costs_nothing() -> None:
    made = estimate((), 0, KNOWN, workers=3)
    assert (made.segments, made.gpu_seconds, made.seconds, made.finish) == (0, 0, 0, ())


def test_what_is_rendered_already_is_waited_for_by_nobody() -> None:
    rest = estimate([s for s in SEGMENTS if s.name in ("A/3", "A/4")], 0, KNOWN)
    assert rest.chain_seconds == pytest.approx(3 + 24)


def test_a_plan_over_the_budget_is_refused() -> None:
    made = estimate(SEGMENTS, 0, KNOWN)
    Budget(gpu_hours=made.gpu_hours).refuse(made.gpu_seconds)
    with pytest.raises(BudgetError, match="GPU-hours, more than the limit"):
        Budget(gpu_hours=made.gpu_hours / 2).refuse(made.gpu_seconds)


def test_a_very_long_chain_is_no_deep_recursion() -> None:
    plan = planned("film: Long\nshots:\n- {id: A, dur: 2:00:00, do: the sea}\n")
    made = estimate(plan.segments, 0, KNOWN, workers=8)
    assert made.seconds == pytest.approx(3 + 10 + 12 * (len(plan.segments) - 1), rel=1e-2)
