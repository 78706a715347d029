"""What comes next: the policy, without any mechanism. Plain data, tested without a clock.

Films that share the workers get them in turn, by weight: the film that has had least for its weight
comes first, and one that was away has saved nothing up. Within a film the task with the longest
chain of work behind it comes first, because the longest chain sets the wall clock. Among near-ties
a worker is given the continuation of what it did last. A task that took a worker along goes to
another machine next, if there is one.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable

from storyflow.farm.account import Wait
from storyflow.farm.graph import Node
from storyflow.farm.roster import Roster, Worker

_Heap = list[tuple[float, int, int, Node]]


class Line:
    """One film's ready tasks. `had` is the work it was given so far, divided by its weight."""

    def __init__(self, weight: float, near: float) -> None:
        self.weight = weight
        self.had = 0.0
        self.waiting = 0
        self._near = near
        self._entries = 0
        self._ready: _Heap = []
        self._after: defaultdict[str, _Heap] = defaultdict(list)  # by the worker they follow
        self._tied: dict[str, _Heap] = {}  # by the only worker that may begin them
        self._resolving: list[float] = []  # negative ranks, sorted

    def looked_up(self, node: Node) -> None:
        """It is being found out whether this task is done already."""
        insort(self._resolving, -node.rank)

    def known(self, node: Node) -> None:
        """It is found out."""
        del self._resolving[bisect_left(self._resolving, -node.rank)]

    @property
    def looking(self) -> bool:
        """Whether any task is being looked up."""
        return bool(self._resolving)

    def put(self, node: Node) -> None:
        """A task is ready, for every worker or only for the one it is tied to."""
        node.state = "ready"
        self.waiting += 1
        self._entries += 1
        node.entry = self._entries
        if node.unsettled:
            assert node.tied is not None
            heapq.heappush(self._tied.setdefault(node.tied, []), _entry(node))
        else:
            self._offer(node)

    def untie(self, node: Node) -> None:
        """What a ready task needs is stored now: every worker may begin it."""
        node.tied = None
        self._offer(node)

    def withdraw(self, node: Node) -> None:
        """A ready task is not ready after all."""
        self.waiting -= 1
        node.entry = 0

    def pick(self, roster: Roster, afford: Callable[[Node], None]) -> tuple[Node, Worker] | None:
        """The next task and the idle worker that is to begin it. Raises what `afford` raises."""
        tied = self._best_tied(roster)
        head = self._head(roster)
        if tied is not None and (head is None or tied[0].rank >= head.rank):
            node, worker = tied
        elif head is None:
            return None
        else:
            # A worker is kept for each task that is about to be ready and comes before this one.
            if bisect_left(self._resolving, -head.rank) >= roster.count("idle"):
                return None
            worker = _fitting(head, roster) or roster.first("idle", head.last_worker)
            node = head
            if head.last_worker != worker.name:
                own = _peek(self._after[worker.name])
                if own is not None and own.rank >= head.rank * (1 - self._near):
                    node = own if worker.machine not in own.deadly else head
        afford(node)
        self.waiting -= 1
        node.entry = 0
        return node, worker

    def _head(self, roster: Roster) -> Node | None:
        """The first ready task, without those that wait for a worker on another machine."""
        waiting = []
        while (head := _peek(self._ready)) is not None:
            if _fitting(head, roster) is not None or not roster.spares(head.deadly):
                break
            waiting.append(heapq.heappop(self._ready))
        for entry in waiting:
            heapq.heappush(self._ready, entry)
        return head

    def _offer(self, node: Node) -> None:
        heapq.heappush(self._ready, _entry(node))
        if node.last_worker is not None:
            heapq.heappush(self._after[node.last_worker], _entry(node))

    def _best_tied(self, roster: Roster) -> tuple[Node, Worker] | None:
        best: tuple[Node, Worker] | None = None
        for name in tuple(self._tied):
            node = _peek(self._tied[name])
            if node is None:
                del self._tied[name]
                continue
            worker = roster.idle(name)
            if worker is not None and (best is None or node.rank > best[0].rank):
                best = node, worker
        return best


class Queue:
    """The lines of all films, by the films' numbers."""

    def __init__(self, near: float) -> None:
        self._near = near
        self._lines: dict[int, Line] = {}
        self._working: defaultdict[int, int] = defaultdict(int)

    def open(self, film: int, weight: float) -> Line:
        """A line for a film."""
        line = self._lines[film] = Line(weight, self._near)
        return line

    def close(self, film: int) -> None:
        """A film is over."""
        self._lines.pop(film, None)

    @property
    def waiting(self) -> int:
        """Ready tasks of all films."""
        return sum([line.waiting for line in self._lines.values()])

    def put(self, node: Node) -> None:
        """A task is ready. A film that had nothing to do gets no credit for that time."""
        line = self._lines[node.film]
        if not line.waiting and not self._working[node.film]:
            others = [
                other.had
                for film, other in self._lines.items()
                if film != node.film and (other.waiting or self._working[film])
            ]
            line.had = max(line.had, min(others, default=line.had))
        line.put(node)

    def began(self, film: int, work: float) -> None:
        """A film was given a worker for about so much work."""
        self._working[film] += 1
        self._lines[film].had += work / self._lines[film].weight

    def ended(self, film: int, work: float) -> None:
        """A worker is done with a film's task; it took `work` more (or less) than was thought."""
        self._working[film] -= 1
        if film in self._lines:
            self._lines[film].had += work / self._lines[film].weight

    def turns(self) -> list[int]:
        """The films that have ready tasks, whose turn it is first."""
        films = [film for film, line in self._lines.items() if line.waiting]
        if len(films) > 1:
            films.sort(key=lambda film: (self._lines[film].had, film))
        return films

    def pick(self, roster: Roster, afford: Callable[[Node], None]) -> tuple[Node, Worker] | None:
        """The next task and its worker. Raises what `afford` raises, but for Wait."""
        if not roster.count("idle"):
            return None
        for film in self.turns():
            try:
                found = self._lines[film].pick(roster, afford)
            except Wait:
                continue
            if found is not None:
                return found
        return None


def _fitting(node: Node, roster: Roster) -> Worker | None:
    """An idle worker where this task has taken none along, preferably the one it follows."""
    if not node.deadly:
        return roster.first("idle", node.last_worker)
    idle = roster.all("idle")
    return next((worker for worker in idle if worker.machine not in node.deadly), None)


def _entry(node: Node) -> tuple[float, int, int, Node]:
    return -node.rank, node.number, node.entry, node


def _peek(heap: _Heap) -> Node | None:
    # A node may stand in two heaps; what is no longer ready was taken from the other one.
    while heap and heap[0][-1].entry != heap[0][2]:
        heapq.heappop(heap)
    return heap[0][-1] if heap else None
