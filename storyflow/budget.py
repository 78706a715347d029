"""What a run may use: GPU-hours, money and GPUs at once, as the user limited them.

    budget = Budget(gpu_hours=20, money=50, price=2.5)
    budget.refuse(estimate)                 # before anything is rendered
    budget.allows(used + reserved + next)   # before each segment is dispatched

All amounts are GPU-seconds: seconds that a worker is held, times the accelerators that it holds;
a worker without accelerators counts as one. Loading and failed attempts are used time too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from storyflow.errors import BudgetError, InputError


@dataclass(frozen=True)
class Budget:
    """The limits of one run; None is no limit.

    `price` is money per GPU-hour, in `currency`; `gpus` are accelerators (workers, where there are
    none) at the same time. Raises InputError for a limit that isn't a number from 0 on, or for a
    limit on money without a price.
    """

    gpu_hours: float | None = None
    money: float | None = None
    gpus: int | None = None
    price: float | None = None
    currency: str = "USD"

    def __post_init__(self) -> None:
        named = {"--max-gpu-hours": self.gpu_hours, "--max-cost": self.money, "price": self.price}
        for name, value in named.items():
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value}", cure="give a number from 0 on")
        if self.gpus is not None and self.gpus < 1:
            raise InputError(f"--max-gpus is {self.gpus}", cure="give 1 or more")
        if self.money is not None and self.price is None:
            raise InputError(
                f"--max-cost {self.money:g} can't be held without a price",
                cure="give the cluster file the price of a GPU-hour, as 'price:'",
            )

    @property
    def seconds(self) -> float:
        """GPU-seconds that the limits on time and money leave together; infinite without any."""
        hours = self._hours
        if self.money is not None and self.price:
            hours = min(hours, self.money / self.price)
        return hours * 3600

    @property
    def bounded(self) -> bool:
        """Whether there is a limit on time or money."""
        return math.isfinite(self.seconds)

    def allows(self, gpu_seconds: float) -> bool:
        """Whether so much may be used in all."""
        return gpu_seconds <= self.seconds

    def cost(self, gpu_seconds: float) -> float | None:
        """Money for so much; None without a price."""
        return None if self.price is None else self.price * gpu_seconds / 3600

    def refuse(self, gpu_seconds: float, what: str = "the plan") -> None:
        """Raise BudgetError where `what` needs more than the limits allow."""
        if not self.allows(gpu_seconds):
            raise BudgetError(
                f"{what} needs {self._amounts(gpu_seconds)}, more than the limit of {self._limit}",
                cure="raise the limit, or render fewer shots with --shots",
            )

    @property
    def _hours(self) -> float:
        return math.inf if self.gpu_hours is None else self.gpu_hours

    @property
    def _limit(self) -> str:
        by_money = self.money is not None and self.seconds < self._hours * 3600
        if by_money or self.gpu_hours is None:
            return f"{self.money:.2f} {self.currency}"
        return f"{self.gpu_hours:.4g} GPU-hours"

    def _amounts(self, gpu_seconds: float) -> str:
        cost = self.cost(gpu_seconds)
        hours = f"{gpu_seconds / 3600:.4g} GPU-hours"
        return hours if cost is None else f"{hours} ({cost:.2f} {self.currency})"


class Purse:
    """What several films may use together: all that they use and set aside is counted.

    `before` GPU-seconds were used of it already. What is used of a part of a `whole` is used of
    that, too.
    """

    def __init__(
        self, budget: Budget = Budget(), before: float = 0.0, whole: Purse | None = None
    ) -> None:
        self.budget = budget
        self._before = before
        self._whole = whole
        self._added = 0.0
        self._films: list[Callable[[], float]] = []

    @property
    def used(self) -> float:
        """GPU-seconds since it was opened, those that are set aside included."""
        return self._added + sum(film() for film in self._films)

    @property
    def bounded(self) -> bool:
        """Whether there is a limit on time or money."""
        return self.budget.bounded or (self._whole is not None and self._whole.bounded)

    @property
    def left(self) -> float:
        """GPU-seconds that may still be used; infinite without a limit."""
        own = max(0.0, self.budget.seconds - self._before - self.used)
        return own if self._whole is None else min(own, self._whole.left)

    def add(self, gpu_seconds: float) -> None:
        """So much was used by something else than a film's workers."""
        self._added += gpu_seconds
        if self._whole is not None:
            self._whole.add(gpu_seconds)

    def open(self, used: Callable[[], float]) -> Callable[[], float]:
        """A film pays from it from now on, and says what it used and set aside; handed back."""
        self._films.append(used)
        if self._whole is not None:
            self._whole.open(used)
        return used

    def refuse(self, gpu_seconds: float = 0.0) -> None:
        """Raise BudgetError where so much more than now is over the limit."""
        self.budget.refuse(self._before + self.used + gpu_seconds, "going on")
        if self._whole is not None:
            self._whole.refuse(gpu_seconds)
