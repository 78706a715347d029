"""The dispatcher: who does what, when. Pure asyncio; knows no Ray, store or torch.

    async with Dispatcher(pool, caps=Caps()) as dispatcher:
        film = dispatcher.share(resolve, watch=print)
        film.add(tasks)
        outcome = await film.done()

A task becomes *ready* when what it needs is known. Then `resolve` says what it comes to: an output
that exists already, or a job. `policy` says which job comes next and on which worker, `Crew` which
workers there are, `retries` what a failure costs, `Share` what becomes of a film's tasks; here they
are brought together. Each worker has one job in flight; while its last output is being stored it
may begin the next one.

Films may come at any time and share the workers. All time comes from the event loop's clock: on a
loop with a virtual clock the same code is a simulator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, cast

from storyflow.errors import BudgetError, StoreError
from storyflow.farm.account import Account, Limit, Short, Wait
from storyflow.farm.background import Background
from storyflow.farm.borders import Job, OtherOutput, Output, Pool, TaskRetried, TaskStarted
from storyflow.farm.crew import Crew
from storyflow.farm.graph import Node
from storyflow.farm.policy import Queue
from storyflow.farm.retries import Caps, Verdict, WorkerDied, given_up, judge
from storyflow.farm.roster import Worker
from storyflow.farm.share import Resolve, Share

IDLE_SECONDS = 60.0
"""After so long without work a worker is let go."""

STORING_SECONDS = 1800.0
"""A store that takes longer than this for one output is broken."""


class Dispatcher(Generic[Job, Output]):
    """Drives graphs of tasks over a pool of workers; leaving the `async with` block stops at once.

    `near` is how much shorter a chain may be (as a part of the longest) for its task to be taken
    first by the worker that did what it continues. `watch` is told of workers.
    """

    def __init__(
        self,
        pool: Pool[Job, Output],
        *,
        caps: Caps = Caps(),  # noqa: B008 - frozen
        watch: Callable[[object], None] = lambda event: None,
        near: float = 0.05,
        idle: float = IDLE_SECONDS,
    ) -> None:
        self._pool, self._caps = pool, caps
        self._background = Background(self._broken)
        self._queue = Queue(near)
        self._shares: dict[int, Share[Job, Output]] = {}
        self._accounts: list[Account] = []
        self._crew: Crew[Job, Output] = Crew(
            pool, caps, idle, self._background, self._accounts.__getitem__, watch, self._pump
        )
        self._open = True

    async def __aenter__(self) -> Dispatcher[Job, Output]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give up what is under way and kill its workers."""
        self._open = False
        await self._background.stop()
        await self._crew.stop()

    def share(
        self,
        resolve: Resolve[Output, Job],
        *,
        watch: Callable[[object], None] = lambda event: None,
        weight: float = 1.0,
        limit: Limit | None = None,
    ) -> Share[Job, Output]:
        """A further film. Films with work get workers in proportion to their weights; `limit`
        bounds the worker-seconds of this one."""
        film = len(self._accounts)
        self._accounts.append(Account(limit))
        share: Share[Job, Output] = Share(
            film,
            resolve,
            watch,
            self._accounts[film],
            self._queue,
            weight,
            self._find,
            self._pump,
        )
        self._shares[film] = share
        return share

    def hire(self, worker: str) -> None:
        """Allow one more worker than the pool named; it is started when there is work for it."""
        self._crew.hire(worker)
        self._pump()

    def dismiss(self, worker: str) -> None:
        """Let a worker go once it has finished what it is doing."""
        self._crew.dismiss(worker)
        self._pump()

    def limit(self, workers: int | None) -> None:
        """Hold at most so many workers; those over it go when they have finished their tasks."""
        self._crew.limit(workers)
        self._pump()

    def busy(self) -> tuple[tuple[str, int, int, str], ...]:
        """The working workers, each with its film's number, its attempt and its task."""
        working = ((w.name, w.doing) for w in self._crew.roster.all("busy"))
        return tuple((name, n.film, n.attempts, n.task.id) for name, n in working if n)

    def wanted(self) -> int:
        """Workers that have something to do, or would have if they were there."""
        return self._crew.roster.count("busy") + self._queue.waiting

    def give_up(self, worker: str, error: Exception) -> None:
        """Take a working worker for dead: `error` is what its task fails with."""
        held = self._crew.roster.named(worker)
        if held.state == "busy" and held.working is not None and held.stuck is None:
            held.stuck = error
            held.working.cancel()

    # Everything below runs on the event loop; every change of state ends in `_pump`.

    def _broken(self, error: BaseException) -> None:
        for share in self._shares.values():
            if not share.over.done():
                share.over.set_exception(error)

    def _pump(self) -> None:
        if not self._open:
            return
        while (found := self._queue.pick(self._crew.roster, self._afford)) is not None:
            self._begin(*found)
        self._crew.want(self._queue.waiting, self._payer)
        for share in tuple(self._shares.values()):
            self._conclude(share)

    def _begin(self, node: Node, worker: Worker) -> None:
        share = self._shares[node.film]
        units = node.task.weight
        expected = share.account.working.expect(units)
        share.account.begin(expected)
        share.underway += 1
        self._queue.began(node.film, units if expected is None else expected)
        node.state = "running"
        node.attempts += 1
        self._crew.begin(worker, node)
        self._background.start(self._do(worker, node, expected))

    def _find(self, share: Share[Job, Output], node: Node) -> None:
        self._background.start(self._resolve(share, node))

    async def _resolve(self, share: Share[Job, Output], node: Node) -> None:
        try:
            answer = await share.resolve(node.task.id)
        except Exception as error:
            share.line.known(node)
            if judge(error, self._caps).verdict is Verdict.FAIL:
                share.fail(node, error)
            else:
                share.abort(error)
        else:
            share.resolved(node, answer)
        self._pump()

    def _afford(self, node: Node) -> None:
        share = self._shares[node.film]
        if share.draining:
            raise Wait
        try:
            share.account.afford(share.account.working.expect(node.task.weight))
        except Short:
            if len(self._shares) == 1:
                self._crew.rest()  # waiting costs, too
            raise
        except BudgetError as error:
            share.abort(error)
            raise Wait from None

    def _payer(self) -> int | None:
        """Whose turn it is to have a worker started, and can pay for loading it."""
        for film in self._queue.turns():
            share = self._shares[film]
            if share.draining:
                continue
            try:
                share.account.afford_worker()
                return film
            except Wait:
                continue
            except BudgetError as error:
                share.abort(error)
        return None

    def _conclude(self, share: Share[Job, Output]) -> None:
        """End a share if nothing of it is left to do, or nothing can be done."""
        if share.underway or share.line.looking or share.over.done():
            return
        if share.unsettled and not share.draining:
            if not self._crew.hopeless:
                return
            share.abort(self._crew.nobody())
        for worker in self._crew.roster.all("idle"):
            if worker.film == share.film:
                self._crew.charge_idle(worker)
        del self._shares[share.film]
        share.conclude()

    async def _do(self, worker: Worker, node: Node, expected: float | None) -> None:
        share, life = self._shares[node.film], worker.life
        account, units = share.account, node.task.weight
        worker.working = asyncio.current_task()
        share.watch(TaskStarted(node.task.id, worker.name, node.attempts))
        began = self._now()
        error: Exception | None = None
        try:
            job = share.jobs[node.task.id]
            output = await self._pool.submit(worker.name, job, node.attempts)
        except Exception as caught:
            error = caught
        except asyncio.CancelledError:
            if worker.stuck is None:
                raise
            error = worker.stuck
        if worker.working is asyncio.current_task():
            worker.stuck = worker.working = None
        seconds = self._now() - began
        account.end(expected, seconds)
        self._queue.ended(node.film, seconds - (units if expected is None else expected))
        if error is not None:
            if isinstance(error, WorkerDied) and worker.machine:
                node.deadly |= {worker.machine}
            await self._trouble(share, worker, life, node, error)
        else:
            account.useful += seconds
            account.working.learn(units, seconds)
            self._crew.praise(worker)
            self._crew.free(worker, life)
            storing = self._pool.settle(worker.name, output)
            if storing is None:
                share.stored(node, output, worker.name, seconds)
            else:
                await self._store(share, worker, life, node, output, storing, seconds)
        share.underway -= 1
        self._pump()

    async def _store(
        self,
        share: Share[Job, Output],
        worker: Worker,
        life: int,
        node: Node,
        output: Output,
        storing: Awaitable[Output],
        seconds: float,
    ) -> None:
        """Wait until an output is stored; meanwhile what continues it may begin."""
        if node.state == "running":
            share.promise(node, output, worker.name)
        self._pump()
        try:
            async with asyncio.timeout(STORING_SECONDS):
                output = await storing
        except TimeoutError:
            error: Exception = StoreError(
                f"{worker.name} could not store {node.task.id} in {STORING_SECONDS:.0f} s",
                cure="look at the store's disk or network, then run the same command again",
            )
        except OtherOutput as other:
            share.retract(node)
            share.stored(node, cast(Output, other.output), worker.name, seconds)
            return
        except Exception as caught:
            error = caught
        else:
            share.stored(node, output, worker.name, seconds)
            return
        share.account.useful -= seconds
        share.retract(node)
        if isinstance(error, WorkerDied):
            # What the worker did next may have killed it: that is not this task's fault.
            node.attempts -= 1
            node.alone = True
        await self._trouble(share, worker, life, node, error)

    async def _trouble(
        self, share: Share[Job, Output], worker: Worker, life: int, node: Node, error: Exception
    ) -> None:
        judgement = judge(error, self._caps)
        if judgement.verdict is Verdict.REPLACE:
            await self._crew.lose(worker, life, error, (worker.doing or node).task.id)
        elif worker.doing is node:
            self._crew.free(worker, life)
        if node.state == "failed":
            return
        if judgement.verdict is Verdict.ABORT:
            share.again(node)
            share.abort(error)
        elif judgement.verdict is Verdict.FAIL:
            share.fail(node, error)
        elif node.attempts >= judgement.attempts:
            share.fail(node, given_up(error, node.attempts))
        else:
            share.watch(TaskRetried(node.task.id, worker.name, node.attempts, error))
            share.again(node)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
