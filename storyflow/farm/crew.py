"""The workers' lives: when one is started, replaced, let go. What they do is the dispatcher's."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Generic

from storyflow.errors import FarmError, StoryflowError
from storyflow.farm.account import Account
from storyflow.farm.background import Background
from storyflow.farm.borders import (
    Job,
    MachineLeft,
    Output,
    Pool,
    WorkerDown,
    WorkerRested,
    WorkerUp,
)
from storyflow.farm.graph import Node
from storyflow.farm.retries import Caps, WorkerDied, describe
from storyflow.farm.roster import Roster, Worker


class Crew(Generic[Job, Output]):
    """Keeps the roster of a pool. `changed` is called when a worker is free, or fewer are left.

    Every second that a worker is held goes to the account of the film that it was started for or
    worked for last.
    """

    def __init__(
        self,
        pool: Pool[Job, Output],
        caps: Caps,
        idle: float,
        background: Background,
        account: Callable[[int], Account],
        tell: Callable[[object], None],
        changed: Callable[[], None],
    ) -> None:
        self.roster = Roster()
        self.asking = False
        self.why_not: BaseException | None = None
        self._pool, self._caps, self._idle = pool, caps, idle
        self._background, self._account = background, account
        self._tell, self._changed = tell, changed
        self._limit: int | None = None
        self._asked = False
        self._sweeper: asyncio.TimerHandle | None = None
        self._blamed: defaultdict[str, set[str]] = defaultdict(set)
        self._machines: set[str] = set()
        self._avoid: frozenset[str] = frozenset()

    def hire(self, name: str) -> None:
        """Allow one more worker than the pool named."""
        self.roster.add(name)

    def dismiss(self, name: str) -> None:
        """Let a worker go once it has finished what it is doing. Raises KeyError."""
        worker = self.roster.named(name)
        worker.leaving = True
        if worker.state == "cold":
            self._move(worker, "gone")
        elif worker.state == "idle":
            self._release(worker)

    def limit(self, workers: int | None) -> None:
        """Hold at most so many; those over it go as they become free."""
        self._limit = workers
        while self._over() and self.roster.count("idle"):
            self._release(self.roster.first("idle"))

    def rest(self) -> None:
        """Let all idle workers go now."""
        for worker in self.roster.all("idle"):
            self._release(worker)

    @property
    def hopeless(self) -> bool:
        """Whether there is no worker and never will be one."""
        living = self._held() + self.roster.count("cold") + self.roster.count("ending")
        return self._asked and not self.asking and not living

    def want(self, number: int, payer: Callable[[], int | None]) -> None:
        """Start workers until so many are on their way. `payer` names the film that each is for,
        None while none can pay for it."""
        if number and not self._asked:
            self._asked = self.asking = True
            self._background.start(self._ask())
        number -= self.roster.count("starting")
        while number > 0 and self.roster.count("cold") and not self._full():
            film = payer()
            if film is None:
                return
            worker = self.roster.first("cold")
            worker.film = film
            self._move(worker, "starting")
            expected = self._account(film).loading.expect(1.0)
            self._account(film).begin(expected)
            self._background.start(self._start(worker, expected))
            number -= 1

    def begin(self, worker: Worker, node: Node) -> None:
        """A free worker is given a task."""
        self.charge_idle(worker)
        worker.film = node.film
        self._move(worker, "busy", node)

    def charge_idle(self, worker: Worker) -> None:
        """Charge the time for which an idle worker was held till now."""
        if worker.state == "idle":
            self._account(worker.film).used += self._now() - worker.since
            worker.since = self._now()

    def free(self, worker: Worker, life: int) -> None:
        """A worker has ended its task; it may have been lost meanwhile."""
        if worker.life != life:
            return
        self._move(worker, "idle")
        if worker.leaving or self._over():
            self._release(worker)
        elif self._sweeper is None:
            self._sleep()

    def praise(self, worker: Worker) -> None:
        """A worker finished a task: what died before was bad luck."""
        worker.deaths = 0
        self._blamed.pop(worker.machine, None)

    async def lose(self, worker: Worker, life: int, error: Exception, task: str | None) -> None:
        """A worker is dead, or has to be. Harmless the second time.

        What hangs on it is the caller's: `changed` is not called.
        """
        if worker.life != life:
            return
        worker.life += 1
        self._tell(WorkerDown(worker.name, task, str(error)))
        self.why_not = error
        worker.deaths += 1
        self._blame(worker.machine, task or f"loading {worker.name} {life}")
        # Out of reach at once: a worker that died while it stored was idle, and would be given the
        # next task while it is being ended.
        self._move(worker, "starting")
        await self._pool.kill(worker.name)
        over = worker.leaving or worker.deaths > self._caps.worker
        self._move(worker, "gone" if over else "cold")

    def nobody(self) -> FarmError | StoryflowError:
        """Why work is left and no worker to do it."""
        why = self.why_not or WorkerDied("all workers were dismissed")
        if isinstance(why, StoryflowError):
            return why
        error = FarmError(
            f"no worker is left; the last one was lost with {describe(why)}",
            cure="look at the worker's log, then run the same command again",
        )
        error.__cause__ = why
        return error

    async def stop(self) -> None:
        """Kill the workers that are doing something."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for worker in self.roster.all("busy", "starting"):
            await self._pool.kill(worker.name)
            self._move(worker, "cold")

    async def _ask(self) -> None:
        try:
            names = await self._pool.workers()
        except StoryflowError as error:
            self.why_not = error
            names = ()
        self.asking = False
        for name in names:
            self.roster.add(name)
        self._changed()

    async def _start(self, worker: Worker, expected: float | None) -> None:
        account, life, began = self._account(worker.film), worker.life, self._now()
        try:
            started = await self._pool.start(worker.name, self._avoid)
        except Exception as error:
            account.end(expected, self._now() - began)
            await self.lose(worker, life, error, None)
            if isinstance(error, StoryflowError):
                # It would end the same way again; others may have better luck.
                self._move(worker, "gone")
        else:
            account.end(expected, started.seconds)
            account.loading.learn(1.0, started.seconds)
            worker.machine = started.machine
            self._machines.add(started.machine)
            self._tell(WorkerUp(worker.name, started.numerics))
            self.free(worker, life)
        self._changed()

    def _blame(self, machine: str, task: str) -> None:
        # A task that kills every worker is no machine's fault: it counts once.
        self._blamed[machine].add(task)
        deaths = len(self._blamed[machine])
        others = self._machines - self._avoid - {machine}
        if deaths >= self._caps.machine and machine not in self._avoid and others:
            self._avoid |= {machine}
            self._tell(MachineLeft(machine, deaths))

    def _release(self, worker: Worker) -> None:
        self.charge_idle(worker)
        worker.life += 1
        self._move(worker, "ending")
        self._tell(WorkerRested(worker.name))
        self._background.start(self._end(worker))

    async def _end(self, worker: Worker) -> None:
        await self._pool.release(worker.name)
        self._move(worker, "gone" if worker.leaving else "cold")
        self._changed()

    def _sleep(self) -> None:
        when = self.roster.first("idle").since + self._idle
        self._sweeper = asyncio.get_running_loop().call_at(when, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        while self.roster.count("idle"):
            worker = self.roster.first("idle")
            if worker.since + self._idle > self._now():
                self._sleep()
                return
            self._release(worker)

    def _full(self) -> bool:
        return self._limit is not None and self._held() >= self._limit

    def _over(self) -> bool:
        return self._limit is not None and self._held() > self._limit

    def _held(self) -> int:
        roster = self.roster
        return roster.count("starting") + roster.count("idle") + roster.count("busy")

    def _move(self, worker: Worker, state: object, doing: Node | None = None) -> None:
        self.roster.move(worker, state, self._now(), doing)  # type: ignore[arg-type]

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
