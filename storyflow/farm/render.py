"""Render a plan: the author's pictures and clips are read into the store, then prompts are
encoded, then segments rendered, each as soon as its history is in the store.

A segment's key is known when its parents' pixels are. Then the store is asked, and only what it
lacks becomes a job. Nothing but hashes and paths passes through here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from storyflow.errors import BudgetError, Cancelled
from storyflow.events import ShotFailed, Spent
from storyflow.farm.floor import Alone, Floor
from storyflow.farm.media import store_source
from storyflow.farm.oneclass import OneClass
from storyflow.farm.pools import Farm
from storyflow.farm.stages import Emit, FilmWork, Prompts, Segments
from storyflow.farm.starting import note_start
from storyflow.farm.terms import Terms
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
    floor: Floor | None = None,
) -> FarmReport:
    """Bring every segment of the plan (or `only` these recipes and what they continue) into the
    store, and tell `emit` about it.

    A segment that fails for good stops what hangs on it and nothing else. Raises StoreError and
    FarmError when store or workers break down, ModelError when the model can't be loaded; what was
    finished until then is in the store. Raises StoryboardError, before anything is rendered, for a
    picture or clip that can't be read. Cancelling stops at once. With `one_class` outputs of other
    numerics classes are not reused, and workers of others refused. Raises BudgetError
    when a limit of the `terms` is reached, Cancelled when they ask to stop at the next border.
    Without a `floor` that it shares with others the film is alone on the farm.
    """
    floor = floor or Alone(farm)
    wanted = plan.segments if only is None else plan.with_history(only)
    segments = {segment.recipe: segment for segment in wanted}
    film = FilmWork(plan, kind, store, emit, segments, one_class, terms or Terms())
    for source in sources(plan, wanted):
        if await film.stored(source.key) is None:
            await asyncio.to_thread(store_source, store, source)
    spent = [Spent(0.0, 0.0)]
    try:
        if kind.embeds_prompts:
            outcome = await floor.work(Prompts(film))
            spent.append(Spent(outcome.worker_seconds, outcome.useful_seconds))
        outcome = await floor.work(Segments(film))
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


async def encode_prompts(
    plan: Plan, kind: ModelKind, store: Store, floor: Floor, emit: Emit, terms: Terms
) -> float:
    """Bring the embeddings of a plan's prompts into the store; the GPU-seconds that it took.

    A prompt that can't be encoded is told when the segments that need it are rendered. Raises as
    `render_plan` does.
    """
    segments = {segment.recipe: segment for segment in plan.segments}
    film = FilmWork(plan, kind, store, emit, segments, None, terms)
    try:
        await floor.work(Prompts(film))
        await film.noting.settled()
    finally:
        film.noting.close()
    return film.gpu_seconds - terms.used


def _sum(parts: Iterable[Spent], price: float | None) -> Spent:
    parts = tuple(parts)
    seconds = sum(part.worker_seconds for part in parts)
    useful = sum(part.useful_seconds for part in parts)
    return Spent(seconds, useful, None if price is None else price * seconds / 3600)
