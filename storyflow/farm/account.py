"""What a film has used of its limit, and what is set aside for what is under way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from storyflow.errors import BudgetError

Limit = Callable[[float], None]
"""Raises BudgetError when so many worker-seconds are more than the film may use."""


class Wait(Exception):
    """Not now: what is under way may leave enough when it ends, or teach how long things take."""


class Short(Wait):
    """Nothing more can be paid for until what is under way turns out cheaper than was thought."""


@dataclass
class Pace:
    """How long work takes, learned from what was done: the mean of seconds per unit."""

    seconds: float = 0.0
    units: float = 0.0

    def learn(self, units: float, seconds: float) -> None:
        """One more piece of work took so long."""
        self.units += units
        self.seconds += seconds

    def expect(self, units: float) -> float | None:
        """Seconds that so much work is expected to take; None before anything was done."""
        return self.seconds / self.units * units if self.units else None


@dataclass
class Account:
    """All in worker-seconds. Without a limit everything may begin."""

    limit: Limit | None = None
    used: float = 0.0
    useful: float = 0.0
    working: Pace = field(default_factory=Pace)
    loading: Pace = field(default_factory=Pace)
    _open: int = 0
    _reserved: float = 0.0

    @property
    def committed(self) -> float:
        """What was used, and what is set aside."""
        return self.used + self._reserved

    def afford(self, seconds: float | None) -> None:
        """Ask before beginning something that takes so long, None where nobody knows yet.

        Raises Wait, or BudgetError when nothing is under way that could change the answer. What
        takes unknown time begins alone.
        """
        if self.limit is None:
            return
        if seconds is None and self._open:
            raise Wait
        try:
            self.limit(self.used + self._reserved + (seconds or 0.0))
        except BudgetError:
            if self._open:
                raise Short from None
            raise

    def afford_worker(self) -> None:
        """Ask before a worker is started. The second one comes when it is known what work takes:
        before, it would only wait."""
        self.afford(self.loading.expect(1.0) if self.working.units else None)

    def begin(self, seconds: float | None) -> None:
        """Set aside what was afforded."""
        self._open += 1
        self._reserved += seconds or 0.0

    def end(self, reserved: float | None, seconds: float) -> None:
        """What was set aside has been used, as it turned out."""
        self._open -= 1
        self._reserved = self._reserved - (reserved or 0.0) if self._open else 0.0
        self.used += seconds
