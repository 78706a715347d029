"""What the next nights of a series would bring, per episode and in all; nothing is rendered."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Literal

from storyflow.beforehand import Shelf, estimate_of, look_ahead, read_shelf
from storyflow.budget import Budget
from storyflow.errors import InfrastructureError, InputError, StoryflowError
from storyflow.film import Order, Production, prepare
from storyflow.planning.finish import Estimate
from storyflow.planning.nodes import Segment
from storyflow.poison import FAILED, Poison
from storyflow.series.ledger import Ending, Ledger
from storyflow.series.load import Listed
from storyflow.series.night import Night, night_of
from storyflow.series.orders import Grounds, fingerprint
from storyflow.store.store import Store

State = Literal["done", "cut", "render", "failed", "broken"]


@dataclass(frozen=True)
class EpisodePlan:
    """What a render would do with one episode.

    `state`: done; cut, where all is rendered and the film is not there yet; render; failed, where
    only what failed for good is missing, which is left until it is retried; broken, with the
    `error`. Segments that an earlier episode renders, too, count as reused. `render` are the
    names of those to render. `gpu_seconds` and `money` are estimated; `over` says why it can't be
    finished in one night.
    """

    name: str
    file: str
    number: int
    priority: float
    state: State
    title: str = ""
    shots: int = 0
    frames: int = 0
    seconds: float = 0.0
    segments: int = 0
    reuse: int = 0
    render: tuple[str, ...] = ()
    gpu_seconds: float = 0.0
    timed: bool = False
    money: float | None = None
    over: str = ""
    error: str = ""
    notices: tuple[str, ...] = ()

    @property
    def gpu_hours(self) -> float:
        """Estimated."""
        return self.gpu_seconds / 3600


@dataclass(frozen=True)
class SeriesPlan:
    """All episodes, and what they come to. `left` is what this night's budget still has, in
    GPU-seconds, None without one; `nights` how many the rest takes, None where nobody knows."""

    title: str
    night: str
    open: bool
    opens: str
    episodes: tuple[EpisodePlan, ...]
    left: float | None
    nights: int | None
    currency: str

    @property
    def segments(self) -> int:
        """In all, shared ones counted with each episode that has them."""
        return sum(each.segments for each in self.episodes)

    @property
    def render(self) -> int:
        """Segments that are left to render; shared ones count once."""
        return sum(len(each.render) for each in self.episodes)

    @property
    def gpu_seconds(self) -> float:
        """Estimated for what is left to render."""
        return sum(each.gpu_seconds for each in self.episodes)

    @property
    def money(self) -> float | None:
        """Estimated; None without a price."""
        known = [each.money for each in self.episodes if each.money is not None]
        return sum(known) if known else None

    def as_data(self) -> dict[str, object]:
        """The same as values for JSON."""
        totals = {"segments": self.segments, "render": self.render}
        cost = {"gpu_seconds": self.gpu_seconds, "money": self.money}
        return {"storyflow": 1, **asdict(self), "totals": {**totals, **cost}}


@dataclass(frozen=True)
class Prepared:
    """An episode, planned: its row, and what a render needs, None where it is broken.

    `missing` are the recipes of all segments that the store lacks, also those that an earlier
    episode renders. `mark` is what its film is made of.
    """

    listed: Listed
    row: EpisodePlan
    order: Order | None = None
    made: Production | None = None
    mark: str = ""
    missing: frozenset[str] = frozenset()


def plan_series(grounds: Grounds, now: datetime) -> SeriesPlan:
    """What a render would do. Raises StoryboardError for the series file, StoreError."""
    night = night_of(grounds.series.rules, now)
    return plan_of(grounds, night, (each.row for each in prepared_episodes(grounds, night)))


def plan_of(grounds: Grounds, night: Night, episodes: Iterable[EpisodePlan]) -> SeriesPlan:
    """What these rows of all episodes come to. Raises InputError, LedgerError."""
    rows, budget = tuple(episodes), grounds.night
    left = None
    if math.isfinite(budget.seconds):
        with Ledger.reading(grounds.ledger) as ledger:
            used = ledger.night_seconds(grounds.series.series, night.date.isoformat())
        left = max(0.0, budget.seconds - used)
    return SeriesPlan(
        title=grounds.series.series,
        night=night.date.isoformat(),
        open=night.open,
        opens="" if night.next is None else night.next.isoformat(),
        episodes=rows,
        left=left,
        nights=_nights(rows, budget, left),
        currency=budget.currency,
    )


def retries(grounds: Grounds, ledger: Ledger, night: Night) -> Callable[[str], bool]:
    """Tells of an episode whether what failed for good in it is tried again by the next run of this
    night: in each night once, where the rules say so."""
    if grounds.series.rules.on_failure != "retry":
        return lambda episode: False
    tried = ledger.tried(grounds.series.series, night.date.isoformat())
    return lambda episode: episode not in tried


def prepared_episodes(
    grounds: Grounds, night: Night, only: Collection[str] | None = None
) -> Iterator[Prepared]:
    """Every episode (or `only` those of these names) in the order of the series, planned one after
    the other.

    A broken one says so and stops no other. Raises InfrastructureError, which concerns all.
    """
    shared: set[str] = set()
    with Ledger.reading(grounds.ledger) as ledger:
        endings = ledger.endings(grounds.series.series)
        again = retries(grounds, ledger, night)
    endings = {n: e for n, e in endings.items() if e.outcome != "partial" or not again(n)}
    # Of a large store the index alone takes seconds.
    shelf = read_shelf(Store(grounds.store, grounds.cluster.cache.limit))
    for listed in grounds.listed():
        if only is not None and listed.name not in only:
            continue
        try:
            what = grounds.order(listed)
            made = prepare(what)
        except InputError as error:
            yield Prepared(listed, _broken(listed, str(error)))
            continue
        except InfrastructureError:
            raise
        except Exception as error:
            # Nobody foresaw it; the others go on all the same.
            yield Prepared(listed, _broken(listed, f"{type(error).__name__}: {error}"))
            continue
        last = _last(grounds, listed.name, what, endings)
        yield _looked_at(listed, what, made, shelf, shared, last)


def _looked_at(
    listed: Listed,
    what: Order,
    made: Production,
    shelf: Shelf,
    shared: set[str],
    last: Ending | None,
) -> Prepared:
    plan = made.plan
    ahead = look_ahead(what, made, shelf)
    missing, mark = ahead.prediction.render, fingerprint(made, what)
    left = last == Ending("partial", mark) and Poison(what.folder / FAILED).all
    if left and missing:
        row = EpisodePlan(
            name=listed.name,
            file=str(listed.file),
            number=listed.number,
            priority=listed.priority,
            state="failed",
            title=plan.title,
            shots=len({entry.shot for entry in plan.cut}),
            frames=plan.frames,
            seconds=float(plan.frames / plan.fps),
            segments=len(plan.segments),
            reuse=len(plan.segments) - len(missing),
            error=Poison(what.folder / FAILED).all[0].error,
        )
        return Prepared(listed, row, what, made, mark)
    render = [s for s in plan.segments if s.recipe in missing and s.recipe not in shared]
    shared.update(segment.recipe for segment in render)
    estimate = estimate_of(ahead)
    part = _part(render, missing, plan.segments)
    done = last == Ending("complete", mark) and not plan.writer
    state: State = "render" if missing else "done" if done else "cut"
    gpu_seconds = estimate.gpu_seconds * part
    row = EpisodePlan(
        name=listed.name,
        file=str(listed.file),
        number=listed.number,
        priority=listed.priority,
        state=state,
        title=plan.title,
        shots=len({entry.shot for entry in plan.cut}),
        frames=plan.frames,
        seconds=float(plan.frames / plan.fps),
        segments=len(plan.segments),
        reuse=len(plan.segments) - len(render),
        render=tuple(segment.name for segment in render),
        gpu_seconds=gpu_seconds,
        timed=estimate.timed,
        money=None if estimate.money is None else estimate.money * part,
        over=_over(what.budget, estimate),
        notices=tuple(map(str, plan.notices)),
    )
    return Prepared(listed, row, what, replace(made, estimate=estimate), mark, missing)


def _last(grounds: Grounds, name: str, what: Order, endings: Mapping[str, Ending]) -> Ending | None:
    """How an episode's last run ended, if its film is not gone since."""
    last = endings.get(name)
    lost = last is not None and last.outcome == "complete"
    return None if lost and not grounds.has_film(name, what.folder) else last


def _part(render: list[Segment], missing: frozenset[str], segments: tuple[Segment, ...]) -> float:
    """How much of an episode's rendering is its own, and not an earlier one's, too."""
    if len(render) == len(missing):
        return 1.0
    whole = sum(segment.inputs.spec.new for segment in segments if segment.recipe in missing)
    return sum(segment.inputs.spec.new for segment in render) / whole if whole else 0.0


def _over(budget: Budget, estimate: Estimate) -> str:
    try:
        budget.refuse(estimate.gpu_seconds, "the episode")
    except StoryflowError as error:
        return error.what
    return ""


def _nights(rows: tuple[EpisodePlan, ...], budget: Budget, left: float | None) -> int | None:
    """How many nights the budget takes for what is left, this one included; 0 for nothing."""
    needed = sum(row.gpu_seconds for row in rows)
    if not any(row.state in ("render", "cut") for row in rows):
        return 0
    if left is None:
        return None
    if needed <= left:
        return 1
    return 1 + math.ceil((needed - left) / budget.seconds)


def _broken(listed: Listed, error: str) -> EpisodePlan:
    return EpisodePlan(
        name=listed.name,
        file=str(listed.file),
        number=listed.number,
        priority=listed.priority,
        state="broken",
        error=error,
    )
