"""One film's part of a dispatcher: how its tasks move from one state to the next, and how they end.

    waiting ─ resolving ─┬─ ready ─ running ─┬─ storing ─┬─ done
                         └─ done (reused)    └─ failed   └─ held ─ done

What a task comes to is known a little before it is stored. It is then *promised* to what needs it,
which its worker may begin at once. Should storing it fail, all that was begun on the promise is
*doubted*: it is looked up anew when the task is done again, and found by its key if that came out
the same. So nothing counts as done before everything it continues is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic

from storyflow.farm.account import Account
from storyflow.farm.borders import (
    Do,
    Job,
    Outcome,
    Output,
    Reuse,
    TaskDone,
    TaskFailed,
    TaskPromised,
)
from storyflow.farm.graph import Node, Task, TaskGraph
from storyflow.farm.policy import Queue

Resolve = Callable[[str], Awaitable[Reuse[Output] | Do[Job]]]
"""Finds out what a task comes to, once what it needs is known. Raises SegmentError for a task that
can never be done, StoreError."""


class Share(Generic[Job, Output]):
    """Made by `Dispatcher.share`. `underway` counts tasks that are with a worker or being stored.

    `find` begins to resolve a task in the background, `changed` lets the dispatcher look again.
    """

    def __init__(
        self,
        film: int,
        resolve: Resolve[Output, Job],
        watch: Callable[[object], None],
        account: Account,
        queue: Queue,
        weight: float,
        find: Callable[[Share[Job, Output], Node], None],
        changed: Callable[[], None],
    ) -> None:
        self.film, self.account = film, account
        self.resolve, self.watch = resolve, watch
        self.line = queue.open(film, weight)
        self.graph = TaskGraph(film)
        self.jobs: dict[str, Job] = {}
        self.unsettled = 0
        self.underway = 0
        self.draining = False
        self.outcome = Outcome()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue, self._find, self._changed = queue, find, changed
        self._held: dict[str, tuple[Output, str | None, float]] = {}

    def add(self, tasks: Iterable[Task]) -> None:
        """Add tasks, at any time before the end. Raises ValueError for cycles and unknown needs."""
        for node in self.graph.add(tasks):
            if node.state == "waiting":
                self.unsettled += 1
                self._look_up(node)
        self._changed()

    def drain(self) -> None:
        """Begin nothing new; `done` comes when what is being done is done."""
        self.draining = True
        self._changed()

    async def done(self) -> Outcome:
        """Wait until everything is done that can be."""
        self._changed()
        await asyncio.shield(self.over)
        return self.outcome

    def abort(self, error: BaseException) -> None:
        """Begin nothing new: the farm or the store broke down, or a limit is reached."""
        self.draining = True
        self.outcome.error = self.outcome.error or error

    def resolved(self, node: Node, answer: Reuse[Output] | Do[Job]) -> None:
        """It is known what a task comes to."""
        self.line.known(node)
        if node.state != "resolving":
            return
        if node.doubted:
            self.again(node)
        elif isinstance(answer, Do):
            self.jobs[node.task.id] = answer.job
            self._queue.put(node)
        else:
            self.stored(node, answer.output, None, 0.0)

    def promise(self, node: Node, output: Output, worker: str) -> None:
        """A task's output is on its way into the store; its worker may go on from it."""
        node.state = "storing"
        if node.unsettled or node.doubted or node.alone:
            return
        self.watch(TaskPromised(node.task.id, output))
        node.promised = [child for child in node.children if child.state == "waiting"]
        for child in node.promised:
            child.missing -= 1
            child.unsettled += 1
            child.tied = child.last_worker = worker
            if child.unsettled == 1:
                self._look_up(child)

    def retract(self, node: Node) -> None:
        """A promised output could not be stored: it may come out otherwise next time."""
        promised, node.promised = node.promised, []
        for child in promised:
            child.missing += 1
            child.unsettled -= 1
            child.tied = None
            if child.state == "ready":
                self.line.withdraw(child)
                child.state = "waiting"
            elif child.state == "held":
                del self._held[child.task.id]
                child.state = "waiting"
            elif child.state in ("resolving", "running", "storing"):
                child.doubted = True

    def again(self, node: Node) -> None:
        """Back to the queue, or to waiting where what the task needs is lost again."""
        if node.doubted or node.missing:
            node.doubted = False
            node.state = "waiting"
            self.jobs.pop(node.task.id, None)
            self._look_up(node)
        else:
            self._queue.put(node)

    def stored(self, node: Node, output: Output, worker: str | None, seconds: float) -> None:
        """An output is in the store; it counts once what it continues is there too."""
        if node.state == "failed":
            return
        if node.doubted:
            self.again(node)
        elif node.unsettled:
            node.state = "held"
            self._held[node.task.id] = (output, worker, seconds)
        else:
            self._finish(node, output, worker, seconds)

    def fail(self, node: Node, error: BaseException) -> None:
        """A task failed for good, and with it all that hangs on it."""
        if node.state == "failed":
            return
        blocked = self.graph.descendants(node)
        for lost in (node, *blocked):
            if lost.state == "ready":
                self.line.withdraw(lost)
            lost.state = "failed"
            self.unsettled -= 1
            self.jobs.pop(lost.task.id, None)
            self._held.pop(lost.task.id, None)
        names = tuple(lost.task.id for lost in blocked)
        failure = TaskFailed(node.task.id, error, names, node.attempts)
        self.outcome.failures.append(failure)
        self.watch(failure)

    def conclude(self) -> None:
        """It is over; what was not begun stays undone."""
        self.outcome.worker_seconds = self.account.used
        self.outcome.useful_seconds = self.account.useful
        self.outcome.complete = self.unsettled == 0 and not self.outcome.failures
        self._queue.close(self.film)
        self.over.set_result(None)

    def _look_up(self, node: Node) -> None:
        if node.missing == 0 and not self.draining:
            node.state = "resolving"
            self.line.looked_up(node)
            self._find(self, node)

    def _finish(self, node: Node, output: Output, worker: str | None, seconds: float) -> None:
        node.state = "done"
        self.unsettled -= 1
        self.jobs.pop(node.task.id, None)
        self.outcome.outputs.add(node.task.id)
        self.watch(TaskDone(node.task.id, output, worker, seconds))
        promised, node.promised = node.promised, []
        for child in node.children:
            if worker is not None:
                child.last_worker = worker
            if child in promised:
                child.unsettled -= 1
                self._settled(child)
            else:
                child.missing -= 1
                if child.state == "waiting":
                    self._look_up(child)

    def _settled(self, child: Node) -> None:
        """One more of what a child was promised is stored."""
        if child.unsettled:
            return
        if child.state == "ready":
            self.line.untie(child)
        elif child.state == "held":
            self._finish(child, *self._held.pop(child.task.id))
