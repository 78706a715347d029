"""One call's work on a series, in steps, so that each kind of model is loaded once.

A language model writes the words that are missing, the text encoder encodes the prompts, and the
renderers render, several episodes at a time. Whatever stops an episode stops no other.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from storyflow.beforehand import look_ahead
from storyflow.budget import Budget, Purse
from storyflow.draining import Draining
from storyflow.errors import (
    BudgetError,
    Cancelled,
    InputError,
    LedgerError,
    ModelError,
    StoryflowError,
)
from storyflow.farm.address import open_farm
from storyflow.farm.floor import Shared
from storyflow.farm.held import Held, Since
from storyflow.farm.language import KeptWriters
from storyflow.farm.render import encode_prompts
from storyflow.farm.terms import Terms
from storyflow.film import Company, Order, prepare, render_film
from storyflow.poison import FAILED, Poison
from storyflow.series.books import Books
from storyflow.series.ledger import Ledger, Outcome
from storyflow.series.metered import Metered
from storyflow.series.night import Night
from storyflow.series.orders import Grounds, fingerprint
from storyflow.series.standing import Standing
from storyflow.series.told import SeriesNotice, Tell, ending
from storyflow.store.store import Store
from storyflow.wording import write_words

AHEAD = 2.0
"""Words are written and prompts encoded for so many times of what the night can still render:
estimates err, and what is not reached would have been done for nothing."""


@dataclass(frozen=True)
class Errand:
    """What a call works on, with what and until when.

    `again` tells of an episode whether what failed for good in it is tried again. `purse` is what
    the call may use. `doctor` has the machines examined first.
    """

    grounds: Grounds
    ledger: Ledger
    night: Night
    store: Store
    purse: Purse
    draining: Draining
    tell: Tell
    again: Callable[[str], bool]
    doctor: bool


class Call:
    """The work on the episodes that are due. Each is ended exactly once, whatever happens."""

    def __init__(self, errand: Errand, run: int, moment: datetime) -> None:
        self.errand, self.grounds, self.purse = errand, errand.grounds, errand.purse
        self.draining, self.tell = errand.draining, errand.tell
        self.title, self.date = errand.grounds.series.series, errand.night.date.isoformat()
        self.books = Books(errand.ledger, run, self.grounds, self.purse, self.tell)
        self.metered = Metered(self.grounds.cluster, self.title, self.grounds.store, self.tell)
        self.closed = False
        closes = errand.night.closes
        self._seconds = math.inf if closes is None else (closes - moment).total_seconds()

    async def work(self, due: Sequence[Standing]) -> None:
        """Bring every episode to an end.

        Raises InfrastructureError where the ledger or all machines are at fault, and when it is
        cancelled; the episodes that were not ended then are told to have failed or been stopped.
        """
        due = sorted(due, key=lambda s: (-s.prepared.row.priority, s.prepared.row.number))
        outcome: Outcome = "failed"
        why = ""
        try:
            for each in due:
                self.books.wait(each)
            for each in due:
                if each.prepared.order is None:
                    self.books.end(each, "broken", each.prepared.row.error)
            with self._window(), self.metered.crew():
                await self._all(_left(due))
        except BaseException as error:
            outcome, why = ending(error)
            raise
        finally:
            with suppress(LedgerError):
                for each in _left(due):
                    self.books.end(each, outcome, why)
                self.books.spent()

    @contextmanager
    def _window(self) -> Iterator[None]:
        """Inside the block nothing new begins once the window has closed."""
        if not math.isfinite(self._seconds):
            yield
            return

        def close() -> None:
            self.closed = True
            self.draining.wish()

        timer = asyncio.get_running_loop().call_later(max(0.0, self._seconds), close)
        try:
            yield
        finally:
            timer.cancel()

    async def _all(self, due: Sequence[Standing]) -> None:
        for each in due:
            if self.errand.again(each.name):
                with self._ending(each):
                    Poison(each.order.folder / FAILED).forget()
        if self.errand.doctor:
            await self._examine(_left(due))
        for some in _portions(_left(due), self._reach()):
            for group in _groups(some, lambda o: o.profile.prompts.model_dump_json()):
                await self._words(group)
            for group in _groups(_left(some), lambda o: o.profile.model_dump_json()):
                await self._films(group)

    def _reach(self) -> float:
        """GPU-seconds that this call can render at most, as far as that is known."""
        workers = self.grounds.cluster.workers
        held = workers.count * (workers.gpus or 1.0)
        return min(self.purse.left, self._seconds * held if held else math.inf)

    async def _examine(self, due: list[Standing]) -> None:
        """End the episodes that the machines can't render; what is only cut needs none. Raises
        FarmError where that is all."""
        from storyflow.doctor.beforehand import examine_before, refusal

        lacking = [each for each in due if each.prepared.missing]
        groups = _groups(lacking, lambda o: o.profile.model_dump_json())
        if not groups:
            return
        profiles = [group[0].order.profile for group in groups]
        cluster, store = self.grounds.cluster, self.grounds.store
        diagnoses = await asyncio.to_thread(examine_before, cluster, store, profiles)
        refusals = [refusal(diagnosis) for diagnosis in diagnoses]
        for warning in dict.fromkeys(str(w) for d in diagnoses for w in d.warnings):
            self.tell(SeriesNotice(warning))
        errors = [error for error in refusals if error is not None]
        if len(errors) == len(groups) and len(lacking) == len(due):
            raise errors[0]
        for group, error in zip(groups, refusals, strict=False):
            if error is not None:
                self._fail(group, error)

    async def _words(self, group: list[Standing]) -> None:
        """What a language model has to write for these episodes, with one engine."""
        order, held = group[0].order, Held()
        prompts = order.profile.prompts
        if prompts.composed:
            return
        before = self.purse.used
        missing: ModelError | None = None
        writers = KeptWriters(prompts, order.cluster, lambda t: self.tell(SeriesNotice(t)), held)
        try:
            for each in group:
                if missing is None:
                    with self._ending(each):
                        try:
                            await self._written(each, Since(held), writers)
                        except ModelError as error:
                            missing = error
                            raise
            # It is no other one for the next episode.
            if missing is not None:
                self._fail(_left(group), missing)
        finally:
            try:
                await asyncio.to_thread(writers.close)
            except StoryflowError as error:
                self.tell(SeriesNotice(f"a language model does not end: {error}"))
            # Its last seconds are nobody's.
            self.purse.add(max(0.0, held.gpu_seconds - (self.purse.used - before)))
            self.books.spent()

    async def _written(self, each: Standing, held: Since, writers: KeptWriters) -> None:
        self._may_begin(each)
        order = self._limited(each, within=self.purse.left)
        try:
            wrote = await write_words(
                order, each.made.plan, partial(self.books.note, each), held, writers
            )
        finally:
            each.prompts += held.gpu_seconds
            each.purse.add(held.gpu_seconds)
        if wrote:
            await asyncio.to_thread(self._plan_anew, each)

    def _plan_anew(self, each: Standing) -> None:
        order = each.order
        made = replace(prepare(order), estimate=each.made.estimate)
        missing = look_ahead(order, made, self.errand.store).prediction.render
        mark = fingerprint(made, order)
        each.prepared = replace(each.prepared, made=made, mark=mark, missing=missing)

    async def _films(self, group: list[Standing]) -> None:
        """Episodes of one profile, on workers that they share."""
        for each in group:
            with self._ending(each):
                self._may_begin(each)
        group = _left(group)
        if not group:
            return
        try:
            async with self._floor(group[0].order) as floor:
                await self._encoded(group, floor)
                gate = asyncio.Semaphore(self.grounds.series.rules.at_once)
                left = _left(group)
                first = _sharing(left)
                await _all_of(self._film(each, floor, gate, first[each]) for each in left)
        except LedgerError:
            raise
        except Exception as error:
            # The farm can't be had, or not be left in order: other profiles' may be.
            if not _left(group):
                self.tell(SeriesNotice(f"after {group[-1].name}: {error}"))
            self._fail(_left(group), error)

    @asynccontextmanager
    async def _floor(self, order: Order) -> AsyncIterator[Shared]:
        cluster, store = order.cluster, self.errand.store
        async with open_farm(order.profile, cluster, store, title=self.title) as farm:
            floor = Shared(farm, store)
            try:
                yield floor
            finally:
                await floor.close()

    async def _encoded(self, group: list[Standing], floor: Shared) -> None:
        """The prompts of these episodes, before any renderer takes the text encoder's place."""

        async def encode(each: Standing) -> None:
            with self._ending(each):
                self._may_begin(each)
                order = self._limited(each)
                terms = Terms(
                    order.budget,
                    draining=self.draining,
                    used=each.prompts,
                    purse=each.purse,
                    weight=each.prepared.row.priority,
                )
                told = partial(self.books.note, each)
                store = order.open_store()
                before = each.purse.used
                try:
                    await encode_prompts(each.made.plan, each.made.kind, store, floor, told, terms)
                finally:
                    each.prompts += each.purse.used - before

        await _all_of(encode(each) for each in group if each.made.kind.embeds_prompts)

    async def _film(
        self,
        each: Standing,
        floor: Shared,
        gate: asyncio.Semaphore,
        after: Sequence[Standing],
    ) -> None:
        # What another episode renders, too, is not rendered twice.
        for other in after:
            await other.over.wait()
        async with gate:
            with self._ending(each):
                self._may_begin(each)
                order = self._limited(each)
                self.books.begin(each)
                company = Company(floor, each.purse, each.prepared.row.priority, each.prompts)
                with self.metered.film(each.name, partial(self.books.note, each)) as told:
                    result = await render_film(order, each.made, told, self.draining, company)
                self.books.finish(each, result)

    def _fail(self, group: Iterable[Standing], error: Exception) -> None:
        for each in group:
            with self._ending(each):
                raise error

    def _limited(self, each: Standing, within: float = math.inf) -> Order:
        """The order, with what the night has left for its episode; and for that not more than
        `within` GPU-seconds. Raises BudgetError where nothing is left of it."""
        order = each.order
        used = self.errand.ledger.episode_seconds(self.title, self.date, each.name)
        left = order.budget.seconds - used
        if order.budget.bounded and left <= each.prompts and each.prepared.missing:
            raise BudgetError(f"the episode has used up its {_hours(order.budget)} of this night")
        left = min(left, within)
        if not math.isfinite(left):
            return order
        price, currency = order.budget.price, order.budget.currency
        return replace(order, budget=Budget(max(0.0, left) / 3600, price=price, currency=currency))

    def _may_begin(self, each: Standing) -> None:
        """Raises Cancelled or BudgetError where the call is to end, or has nothing left to use."""
        if self.draining.wished:
            raise Cancelled("the run was stopped before it began")
        if each.prepared.missing and not self.purse.left:
            raise BudgetError("the budget is used up")

    @contextmanager
    def _ending(self, each: Standing) -> Iterator[None]:
        """Whatever is raised inside is how the episode ends, and nothing else."""
        end = partial(self.books.end, each)
        try:
            yield
        except LedgerError:
            raise
        except asyncio.CancelledError as error:
            end(*ending(error))
            raise
        except BudgetError as error:
            # A limit of this call's own, or the night's.
            later = "a later call" if self.purse.budget.bounded else "the next night"
            end("budget", f"{error.what}; {later} goes on from here")
        except Cancelled as error:
            if self.closed:
                end("window", "the window has closed; the next one goes on from here")
            else:
                end("stopped", error.what)
        except InputError as error:
            end("broken", str(error))
        except StoryflowError as error:
            end("failed", str(error))
        except Exception as error:
            # Nobody foresaw it; the others go on all the same.
            end("failed", f"{type(error).__name__}: {error}")


async def _all_of(works: Iterable[Coroutine[None, None, None]]) -> None:
    """Wait for every one of them, then raise what one raised. Cancelling cancels all."""
    for error in await asyncio.gather(*works, return_exceptions=True):
        if error is not None:
            raise error


def _left(group: Iterable[Standing]) -> list[Standing]:
    return [each for each in group if each.result is None]


def _groups(due: Sequence[Standing], mark: Callable[[Order], str]) -> list[list[Standing]]:
    """Those of the same mark, in the order of their first."""
    groups: dict[str, list[Standing]] = {}
    for each in due:
        groups.setdefault(mark(each.order), []).append(each)
    return list(groups.values())


def _portions(due: Sequence[Standing], reach: float) -> Iterator[list[Standing]]:
    """Those that `reach` GPU-seconds are enough for, by far; then as many again."""
    some: list[Standing] = []
    seconds = 0.0
    for each in due:
        if some and seconds > AHEAD * reach:
            yield some
            some, seconds = [], 0.0
        some.append(each)
        seconds += each.prepared.row.gpu_seconds
    if some:
        yield some


def _sharing(group: Sequence[Standing]) -> dict[Standing, list[Standing]]:
    """For each episode those before it that render segments which it lacks, too."""
    owners: dict[str, Standing] = {}
    return {
        each: list(
            dict.fromkeys(
                owner
                for recipe in sorted(each.prepared.missing)
                if (owner := owners.setdefault(recipe, each)) is not each
            )
        )
        for each in group
    }


def _hours(budget: Budget) -> str:
    return f"{budget.seconds / 3600:.4g} GPU-hours"
