"""Notices workers of which nothing is heard any more. Plain data; the clock is the caller's."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

from storyflow.farm.retries import WorkerStuck

REMEMBERED = 100
"""Times between two signs of life that make up what is usual."""


@dataclass(frozen=True)
class Patience:
    """How long a worker may be silent: `times` the usual time between two signs of life, but at
    least `least` and at most `most` seconds, which is the limit while nothing usual is known."""

    times: float = 20.0
    least: float = 60.0
    most: float = 1800.0


@dataclass
class _Pulse:
    job: Hashable
    beats: int
    since: float


class Watchdog:
    """Hears of every worker's signs of life (`beats`, which grow) and tells who is silent."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._pulses: dict[str, _Pulse] = {}
        self._times: deque[float] = deque(maxlen=REMEMBERED)

    def heard(self, worker: str, job: Hashable, beats: int, now: float) -> None:
        """A worker is at so many beats of a job."""
        pulse = self._pulse(worker, job, now)
        if beats > pulse.beats:
            if pulse.beats:  # what comes before the first beat says nothing of the others
                self._times.append((now - pulse.since) / (beats - pulse.beats))
            pulse.beats, pulse.since = beats, now

    def silent(self, worker: str, job: Hashable, now: float) -> WorkerStuck | None:
        """The error of a worker that has been silent for too long in a job; else None."""
        pulse = self._pulse(worker, job, now)
        silence, limit = now - pulse.since, self._limit(pulse)
        if silence <= limit:
            return None
        after = f"after sign of life {pulse.beats}" if pulse.beats else "since it began"
        return WorkerStuck(
            f"{worker} gave no sign of life for {silence:.0f} s {after}; the limit is {limit:.0f} s"
        )

    def _pulse(self, worker: str, job: Hashable, now: float) -> _Pulse:
        pulse = self._pulses.get(worker)
        if pulse is None or pulse.job != job:
            pulse = self._pulses[worker] = _Pulse(job, 0, now)
        return pulse

    def _limit(self, pulse: _Pulse) -> float:
        patience = self._patience
        if not pulse.beats or not self._times:
            return patience.most
        usual = statistics.median(self._times)
        return min(patience.most, max(patience.least, patience.times * usual))
