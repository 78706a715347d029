"""The workers of a dispatcher, by what they are doing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from storyflow.farm.graph import Node

State = Literal["cold", "starting", "idle", "busy", "ending", "gone"]
"""cold: may be started; ending: on its way to cold or gone; gone: never again."""


@dataclass(eq=False)
class Worker:
    """A place for a worker: the process in it may be replaced.

    `life` tells its processes apart, `deaths` counts those lost since the last finished task,
    `since` is when the state began, `machine` where the process runs, `film` whom it worked for
    last. `working` waits for the worker's answer, and `stuck` is why that was given up.
    """

    name: str
    state: State = "cold"
    deaths: int = 0
    leaving: bool = False
    doing: Node | None = None
    life: int = 0
    since: float = 0.0
    machine: str = ""
    film: int = 0
    working: asyncio.Task[Any] | None = None
    stuck: Exception | None = None


class Roster:
    """Every worker once, found by name or by state; all in constant time."""

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}
        self._by_state: dict[State, dict[str, Worker]] = {
            "cold": {},
            "starting": {},
            "idle": {},
            "busy": {},
            "ending": {},
            "gone": {},
        }

    def add(self, name: str) -> None:
        """A new worker, cold; one that is there already stays as it is."""
        if name not in self._workers:
            worker = self._workers[name] = Worker(name)
            self._by_state["cold"][name] = worker

    def move(self, worker: Worker, state: State, now: float, doing: Node | None = None) -> None:
        """Change what a worker is doing."""
        del self._by_state[worker.state][worker.name]
        worker.state, worker.since, worker.doing = state, now, doing
        self._by_state[state][worker.name] = worker

    def named(self, name: str) -> Worker:
        """Raises KeyError."""
        return self._workers[name]

    def all(self, *states: State) -> tuple[Worker, ...]:
        """The workers in these states, longest there first."""
        return tuple(w for state in states for w in self._by_state[state].values())

    def count(self, state: State) -> int:
        """How many workers are in this state."""
        return len(self._by_state[state])

    def idle(self, name: str | None) -> Worker | None:
        """The worker of this name, if it is idle."""
        return self._by_state["idle"].get(name or "")

    def spares(self, machines: frozenset[str]) -> bool:
        """Whether there is a worker that is on none of these machines."""
        living = self.all("idle", "busy")
        return any(worker.machine not in machines for worker in living)

    def first(self, state: State, preferred: str | None = None) -> Worker:
        """The preferred worker if it is in this state, else the longest there."""
        found = self._by_state[state]
        return found[preferred] if preferred in found else next(iter(found.values()))
