"""How runs divide a cluster: by weight, and nobody gets more than he can use. Plain arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

EXPIRY_SECONDS = 60.0
"""A run that has not asked for so long is gone."""

_TINY = 1e-9


@dataclass(frozen=True)
class Demand:
    """What one run could use: `wanted` workers, of which `capacity` would fill the cluster.

    `weight` is what it counts against the others, `heard` when it asked last, in the clock of
    whoever keeps the shares.
    """

    weight: float
    wanted: int
    capacity: int
    heard: float = 0.0

    @property
    def part(self) -> float:
        """Of the cluster."""
        return min(1.0, self.wanted / max(self.capacity, 1))


class Shares:
    """The demands of all runs on a cluster."""

    def __init__(self, expiry: float = EXPIRY_SECONDS) -> None:
        self._expiry = expiry
        self._demands: dict[str, Demand] = {}

    def ask(self, run: str, demand: Demand, now: float) -> int | None:
        """Workers that this run may hold; None is as many as it can get."""
        self._demands[run] = Demand(demand.weight, demand.wanted, demand.capacity, now)
        for name, other in tuple(self._demands.items()):
            if now - other.heard > self._expiry:
                del self._demands[name]
        return divide(self._demands)[run]

    def leave(self, run: str) -> bool:
        """A run is over; whether it was the last one."""
        self._demands.pop(run, None)
        return not self._demands


def divide(demands: dict[str, Demand]) -> dict[str, int | None]:
    """Workers for each run, in whole numbers; None for all where everybody gets what he wants.

    Every run gets what it wants or, if that is less, its weighted part of what is left when the
    modest are served; and at least one worker, so none is shut out.
    """
    if sum(demand.part for demand in demands.values()) <= 1 + _TINY:
        return dict.fromkeys(demands)
    parts = _fill(demands)
    workers = {
        run: max(1, int(part * demands[run].capacity + _TINY)) for run, part in parts.items()
    }
    left = 1 - sum(count / demands[run].capacity for run, count in workers.items())
    # What rounding left over goes to those who lost most by it, the first comers first.
    for run in sorted(parts, key=lambda run: workers[run] - parts[run] * demands[run].capacity):
        one = 1 / demands[run].capacity
        if left >= one - _TINY and workers[run] < demands[run].wanted:
            workers[run] += 1
            left -= one
    return dict(workers)


def _fill(demands: dict[str, Demand]) -> dict[str, float]:
    """Parts of the cluster, by filling up: who wants less than his part leaves the rest."""
    parts: dict[str, float] = {}
    hungry, left = dict(demands), 1.0
    while hungry:
        weights = sum(demand.weight for demand in hungry.values())
        modest = {
            run: demand.part
            for run, demand in hungry.items()
            if demand.part <= left * demand.weight / weights + _TINY
        }
        if not modest:
            return parts | {run: left * d.weight / weights for run, d in hungry.items()}
        parts |= modest
        for run in modest:
            del hungry[run]
        left -= sum(modest.values())
    return parts
