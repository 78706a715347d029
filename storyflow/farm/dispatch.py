"""The dispatcher: which worker does what next. Pure asyncio; knows no Ray, store or torch.

    dispatcher = Dispatcher(pool, resolve, caps=Caps(), watch=print)
    dispatcher.add(tasks)
    outcome = await dispatcher.run()

A task becomes *ready* when everything it needs is done. Then `resolve` says what it comes to: an
output that exists already, or a job. Jobs wait in a queue ordered by the longest chain of work that
hangs on them, because the longest chain sets the wall clock. Among near-ties a worker is given the
continuation of what it did last. Each worker has one job in flight.

Workers are started when there is work for them, so a film that needs one worker starts one. All
time comes from the event loop's clock: on a loop with a virtual clock the same code is a simulator.
"""

from __future__ import annotations

import asyncio
import heapq
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Generic

from storyflow.errors import FarmError, SegmentError, StoryflowError
from storyflow.farm.borders import (
    Do,
    Job,
    Outcome,
    Output,
    Pool,
    Reuse,
    TaskDone,
    TaskFailed,
    TaskRetried,
    TaskStarted,
    WorkerDown,
    WorkerUp,
)
from storyflow.farm.graph import Node, Task, TaskGraph
from storyflow.farm.retries import Caps, Verdict, WorkerDied, judge
from storyflow.farm.roster import Roster, Worker

_Heap = list[tuple[float, int, int, Node]]


class Dispatcher(Generic[Job, Output]):
    """Drives a graph of tasks over a pool of workers.

    `near` is how much shorter a chain may be (as a part of the longest) for its task to be taken
    first by the worker that did what it continues.
    """

    def __init__(
        self,
        pool: Pool[Job, Output],
        resolve: Callable[[str], Awaitable[Reuse[Output] | Do[Job]]],
        *,
        caps: Caps = Caps(),  # noqa: B008 - frozen
        watch: Callable[[object], None] = lambda event: None,
        near: float = 0.05,
    ) -> None:
        self._pool = pool
        self._resolve = resolve
        self._caps = caps
        self._watch = watch
        self._near = near
        self._graph = TaskGraph()
        self._jobs: dict[str, Job] = {}
        self._workers = Roster()
        self._ready: _Heap = []
        self._ready_for: defaultdict[str, _Heap] = defaultdict(list)
        self._entries = 0
        self._queued = 0
        self._unsettled = 0
        self._resolving: list[float] = []  # negative ranks, sorted
        self._asked = False
        self._asking = False
        self._pending: set[asyncio.Task[None]] = set()
        self._over: asyncio.Future[None] | None = None
        self._draining = False
        self._why_not: BaseException | None = None
        self.outcome: Outcome[Output] = Outcome()

    def add(self, tasks: Iterable[Task]) -> None:
        """Add tasks, before or while running. Raises ValueError for cycles and unknown needs."""
        added = self._graph.add(tasks)
        self._unsettled += sum(node.state == "waiting" for node in added)
        if self._over is not None:
            self._prepare(added)

    def hire(self, worker: str) -> None:
        """Allow one more worker than the pool named; it is started when there is work for it."""
        self._workers.add(worker)
        self._pump()

    def dismiss(self, worker: str) -> None:
        """Let a worker go once it has finished what it is doing."""
        leaver = self._workers.named(worker)
        leaver.leaving = True
        self._release(leaver)
        self._pump()

    def drain(self) -> None:
        """Begin nothing new; `run` ends when what is being done is done."""
        self._draining = True
        self._pump()

    def busy(self) -> tuple[tuple[str, str], ...]:
        """The working workers, each with its task."""
        return tuple((w.name, w.doing.task.id) for w in self._workers.all("busy") if w.doing)

    async def run(self) -> Outcome[Output]:
        """Do everything that can be done. Cancelling it kills the busy workers."""
        self._over = asyncio.get_running_loop().create_future()
        try:
            self._prepare(self._graph.nodes())
            self._pump()
            await self._over
        finally:
            unfinished = tuple(self._pending)
            for pending in unfinished:
                pending.cancel()
            if unfinished:
                await asyncio.gather(*unfinished, return_exceptions=True)
                for worker in (*self._workers.all("busy"), *self._workers.all("starting")):
                    await self._pool.kill(worker.name)
                    self._workers.move(worker, "cold")
        self.outcome.complete = self._unsettled == 0 and not self.outcome.failures
        return self.outcome

    # Everything below runs on the event loop; every change of state ends in `_pump`.

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._pending.add(task)
        task.add_done_callback(self._reap)

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._pending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            assert self._over is not None
            if not self._over.done():
                self._over.set_exception(error)

    def _prepare(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if node.state == "waiting" and node.missing == 0:
                self._settle_input(node)

    def _settle_input(self, node: Node) -> None:
        if self._draining:
            return
        node.state = "resolving"
        insort(self._resolving, -node.rank)
        self._spawn(self._find(node))

    async def _find(self, node: Node) -> None:
        try:
            answer = await self._resolve(node.task.id)
        except Exception as error:
            self._resolved(node)
            if judge(error, self._caps).verdict is Verdict.FAIL:
                self._fail(node, error)
            else:
                self._abort(error)
        else:
            self._resolved(node)
            if isinstance(answer, Reuse):
                self._finish(node, answer.output, None, 0.0)
            else:
                self._jobs[node.task.id] = answer.job
                self._enqueue(node)
        self._pump()

    def _resolved(self, node: Node) -> None:
        del self._resolving[bisect_left(self._resolving, -node.rank)]

    def _enqueue(self, node: Node) -> None:
        node.state = "ready"
        self._queued += 1
        self._entries += 1
        entry = (-node.rank, node.number, self._entries, node)
        heapq.heappush(self._ready, entry)
        if node.last_worker is not None:
            heapq.heappush(self._ready_for[node.last_worker], entry)

    def _pump(self) -> None:
        if self._over is None or self._over.done():
            return
        if not self._draining:
            self._assign()
            self._start_workers()
        waiting = self._queued and not self._draining
        if self._workers.count("busy") or self._resolving or self._asking:
            return
        if waiting and self._workers.count("starting"):
            return
        if waiting:
            why = self._why_not or WorkerDied("all workers were dismissed")
            self._abort(why if isinstance(why, StoryflowError) else _all_died(why))
        self._over.set_result(None)

    async def _ask(self) -> None:
        try:
            names = await self._pool.workers()
        except StoryflowError as error:
            self._abort(error)
            names = ()
        self._asking = False
        for name in names:
            self._workers.add(name)
        self._pump()

    def _release(self, worker: Worker) -> None:
        """Let a leaving worker go if it is free; otherwise it goes when it becomes so."""
        if worker.state == "idle":
            self._spawn(self._pool.kill(worker.name))
        if worker.state in ("cold", "idle"):
            self._workers.move(worker, "gone")

    def _free(self, worker: Worker) -> None:
        self._workers.move(worker, "idle")
        if worker.leaving:
            self._release(worker)

    def _assign(self) -> None:
        while (idle := self._workers.count("idle")) and (head := _peek(self._ready)) is not None:
            # A worker is kept for each task that is about to be ready and comes before this one.
            if bisect_left(self._resolving, -head.rank) >= idle:
                return
            worker = self._workers.first("idle", head.last_worker)
            node = head
            if head.last_worker != worker.name:
                own = _peek(self._ready_for[worker.name])
                if own is not None and own.rank >= head.rank * (1 - self._near):
                    node = own
            node.state = "running"
            self._queued -= 1
            self._workers.move(worker, "busy", node)
            self._spawn(self._do(worker, node))

    def _start_workers(self) -> None:
        if self._queued and not self._asked:
            self._asked = self._asking = True
            self._spawn(self._ask())
        wanted = self._queued - self._workers.count("starting")
        while wanted > 0 and self._workers.count("cold"):
            worker = self._workers.first("cold")
            self._workers.move(worker, "starting")
            self._spawn(self._start(worker))
            wanted -= 1

    async def _start(self, worker: Worker) -> None:
        began = self._now()
        try:
            numerics = await self._pool.start(worker.name)
        except Exception as error:
            self._charge(began)
            await self._lose(worker, error)
            if isinstance(error, StoryflowError):
                # It would end the same way again; others may have better luck.
                self._workers.move(worker, "gone")
        else:
            self._charge(began)
            self._watch(WorkerUp(worker.name, numerics))
            self._free(worker)
        self._pump()

    async def _do(self, worker: Worker, node: Node) -> None:
        node.attempts += 1
        self._watch(TaskStarted(node.task.id, worker.name, node.attempts))
        began = self._now()
        try:
            output = await self._pool.submit(worker.name, self._jobs[node.task.id], node.attempts)
        except Exception as error:
            self._charge(began)
            await self._trouble(worker, node, error)
        else:
            seconds = self._charge(began)
            self.outcome.useful_seconds += seconds
            self._free(worker)
            self._finish(node, output, worker.name, seconds)
        self._pump()

    async def _trouble(self, worker: Worker, node: Node, error: Exception) -> None:
        judgement = judge(error, self._caps)
        if judgement.verdict is Verdict.REPLACE:
            await self._lose(worker, error)
        else:
            self._free(worker)
        if judgement.verdict is Verdict.ABORT:
            self._enqueue(node)
            self._abort(error)
        elif judgement.verdict is Verdict.FAIL:
            self._fail(node, error)
        elif node.attempts >= judgement.attempts:
            times = "once" if node.attempts == 1 else f"{node.attempts} times"
            wrapped = SegmentError(f"failed {times}, last with {_describe(error)}")
            wrapped.__cause__ = error
            self._fail(node, wrapped)
        else:
            self._watch(TaskRetried(node.task.id, worker.name, node.attempts, error))
            self._enqueue(node)

    async def _lose(self, worker: Worker, error: Exception) -> None:
        self._watch(
            WorkerDown(worker.name, worker.doing.task.id if worker.doing else None, str(error))
        )
        self._why_not = error
        worker.deaths += 1
        await self._pool.kill(worker.name)
        over = worker.leaving or worker.deaths > self._caps.worker
        self._workers.move(worker, "gone" if over else "cold")

    def _finish(self, node: Node, output: Output, worker: str | None, seconds: float) -> None:
        node.state = "done"
        self._unsettled -= 1
        self._jobs.pop(node.task.id, None)
        self.outcome.outputs[node.task.id] = output
        self._watch(TaskDone(node.task.id, output, worker, seconds))
        for child in node.children:
            child.missing -= 1
            if worker is not None:
                child.last_worker = worker
            if child.missing == 0 and child.state == "waiting":
                self._settle_input(child)

    def _fail(self, node: Node, error: BaseException) -> None:
        blocked = self._graph.descendants(node)
        for lost in (node, *blocked):
            lost.state = "failed"
            self._unsettled -= 1
            self._jobs.pop(lost.task.id, None)
        failure = TaskFailed(node.task.id, error, tuple(n.task.id for n in blocked))
        self.outcome.failures.append(failure)
        self._watch(failure)

    def _abort(self, error: BaseException) -> None:
        self._draining = True
        self.outcome.error = self.outcome.error or error

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _charge(self, began: float) -> float:
        seconds = self._now() - began
        self.outcome.worker_seconds += seconds
        return seconds


def _peek(heap: _Heap) -> Node | None:
    # A node may stand in two heaps; what is no longer ready was taken from the other one.
    while heap and heap[0][-1].state != "ready":
        heapq.heappop(heap)
    return heap[0][-1] if heap else None


def _describe(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, WorkerDied):
        return f"a dead worker ({text})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _all_died(why: BaseException) -> FarmError:
    error = FarmError(
        f"no worker is left; the last one was lost with {_describe(why)}",
        cure="look at the worker's log, then run the same command again",
    )
    error.__cause__ = why
    return error
