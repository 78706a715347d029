"""Tasks that need one another, and the longest chain of work that hangs on each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

State = Literal["waiting", "resolving", "ready", "running", "storing", "held", "done", "failed"]
"""waiting: for what it needs; resolving: whether it is done already; ready: for a worker; storing:
its output exists and is on its way into the store; held: stored, but what it needs is not yet."""


@dataclass(frozen=True)
class Task:
    """A piece of work: what it needs done first, and how much work it is, in any one unit."""

    id: str
    needs: tuple[str, ...] = ()
    weight: float = 1.0


@dataclass(eq=False)
class Node:
    """A task on its way. `rank` is its weight and that of the heaviest chain behind it.

    `missing` counts the needs whose output is not known yet, `unsettled` those whose output is
    known but still being stored: until it is, only the worker `tied` may begin this task.
    `last_worker` did the last of its needs. `promised` are the children that were told of this
    task's output before it was stored; should storing it fail, what they made is `doubted`.
    `alone` says that children wait for the stored output: it was lost once on its way.
    `deadly` are the machines on which it took a worker along.
    """

    task: Task
    number: int
    film: int = 0
    rank: float = 0.0
    missing: int = 0
    unsettled: int = 0
    attempts: int = 0
    state: State = "waiting"
    tied: str | None = None
    last_worker: str | None = None
    doubted: bool = False
    alone: bool = False
    deadly: frozenset[str] = frozenset()
    entry: int = 0
    children: list[Node] = field(default_factory=list)
    promised: list[Node] = field(default_factory=list)


class TaskGraph:
    """All tasks of a film, by id; `film` is its number among those that share the workers."""

    def __init__(self, film: int = 0) -> None:
        self._film = film
        self._nodes: dict[str, Node] = {}

    def nodes(self) -> tuple[Node, ...]:
        """Every node, in the order it was added."""
        return tuple(self._nodes.values())

    def add(self, tasks: Iterable[Task]) -> list[Node]:
        """Add tasks in any order; they may need each other and what was added before.

        Raises ValueError for an id that is there already, an unknown need or a cycle.
        """
        added: dict[str, Node] = {}
        for task in tasks:
            if task.id in self._nodes or task.id in added:
                raise ValueError(f"task {task.id!r} is there already")
            added[task.id] = Node(task, len(self._nodes) + len(added), self._film)
        for node in added.values():
            for need in node.task.needs:
                if need not in added and need not in self._nodes:
                    raise ValueError(f"task {node.task.id!r} needs the unknown {need!r}")
        _rank(added)
        self._nodes.update(added)
        for node in added.values():
            for need in dict.fromkeys(node.task.needs):
                parent = self._nodes[need]
                parent.children.append(node)
                node.missing += parent.state != "done"
                if parent.state == "failed":
                    node.state = "failed"
        for node in added.values():
            if node.state == "failed":
                for lost in self.descendants(node):
                    lost.state = "failed"
        return list(added.values())

    def descendants(self, node: Node) -> list[Node]:
        """What hangs on a node and is neither done nor failed before, nearest first."""
        found: dict[str, Node] = {}
        queue = deque([node])
        while queue:
            for child in queue.popleft().children:
                if child.task.id not in found and child.state not in ("failed", "done"):
                    found[child.task.id] = child
                    queue.append(child)
        return list(found.values())


def _rank(nodes: dict[str, Node]) -> None:
    """Set every rank, children first; iterative, because chains are longer than Python's stack."""
    needed_by = {name: 0 for name in nodes}
    for node in nodes.values():
        for need in dict.fromkeys(node.task.needs):
            if need in needed_by:
                needed_by[need] += 1
    leaves = deque(node for name, node in nodes.items() if needed_by[name] == 0)
    behind = {name: 0.0 for name in nodes}
    ranked = 0
    while leaves:
        node = leaves.popleft()
        node.rank = node.task.weight + behind[node.task.id]
        ranked += 1
        for need in dict.fromkeys(node.task.needs):
            if need in needed_by:
                behind[need] = max(behind[need], node.rank)
                needed_by[need] -= 1
                if needed_by[need] == 0:
                    leaves.append(nodes[need])
    if ranked < len(nodes):
        stuck = sorted(name for name, count in needed_by.items() if count)
        raise ValueError(f"tasks need each other in a circle: {', '.join(stuck[:5])}")
