"""Render a plan: the author's pictures and clips are read into the store, then prompts are
encoded, then segments rendered, each as soon as its history is in the store.

A segment's key is known when its parents' pixels are. Then the store is asked, and only what it
lacks becomes a job. Nothing but hashes and paths passes through here.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from storyflow.budget import Budget
from storyflow.errors import BudgetError, Cancelled
from storyflow.events import Notice, ShotFailed, Spent
from storyflow.farm.account import Limit
from storyflow.farm.borders import Outcome
from storyflow.farm.dispatch import Dispatcher
from storyflow.farm.jobs import Job, Rendered
from storyflow.farm.media import store_source
from storyflow.farm.oneclass import OneClass
from storyflow.farm.pools import Farm
from storyflow.farm.progress import following
from storyflow.farm.sharing import sharing
from storyflow.farm.stages import Emit, FilmWork, Prompts, Segments
from storyflow.farm.starting import note_start
from storyflow.farm.terms import Terms
from storyflow.farm.verified import VerifiedPool
from storyflow.planning.nodes import Plan
from storyflow.planning.sources import sources
from storyflow.renderer import ModelKind
from storyflow.store.kept import StoredArtifacts
from storyflow.store.store import Store


@dataclass(frozen=True)
class FarmReport:
    """What rendering came to. `artifacts` are by recipe, `reused` are recipes.

    `missing` are the shots of the cut that lack a segment because something failed, in cut order.
    Each worker held so many `gpus`, or 1 for none.
    """

    artifacts: StoredArtifacts
    reused: frozenset[str] = frozenset()
    failures: tuple[ShotFailed, ...] = ()
    missing: tuple[str, ...] = ()
    spent: Spent = field(default_factory=lambda: Spent(0.0, 0.0))
    gpus: float = 1.0

    @property
    def rendered(self) -> int:
        """Segments that were rendered now."""
        return len(self.artifacts) - len(self.reused)


async def render_plan(
    plan: Plan,
    kind: ModelKind,
    store: Store,
    farm: Farm,
    emit: Emit,
    *,
    only: frozenset[str] | None = None,
    one_class: OneClass | None = None,
    terms: Terms | None = None,
) -> FarmReport:
    """Bring every segment of the plan (or `only` these recipes and what they continue) into the
    store, and tell `emit` about it.

    A segment that fails for good stops what hangs on it and nothing else. Raises StoreError and
    FarmError when store or workers break down, ModelError when the model can't be loaded; what was
    finished until then is in the store. Raises StoryboardError, before anything is rendered, for a
    picture or clip that can't be read. Cancelling stops at once. With `one_class` outputs of other
    numerics classes are not reused, and workers of others refused. Raises BudgetError
    when a limit of the `terms` is reached, Cancelled when they ask to stop at the next border.
    """
    wanted = plan.segments if only is None else plan.with_history(only)
    segments = {segment.recipe: segment for segment in wanted}
    film = FilmWork(plan, kind, store, emit, segments, one_class, terms or Terms())
    for source in sources(plan, wanted):
        if await film.stored(source.key) is None:
            await asyncio.to_thread(store_source, store, source)
    spent = [Spent(0.0, 0.0)]
    try:
        if kind.embeds_prompts:
            outcome = await _drive(farm, Prompts(film), film.gpu_seconds)
            spent.append(Spent(outcome.worker_seconds, outcome.useful_seconds))
        outcome = await _drive(farm, Segments(film), film.gpu_seconds)
        spent.append(Spent(outcome.worker_seconds, outcome.useful_seconds))
        await film.noting.settled()
    except (Cancelled, BudgetError):
        await film.noting.settled()
        raise
    finally:
        film.noting.close()
    await asyncio.to_thread(note_start, store, farm.cluster, film.starting.start)
    return FarmReport(
        artifacts=film.artifacts,
        reused=frozenset(film.reused),
        failures=tuple(film.failures),
        missing=film.missing(film.lost),
        spent=_sum(spent, farm.price),
        gpus=film.gpus,
    )


def _sum(parts: Iterable[Spent], price: float | None) -> Spent:
    parts = tuple(parts)
    seconds = sum(part.worker_seconds for part in parts)
    useful = sum(part.useful_seconds for part in parts)
    return Spent(seconds, useful, None if price is None else price * seconds / 3600)


async def _drive(farm: Farm, stage: Prompts | Segments, before: float) -> Outcome:
    """Run one stage on a pool of its own, which ends with it; `before` are the GPU-seconds that
    were used already. Raises Cancelled when it is drained before all is done."""
    film = stage.film
    terms = film.terms
    hold = None if film.one_class is None else film.one_class.of(stage.role)
    workers = farm.pool(stage.role, lambda text: film.emit(Notice(text)))
    pool = VerifiedPool(workers, film.store, film.stored, hold, terms.budget)
    try:
        async with (
            Dispatcher[Job, Rendered](
                pool, caps=farm.caps, watch=stage.watch, idle=farm.idle
            ) as dispatcher,
            following(
                dispatcher,
                pool.progress,
                lambda _, task: stage.name(task),
                film.emit,
                terms.poll,
                farm.patience,
            ),
            sharing(dispatcher, pool.allowance),
        ):
            limit = _limit(terms.budget, pool, before)
            share = dispatcher.share(stage.resolve, watch=stage.watch, limit=limit)
            share.add(stage.tasks())
            with terms.draining.told(share.drain):
                outcome = await share.done()
    finally:
        await pool.close()
    if outcome.error is not None:
        raise outcome.error
    if terms.draining.wished and share.unsettled:
        raise Cancelled("the run was stopped between two segments")
    film.gpus = max(film.gpus, pool.gpus)
    film.gpu_seconds += outcome.worker_seconds * pool.gpus
    film.starting.add(pool.opening, pool.seating)
    return outcome


def _limit(budget: Budget, pool: VerifiedPool, before: float) -> Limit | None:
    if not math.isfinite(budget.seconds):
        return None
    return lambda seconds: budget.refuse(before + seconds * pool.gpus, "going on")
