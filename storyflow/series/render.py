"""Rendering a series: every episode that isn't done, on shared workers, within its night.

A call holds the series in its store; another call meanwhile ends at once. It goes in three steps,
so that each kind of model is loaded once: a language model writes the words that are missing, the
text encoder encodes the prompts, and the renderers render, several episodes at a time. Whatever
stops an episode stops no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from storyflow.budget import Budget, Purse
from storyflow.claim import claimed_run
from storyflow.draining import Draining
from storyflow.errors import BudgetError, BusyError, Cancelled, InputError, StoryflowError
from storyflow.events import Event, Notice, Result, SegmentDone, ShotFailed
from storyflow.farm.address import open_farm
from storyflow.farm.floor import Shared
from storyflow.farm.held import Held, Since
from storyflow.farm.language import KeptWriters, ProfileWriters
from storyflow.farm.render import encode_prompts
from storyflow.farm.terms import Terms
from storyflow.film import Company, Order, prepare, render_film
from storyflow.poison import FAILED, Poison
from storyflow.series.ledger import EpisodeRow, Ledger, Outcome, SegmentRow, now
from storyflow.series.night import Night, night_of
from storyflow.series.orders import Grounds, fingerprint
from storyflow.series.plan import Prepared, prepared_episodes, retries
from storyflow.store.store import Store
from storyflow.wording import write_words

Tell = Callable[[str, Event], None]
"""Hears an episode's name and what happens to it."""

Clock = Callable[[], datetime]

_CODES: dict[str, int] = {
    "failed": 5, "stopped": 130, "budget": 4, "window": 4, "partial": 3, "broken": 3,
}  # fmt: skip
"""Exit codes, the worst ending first; of all others 0."""


@dataclass(frozen=True)
class EpisodeResult:
    """How one episode ended. `error` says why, where it isn't complete.

    `outcome` is done where nothing was to do; else see the ledger.
    """

    name: str
    outcome: Outcome | str
    rendered: int = 0
    reused: int = 0
    gpu_seconds: float = 0.0
    money: float | None = None
    film: Path | None = None
    failures: tuple[ShotFailed, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class SeriesResult:
    """How a call ended. `outcome`: complete; busy, where another call is at it; closed, outside of
    the window; else the worst ending of an episode. `gpu_seconds` is all that was held."""

    title: str
    night: str
    outcome: str
    episodes: tuple[EpisodeResult, ...] = ()
    gpu_seconds: float = 0.0
    money: float | None = None
    error: str = ""

    @property
    def exit_code(self) -> int:
        """0 for complete, busy and closed; 3 partial or broken, 4 budget or window, 5 failed."""
        return _CODES.get(self.outcome, 0)


async def render_series(
    grounds: Grounds,
    tell: Tell,
    draining: Draining | None = None,
    clock: Clock = lambda: datetime.now(UTC),
) -> SeriesResult:
    """Render what isn't done, until the night's budget or window ends or `draining` is wished.

    Raises InputError for the series file, StoreError and InfrastructureError where store or ledger
    can't be used; what becomes of an episode is in the result.
    """
    title, night = grounds.series.series, night_of(grounds.series.rules, clock())
    date = night.date.isoformat()
    if not night.open:
        opens = "" if night.next is None else night.next.isoformat(timespec="minutes")
        return SeriesResult(title, date, "closed", error=f"the window opens at {opens}")
    store = Store(grounds.store, grounds.cluster.cache.limit)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(claimed_run(store, grounds.claim))
        except BusyError as error:
            return SeriesResult(title, date, "busy", error=error.what)
        ledger = stack.enter_context(Ledger.writing(grounds.ledger))
        call = _Call(grounds, ledger, night, tell, draining or Draining(), store)
        return await call.render(clock())


@dataclass
class _Standing:
    """What is known of an episode while a call goes on."""

    prepared: Prepared
    result: EpisodeResult | None = None
    used: float = 0.0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return self.prepared.listed.name

    @property
    def order(self) -> Order:
        assert self.prepared.order is not None
        return self.prepared.order

    def end(self, result: EpisodeResult) -> None:
        self.result = result
        self.over.set()


class _Call:
    def __init__(
        self,
        grounds: Grounds,
        ledger: Ledger,
        night: Night,
        tell: Tell,
        draining: Draining,
        store: Store,
    ) -> None:
        self.grounds, self.ledger, self.tell = grounds, ledger, tell
        self.night, self.date = night, night.date.isoformat()
        self.draining, self.store = draining, store
        self.title = grounds.series.series
        used = ledger.night_seconds(self.title, self.date)
        self.purse = Purse(grounds.night, used)
        self.run = 0
        self.closed = False

    async def render(self, moment: datetime) -> SeriesResult:
        again = retries(self.grounds, self.ledger, self.night)
        every = await asyncio.to_thread(lambda: list(prepared_episodes(self.grounds, self.night)))
        standing = {each.listed.name: _Standing(each) for each in every}
        due = [s for s in standing.values() if s.prepared.row.state in ("render", "cut")]
        for each in standing.values():
            if each not in due:
                row = each.prepared.row
                outcome = "partial" if row.state == "failed" else row.state
                each.end(EpisodeResult(each.name, outcome, error=row.error))
        if due:
            await self._recorded(due, standing, again, moment)
        results = tuple(each.result for each in standing.values() if each.result is not None)
        seconds = self.purse.used
        return SeriesResult(
            self.title,
            self.date,
            _worst(results),
            results,
            seconds,
            self.purse.budget.cost(seconds),
        )

    async def _recorded(
        self,
        due: list[_Standing],
        standing: dict[str, _Standing],
        again: bool,
        moment: datetime,
    ) -> None:
        self.run = self.ledger.begin_run(self.title, self.date, self.purse.budget.currency)
        outcome, error = "failed", ""
        try:
            with self._window(moment):
                await self._episodes(due, standing, again)
            outcome = _worst([each.result for each in standing.values() if each.result is not None])
        except asyncio.CancelledError:
            outcome = "stopped"
            raise
        except BaseException as broken:
            error = str(broken)
            raise
        finally:
            self._spent()
            self.ledger.end_run(self.run, outcome, error)  # type: ignore[arg-type]

    @contextmanager
    def _window(self, moment: datetime) -> Iterator[None]:
        """Inside the block nothing new begins once the window has closed."""
        if self.night.closes is None:
            yield
            return

        def close() -> None:
            self.closed = True
            self.draining.wish()

        seconds = max(0.0, (self.night.closes - moment).total_seconds())
        timer = asyncio.get_running_loop().call_later(seconds, close)
        try:
            yield
        finally:
            timer.cancel()

    async def _episodes(
        self, due: list[_Standing], standing: dict[str, _Standing], again: bool
    ) -> None:
        due.sort(key=lambda each: (-each.prepared.row.priority, each.prepared.row.number))
        for each in due:
            self.ledger.write_episode(self._row(each, "running"))
            if again:
                Poison(each.order.folder / FAILED).forget()
        for group in _by_profile(due, lambda each: each.order.profile.prompts.model_dump_json()):
            await self._words(group)
        for group in _by_profile(_left(due), lambda each: each.order.profile.model_dump_json()):
            async with self._floor(group[0].order) as floor:
                await self._encoded(_left(group), floor)
                gate = asyncio.Semaphore(self.grounds.series.rules.at_once)
                films = (self._film(each, floor, gate, standing) for each in _left(group))
                await asyncio.gather(*films)

    @asynccontextmanager
    async def _floor(self, order: Order) -> AsyncIterator[Shared]:
        cluster, store = order.cluster, self.store
        async with open_farm(order.profile, cluster, store, title=self.title) as farm:
            floor = Shared(farm, store)
            try:
                yield floor
            finally:
                await floor.close()

    async def _words(self, group: list[_Standing]) -> None:
        """What a language model has to write for these episodes, with one engine."""
        order, held = group[0].order, Held()
        prompts = order.profile.prompts
        if prompts.composed:
            return
        tell = partial(self._notice, group[0].name)
        writers = KeptWriters(ProfileWriters(prompts, order.cluster, tell, held=held))
        try:
            for each in group:
                with self._ending(each):
                    await self._written(each, Since(held), writers)
        finally:
            await asyncio.to_thread(writers.close)
            self.purse.add(held.gpu_seconds)
            self._spent()

    async def _written(self, each: _Standing, held: Since, writers: KeptWriters) -> None:
        order, made = self._limited(each), each.prepared.made
        assert made is not None
        self._may_begin()
        self.purse.refuse(held.gpu_seconds)
        tell = partial(self.tell, each.name)
        try:
            wrote = await write_words(order, made.plan, tell, held, writers)
        finally:
            each.used += held.gpu_seconds
        if wrote:
            made = replace(await asyncio.to_thread(prepare, order), estimate=made.estimate)
            mark = fingerprint(made, order)
            each.prepared = replace(each.prepared, made=made, mark=mark)

    async def _encoded(self, group: list[_Standing], floor: Shared) -> None:
        """The prompts of these episodes, before any renderer takes the text encoder's place."""

        async def encode(each: _Standing) -> None:
            order, made = self._limited(each), each.prepared.made
            assert made is not None
            terms = Terms(
                order.budget, draining=self.draining, used=each.used, purse=self.purse,
                weight=each.prepared.row.priority,
            )  # fmt: skip
            tell = partial(self.tell, each.name)
            with self._ending(each):
                self._may_begin()
                each.used += await encode_prompts(
                    made.plan, made.kind, order.open_store(), floor, tell, terms
                )

        embed = [e for e in group if e.order.kind.embeds_prompts and e.prepared.row.render]
        await asyncio.gather(*(encode(each) for each in embed))

    async def _film(
        self,
        each: _Standing,
        floor: Shared,
        gate: asyncio.Semaphore,
        standing: dict[str, _Standing],
    ) -> None:
        # What another episode renders, too, is not rendered twice.
        for name in each.prepared.after:
            await standing[name].over.wait()
        async with gate:
            with self._ending(each):
                self._may_begin()
                order, made = self._limited(each), each.prepared.made
                assert made is not None
                company = Company(floor, self.purse, each.prepared.row.priority, each.used)
                told = partial(self._told, each)
                result = await render_film(order, made, told, self.draining, company)
                self._finish(each, result)

    @contextmanager
    def _ending(self, each: _Standing) -> Iterator[None]:
        """Whatever is raised inside is how the episode ends, and nothing else."""
        try:
            yield
        except asyncio.CancelledError:
            self._end(each, "stopped", "the run was stopped")
            raise
        except BudgetError as error:
            self._end(each, "budget", str(error))
        except Cancelled as error:
            closed = "the window has closed"
            self._end(each, "window" if self.closed else "stopped",
                      closed if self.closed else error.what)  # fmt: skip
        except InputError as error:
            self._end(each, "broken", str(error))
        except StoryflowError as error:
            self._end(each, "failed", str(error))
        except Exception as error:
            # Nobody foresaw it; the others go on all the same.
            self._end(each, "failed", f"{type(error).__name__}: {error}")

    def _finish(self, each: _Standing, result: Result) -> None:
        spent, gpus = result.spent, self._gpus
        outcome: Outcome = "complete" if result.complete else "partial"
        error = "; ".join(failure.error for failure in result.failures)
        seconds = spent.worker_seconds * gpus
        each.end(
            EpisodeResult(
                each.name,
                outcome,
                result.rendered,
                result.reused,
                seconds + spent.prompt_seconds,
                spent.money,
                result.film,
                result.failures,
                error,
            )
        )
        row = replace(
            self._row(each, outcome),
            ended=now(),
            rendered=result.rendered,
            reused=result.reused,
            failed=len(result.failures),
            gpu_seconds=seconds,
            useful_seconds=spent.useful_seconds * gpus,
            prompt_seconds=spent.prompt_seconds,
            money=spent.money,
            error=error,
        )
        self.ledger.write_episode(row)
        self._spent()

    def _end(self, each: _Standing, outcome: Outcome, error: str) -> None:
        """An episode ends without a film; what was rendered of it is in the ledger already."""
        known = self.ledger.rendered(self.run, each.name)
        seconds = known.seconds * self._gpus
        money = self.purse.budget.cost(seconds + each.used)
        result = EpisodeResult(
            each.name, outcome, known.rendered, 0, seconds + each.used, money, error=error
        )
        each.end(result)
        row = replace(
            self._row(each, outcome),
            ended=now(),
            rendered=known.rendered,
            failed=known.failed,
            gpu_seconds=seconds,
            useful_seconds=seconds,
            prompt_seconds=each.used,
            money=money,
            error=error,
        )
        self.ledger.write_episode(row)
        self._spent()

    def _told(self, each: _Standing, event: Event) -> None:
        match event:
            case SegmentDone(segment=name, shot=shot, key=key, reused=reused, seconds=seconds):
                self.ledger.write_segment(
                    SegmentRow(
                        self.run,
                        each.name,
                        name,
                        shot,
                        key,
                        "found" if reused else "rendered",
                        now(),
                        0.0 if reused else seconds,
                        self._gpus,
                        None if reused else self.purse.budget.cost(seconds * self._gpus),
                        event.worker,
                        "",
                    )
                )
                self._spent()
            case ShotFailed(segment=name, shot=shot, error=error):
                self.ledger.write_segment(
                    SegmentRow(self.run, each.name, name, shot, "", "failed", now(), 0.0,
                               self._gpus, None, "", error)
                )  # fmt: skip
        self.tell(each.name, event)

    def _row(self, each: _Standing, outcome: Outcome) -> EpisodeRow:
        row, made = each.prepared.row, each.prepared.made
        estimate = None if made is None or made.estimate is None else made.estimate
        return EpisodeRow(
            run=self.run,
            episode=each.name,
            title=row.title,
            began=now(),
            ended=None,
            outcome=outcome,
            planned=len(row.render),
            rendered=0,
            reused=0,
            failed=0,
            frames=row.frames,
            film_seconds=row.seconds,
            estimate_seconds=None if estimate is None else estimate.gpu_seconds,
            gpu_seconds=0.0,
            useful_seconds=0.0,
            prompt_seconds=0.0,
            money=None,
            folder=str(each.order.folder),
            mark=each.prepared.mark,
            error="",
        )

    def _limited(self, each: _Standing) -> Order:
        """The order, with what the night has left for its episode."""
        order = each.order
        if not order.budget.bounded:
            return order
        used = self.ledger.episode_seconds(self.title, self.date, each.name)
        left = max(0.0, order.budget.seconds - used) / 3600
        budget = order.budget
        return replace(order, budget=Budget(left, price=budget.price, currency=budget.currency))

    def _may_begin(self) -> None:
        if self.draining.wished:
            raise Cancelled("the run was stopped before it began")

    def _spent(self) -> None:
        seconds = self.purse.used
        self.ledger.spent(self.run, seconds, self.purse.budget.cost(seconds))

    def _notice(self, name: str, text: str) -> None:
        self.tell(name, Notice(text))

    @property
    def _gpus(self) -> float:
        return self.grounds.cluster.workers.gpus or 1.0


def _left(group: Sequence[_Standing]) -> list[_Standing]:
    return [each for each in group if each.result is None]


def _by_profile(
    due: Sequence[_Standing], profile: Callable[[_Standing], str]
) -> list[list[_Standing]]:
    groups: dict[str, list[_Standing]] = {}
    for each in due:
        groups.setdefault(profile(each), []).append(each)
    return list(groups.values())


def _worst(results: Sequence[EpisodeResult]) -> str:
    endings = {result.outcome for result in results}
    return next((outcome for outcome in _CODES if outcome in endings), "complete")
