"""The floor: a farm's workers at work on the stages of one film, or of several at once.

A film alone has workers for each of its stages, which go when that ends. Films in company share
them: the workers of a role stay as long as any film has a stage for them, or until the floor is
closed, and turn to the next film with the model still loaded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from storyflow.errors import Cancelled
from storyflow.events import Notice, Step
from storyflow.farm.account import Limit
from storyflow.farm.borders import Outcome, WorkerDown
from storyflow.farm.dispatch import Dispatcher
from storyflow.farm.jobs import Job, Rendered, Role
from storyflow.farm.oneclass import Hold
from storyflow.farm.pools import Farm
from storyflow.farm.progress import following
from storyflow.farm.sharing import sharing
from storyflow.farm.stages import Prompts, Segments
from storyflow.farm.terms import Terms
from storyflow.farm.verified import VerifiedPool
from storyflow.store.store import Store

Stage = Prompts | Segments


class Floor(Protocol):
    """Where the stages of films are worked on."""

    @property
    def farm(self) -> Farm:
        """Whose workers there are."""

    async def work(self, stage: Stage) -> Outcome:
        """Bring a stage to its end. Raises what stopped it, Cancelled when it is drained before
        all is done, BudgetError when a limit of its film's terms is reached."""


@dataclass(frozen=True)
class Alone:
    """A floor for one film."""

    farm: Farm

    async def work(self, stage: Stage) -> Outcome:
        """Like `Floor`; the stage's workers go when it ends."""
        film = stage.film
        hold = None if film.one_class is None else film.one_class.of(stage.role)
        async with _bench(self.farm, stage, hold) as bench:
            return await bench.work(stage)


class Shared:
    """A floor for several films with one profile, at once and one after the other.

    The text encoder's workers go when no film has prompts to encode, so that the renderers find
    room; the renderers stay until the floor is closed.
    """

    def __init__(self, farm: Farm, store: Store) -> None:
        self.farm, self._store = farm, store
        self._benches: dict[Role, tuple[Bench, AsyncExitStack]] = {}
        self._users: dict[Role, int] = {}

    async def work(self, stage: Stage) -> Outcome:
        """Like `Floor`, beside whatever else is worked on."""
        role = stage.role
        self._users[role] = self._users.get(role, 0) + 1
        try:
            bench = await self._bench(stage)
            return await bench.work(stage)
        finally:
            self._users[role] -= 1
            if role == "prompt" and not self._users[role]:
                await self._leave(role)

    async def close(self) -> None:
        """Let all workers go."""
        for role in tuple(self._benches):
            await self._leave(role)

    async def _bench(self, stage: Stage) -> Bench:
        # Nothing is awaited that could let another film open the same bench meanwhile: entering
        # starts background tasks, and workers come when there is work.
        if stage.role not in self._benches:
            stack = AsyncExitStack()
            bench = await stack.enter_async_context(_bench(self.farm, stage, None))
            self._benches[stage.role] = bench, stack
        return self._benches[stage.role][0]

    async def _leave(self, role: Role) -> None:
        if role in self._benches:
            _, stack = self._benches.pop(role)
            await stack.aclose()


class Bench:
    """The workers of one role, and the stages that they work on, by the films' numbers."""

    def __init__(self, pool: VerifiedPool, stages: dict[int, Stage]) -> None:
        self.pool = pool
        self.dispatcher: Dispatcher[Job, Rendered]
        self._stages = stages
        self._opened = False

    async def work(self, stage: Stage) -> Outcome:
        """See `Floor`."""
        film, pool = stage.film, self.pool
        terms = film.terms
        share = self.dispatcher.share(stage.resolve, watch=stage.watch, weight=terms.weight)
        # The purse outlives the film, and needs no more of it than its account.
        account = share.account
        used = terms.purse.open(lambda: account.committed * pool.gpus)
        account.limit = _limit(terms, film.gpu_seconds, used, lambda: pool.gpus)
        self._stages[share.film] = stage
        share.add(stage.tasks())
        try:
            with terms.draining.told(share.drain):
                outcome = await share.done()
        except BaseException:
            # The workers may be others' too: they go on.
            share.drain()
            raise
        finally:
            del self._stages[share.film]
        if outcome.error is not None:
            raise outcome.error
        if terms.draining.wished and share.unsettled:
            raise Cancelled("the run was stopped between two segments")
        film.gpus = max(film.gpus, pool.gpus)
        film.gpu_seconds += outcome.worker_seconds * pool.gpus
        if not self._opened:
            self._opened = True
            film.starting.add(pool.opening, pool.seating)
        return outcome

    def name(self, film: int, task: str) -> str:
        """What the job of a film's task is called."""
        return self._stages[film].name(task) if film in self._stages else ""

    def step(self, film: int, step: Step) -> None:
        """A film's job got on."""
        if film in self._stages:
            self._stages[film].film.emit(step)

    def watch(self, event: object) -> None:
        """What concerns the workers concerns every film that is worked on."""
        for stage in tuple(self._stages.values()):
            if isinstance(event, WorkerDown) and event.task and not stage.knows(event.task):
                stage.watch(replace(event, task=None))
            else:
                stage.watch(event)


@asynccontextmanager
async def _bench(farm: Farm, first: Stage, hold: Hold | None) -> AsyncIterator[Bench]:
    """Workers for the role of this stage, which is the first that they work on."""
    film = first.film
    stages: dict[int, Stage] = {}

    def notify(text: str) -> None:
        for stage in tuple(stages.values()) or (first,):
            stage.film.emit(Notice(text))

    workers = farm.pool(first.role, notify)
    pool = VerifiedPool(workers, film.store, film.stored, hold, film.terms.budget)
    bench = Bench(pool, stages)
    try:
        async with (
            Dispatcher[Job, Rendered](
                pool, caps=farm.caps, watch=bench.watch, idle=farm.idle
            ) as dispatcher,
            following(
                dispatcher, pool.progress, bench.name, bench.step, film.terms.poll, farm.patience
            ),
            sharing(dispatcher, pool.allowance),
        ):
            bench.dispatcher = dispatcher
            yield bench
    finally:
        await pool.close()


def _limit(
    terms: Terms, before: float, used: Callable[[], float], gpus: Callable[[], float]
) -> Limit | None:
    budget, purse = terms.budget, terms.purse
    if not (budget.bounded or purse.bounded):
        return None

    def refuse(seconds: float) -> None:
        budget.refuse(before + seconds * gpus(), "going on")
        purse.refuse(seconds * gpus() - used())

    return refuse
