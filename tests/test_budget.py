"""What the limits on a run allow, and how they refuse."""

from __future__ import annotations

import math

import pytest

from storyflow.budget import Budget
from storyflow.errors import BudgetError, InputError


@pytest.mark.parametrize(
    ("budget", "seconds"),
    [
        (Budget(), math.inf),
        (Budget(gpus=2), math.inf),
        (Budget(gpu_hours=2), 7200),
        (Budget(money=5, price=2.5), 7200),
        (Budget(gpu_hours=1, money=5, price=2.5), 3600),
        (Budget(gpu_hours=10, money=5, price=2.5), 7200),
        (Budget(gpu_hours=0), 0),
        (Budget(money=5, price=0), math.inf),
    ],
)
def test_the_tighter_limit_counts(budget: Budget, seconds: float) -> None:
    assert budget.seconds == seconds
    assert budget.allows(seconds)
    assert not math.isfinite(seconds) or not budget.allows(seconds + 1)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (
            Budget(gpu_hours=1),
            "the plan needs 2 GPU-hours, more than the limit of 1 GPU-hours; raise the limit",
        ),
        (
            Budget(gpu_hours=9, money=4, price=3, currency="EUR"),
            "the plan needs 2 GPU-hours (6.00 EUR), more than the limit of 4.00 EUR; raise",
        ),
        (Budget(gpu_hours=0, money=9, price=3), "more than the limit of 0 GPU-hours"),
    ],
)
def test_a_plan_over_the_limit_is_refused_with_the_figures(budget: Budget, words: str) -> None:
    with pytest.raises(BudgetError) as told:
        budget.refuse(7200)
    assert words in str(told.value)
    assert told.value.exit_code == 4


def test_a_plan_within_the_limit_is_not_refused() -> None:
    Budget(gpu_hours=2).refuse(7200)


@pytest.mark.parametrize(
    "limits",
    [
        {"gpu_hours": -1.0},
        {"gpu_hours": math.nan},
        {"money": 3.0},
        {"money": math.inf, "price": 1.0},
        {"gpus": 0},
        {"price": -2.0},
    ],
)
def test_a_limit_that_means_nothing_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Budget(**limits)  # type: ignore[arg-type]
