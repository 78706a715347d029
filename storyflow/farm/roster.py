"""The workers of a dispatcher, by what they are doing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from storyflow.farm.graph import Node

State = Literal["cold", "starting", "idle", "busy", "gone"]
"""cold: may be started; gone: never again."""


@dataclass(eq=False)
class Worker:
    """A place for a worker: the process in it may be replaced."""

    name: str
    state: State = "cold"
    deaths: int = 0
    leaving: bool = False
    doing: Node | None = None


class Roster:
    """Every worker once, found by name or by state; all in constant time."""

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}
        self._by_state: dict[State, dict[str, Worker]] = {
            "cold": {},
            "starting": {},
            "idle": {},
            "busy": {},
            "gone": {},
        }

    def add(self, name: str) -> None:
        """A new worker, cold; one that is there already stays as it is."""
        if name not in self._workers:
            worker = self._workers[name] = Worker(name)
            self._by_state["cold"][name] = worker

    def move(self, worker: Worker, state: State, doing: Node | None = None) -> None:
        """Change what a worker is doing."""
        del self._by_state[worker.state][worker.name]
        worker.state, worker.doing = state, doing
        self._by_state[state][worker.name] = worker

    def named(self, name: str) -> Worker:
        """Raises KeyError."""
        return self._workers[name]

    def all(self, state: State) -> tuple[Worker, ...]:
        """The workers in this state, longest there first."""
        return tuple(self._by_state[state].values())

    def count(self, state: State) -> int:
        """How many workers are in this state."""
        return len(self._by_state[state])

    def first(self, state: State, preferred: str | None = None) -> Worker:
        """The preferred worker if it is in this state, else the longest there."""
        found = self._by_state[state]
        return found[preferred] if preferred in found else next(iter(found.values()))
