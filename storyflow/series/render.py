"""Rendering a series: every episode that isn't done, on shared workers, within its night.

A call holds the series in its store; another call meanwhile ends at once. A holder that died is
taken over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from storyflow.budget import Budget, Purse
from storyflow.claim import claimed_run
from storyflow.draining import Draining
from storyflow.errors import BusyError, FarmError, LedgerError
from storyflow.series.call import Call, Errand
from storyflow.series.dailies.write import write_dailies
from storyflow.series.ledger import Ledger
from storyflow.series.load import episode_named
from storyflow.series.night import Night, night_of
from storyflow.series.orders import Grounds
from storyflow.series.plan import EpisodePlan, Prepared, prepared_episodes, retries
from storyflow.series.standing import Standing, outcome_of
from storyflow.series.told import (
    EpisodeOutcome,
    EpisodeResult,
    SeriesBegan,
    SeriesEnded,
    SeriesNotice,
    SeriesOutcome,
    SeriesResult,
    Tell,
    ending,
)
from storyflow.series.webhook import posting
from storyflow.stopping import Check, stoppable
from storyflow.store.store import Store

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The clock of the world."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Wishes:
    """What one call is asked for besides the series' rules.

    `only` these episodes are rendered; None is all. `limit` is what the call may use at most,
    within what the night has left. `doctor` examines a Ray that runs already before it renders.
    """

    only: Collection[str] | None = None
    limit: Budget = Budget()  # noqa: RUF009 - frozen
    doctor: bool = True


ALL = Wishes()


async def render_series(
    grounds: Grounds,
    tell: Tell,
    draining: Draining | None = None,
    clock: Clock = utc_now,
    wishes: Wishes = ALL,
) -> SeriesResult:
    """Render what isn't done, until the night's budget or window ends or `draining` is wished.

    `clock` says which night it is; `tell` is called from any thread. Raises InputError for the
    series file or an unknown episode, StoreError, LedgerError and FarmError where store, ledger or
    machines can't be used; what becomes of an episode is in the result. SeriesEnded is told in any
    case.
    """
    night = night_of(grounds.series.rules, clock())
    async with posting(grounds, tell, night.date.isoformat()) as tell:
        visit = _Visit(grounds, tell, draining or Draining(), clock, wishes)
        try:
            result = await visit.render()
        except BaseException as error:
            tell(SeriesEnded(visit.ended(*ending(error))))
            raise
        tell(SeriesEnded(result))
        return result


class _Visit:
    """One call, from its claim to its dailies."""

    def __init__(
        self, grounds: Grounds, tell: Tell, draining: Draining, clock: Clock, wishes: Wishes
    ) -> None:
        self.grounds, self.tell, self.draining = grounds, tell, draining
        self.clock, self.wishes = clock, wishes
        self.title = grounds.series.series
        self.night = self._tonight()
        self.purse = Purse()
        self.run = 0
        self.standing: tuple[Standing, ...] = ()

    async def render(self) -> SeriesResult:
        """See `render_series`."""
        grounds, only = self.grounds, self._only()
        if not self.night.open:
            return self._closed()
        store = Store(grounds.store, grounds.cluster.cache.limit)
        async with AsyncExitStack() as stack:
            claim = claimed_run(store, grounds.claim, self._notice, what="this series")
            try:
                await stack.enter_async_context(claim)
            except BusyError as error:
                return self.ended("busy", error.what)
            # A holder elsewhere that died may have been waited for.
            self.night = self._tonight()
            if not self.night.open:
                return self._closed()
            ledger = stack.enter_context(Ledger.writing(grounds.ledger))
            again = retries(grounds, ledger, self.night)
            await self._plan(ledger, only)
            due = self._due(ledger)
            try:
                if due:
                    await self._work(due, ledger, store, again)
            except FarmError:
                await self._dailies(due)
                raise
            await self._dailies(due)
            return self.ended(outcome_of(self.standing))

    def ended(self, outcome: SeriesOutcome, error: str = "") -> SeriesResult:
        """How the call ends."""
        seconds = self.purse.used
        return SeriesResult(
            title=self.title,
            night=self._date,
            outcome=outcome,
            episodes=tuple(s.result for s in self.standing if s.result is not None),
            gpu_seconds=seconds,
            money=self.purse.budget.cost(seconds),
            error=error,
            run=self.run,
        )

    async def _plan(self, ledger: Ledger, only: Collection[str] | None) -> None:
        """Where every episode stands, and what may be used."""
        whole = Purse(self.grounds.night, ledger.night_seconds(self.title, self._date))
        price, currency = whole.budget.price, whole.budget.currency
        limit = replace(self.wishes.limit, price=price, currency=currency)
        self.purse = Purse(limit, whole=whole)
        free = Budget(price=price, currency=currency)

        def plan(check: Check) -> list[Prepared]:
            found = []
            for each in prepared_episodes(self.grounds, self.night, only):
                check()
                found.append(each)
            return found

        prepared = await stoppable(plan)
        self.standing = tuple(Standing(each, Purse(free, whole=self.purse)) for each in prepared)

    def _due(self, ledger: Ledger) -> list[Standing]:
        """Episodes to do something about; the others are ended here.

        A broken one is that once in a night: calls come every hour.
        """
        due = []
        for each in self.standing:
            row = each.prepared.row
            news = row.state == "broken" and not ledger.noted(
                self.title, self._date, row.name, row.error
            )
            if row.state in ("render", "cut") or news:
                due.append(each)
                continue
            if row.state == "done":
                film = self.grounds.folder / row.name / "film.mp4"
                each.end(EpisodeResult(row.name, "done", film=film))
            else:
                outcome: EpisodeOutcome = "broken" if row.state == "broken" else "partial"
                each.end(EpisodeResult(row.name, outcome, error=row.error))
        return due

    async def _work(
        self, due: list[Standing], ledger: Ledger, store: Store, again: Callable[[str], bool]
    ) -> None:
        self.run = ledger.begin_run(self.title, self._date, self.purse.budget.currency)
        errand = Errand(
            grounds=self.grounds,
            ledger=ledger,
            night=self.night,
            store=store,
            purse=self.purse,
            draining=self.draining,
            tell=self.tell,
            again=again,
            doctor=self.wishes.doctor,
        )
        if any(each.prepared.order is not None for each in due):
            rows = tuple(each.prepared.row for each in self.standing)
            self.tell(SeriesBegan(self.title, self._date, self.run, rows))
        try:
            await Call(errand, self.run, self.clock()).work(due)
        except BaseException as error:
            with suppress(LedgerError):
                ledger.end_run(self.run, *ending(error))
            raise
        ledger.end_run(self.run, outcome_of(due))

    async def _dailies(self, due: Sequence[Standing]) -> None:
        """The page of the night until now. It is not what the night is for: it never fails it."""

        def write() -> None:
            rows = self._rows({each.name for each in due})
            write_dailies(self.grounds, self._date, self.clock(), planned=rows)

        try:
            await asyncio.to_thread(write)
        except Exception as error:
            self._notice(f"no dailies were written: {error}")

    def _rows(self, changed: Collection[str]) -> tuple[EpisodePlan, ...] | None:
        """Where every episode stands after the call: only those that it worked at are planned
        again. None where it looked at some episodes only."""
        if self.wishes.only is not None:
            return None
        rows = {each.name: each.prepared.row for each in self.standing}
        if changed:
            news = prepared_episodes(self.grounds, self._tonight(), changed)
            rows |= {each.row.name: each.row for each in news}
        return tuple(rows.values())

    def _only(self) -> Collection[str] | None:
        """The names of the episodes that were asked for, as the series has them."""
        if self.wishes.only is None:
            return None
        return {episode_named(self.grounds.series, name).name for name in self.wishes.only}

    def _closed(self) -> SeriesResult:
        opens = self.night.next
        when = "" if opens is None else f"; it opens at {opens.isoformat(timespec='minutes')}"
        return self.ended("closed", f"the window is closed{when}")

    def _tonight(self) -> Night:
        return night_of(self.grounds.series.rules, self.clock())

    def _notice(self, text: str) -> None:
        self.tell(SeriesNotice(text))

    @property
    def _date(self) -> str:
        return self.night.date.isoformat()
