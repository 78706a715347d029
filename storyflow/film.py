"""The film on one page: storyboard, lock, plan, segments, cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from storyflow.asked import Asked
from storyflow.budget import Budget, Purse
from storyflow.claim import claimed
from storyflow.cluster import Cluster
from storyflow.cutlist import CutList
from storyflow.cutting.assemble import CutReport
from storyflow.cutting.colourmatch import unmatched
from storyflow.cutting.cut import cut_film
from storyflow.cutting.manifest import make_manifest, missing_shots, write_manifest
from storyflow.draining import Draining
from storyflow.events import CutStarted, Event, Notice, Planned, Result
from storyflow.farm.address import open_farm
from storyflow.farm.floor import Alone, Floor
from storyflow.farm.held import Held
from storyflow.farm.lookup import hold_to_one_class, look_up, stored_index
from storyflow.farm.oneclass import OneClass
from storyflow.farm.render import FarmReport, render_plan
from storyflow.farm.terms import Terms
from storyflow.lock import Lock
from storyflow.lockfile import pin_windows, read_lock, write_lock
from storyflow.manyvalues import many_values
from storyflow.pipeline import Profile
from storyflow.planning.estimate import predict
from storyflow.planning.finish import Estimate
from storyflow.planning.nodes import Plan
from storyflow.planning.planner import make_plan
from storyflow.poison import FAILED, RETRY, RETRY_EPISODE, Poison
from storyflow.record import recording
from storyflow.renderer import ModelKind
from storyflow.reporting.write import report_or_tell
from storyflow.rooting import root_of, rooted
from storyflow.stopping import stoppable
from storyflow.store.artifacts import Artifact
from storyflow.store.kept import StoredArtifacts
from storyflow.store.store import Store
from storyflow.storyboard.model import Film
from storyflow.timeline.beside import write_beside
from storyflow.wording import look_through, write_words

Emit = Callable[[Event], None]


@dataclass(frozen=True)
class Order:
    """What to render, how, where and into which folder: all that `render_film` needs.

    `shots` limits rendering to these and what they continue; None is every shot, an empty set
    renders nothing and cuts what the store has. `budget` limits what may be used, `one_class` holds
    the run to one numerics class. `allow_outside` lets references lead out of the
    storyboard's folder. `kind` is the profile's. With a cut list the film follows that. `asked` is
    noted beside the film.
    """

    film: Film
    pipeline: str
    profile: Profile
    kind: ModelKind
    cluster: Cluster
    folder: Path
    store: str
    lock_file: Path
    shots: frozenset[str] | None = None
    allow_outside: bool = False
    budget: Budget = Budget()  # noqa: RUF009 - frozen
    one_class: bool = False
    cut: CutList | None = None
    asked: Asked | None = None

    def open_store(self) -> Store:
        """The store that it names. Raises StoreError."""
        return Store(self.store, self.cluster.cache.limit)


@dataclass(frozen=True)
class Production:
    """An order, planned: nothing is rendered or written yet.

    `lock` holds what the plan pinned, `estimate` what the order would cost, where that was asked.
    """

    plan: Plan
    lock: Lock
    kind: ModelKind
    estimate: Estimate | None = None


@many_values()
def prepare(order: Order) -> Production:
    """Plan an order. Raises InputError: a storyboard, lock or profile that can't be rendered."""
    film, settled = look_through(order)
    plan = make_plan(
        film,
        settled.lock,
        order.profile,
        order.pipeline,
        order.kind,
        cut=order.cut,
        words=settled.standing,
    )
    plan = replace(plan, notices=(*plan.notices, *settled.notices))
    return Production(plan, settled.lock, order.kind)


@dataclass(frozen=True)
class Company:
    """What a film shares with others that are rendered in the same call.

    `floor` has the workers, `purse` what all may use, `weight` is its part among them. The film's
    words are written, and `used` GPU-seconds went into its prompts already.
    """

    floor: Floor
    purse: Purse
    weight: float = 1.0
    used: float = 0.0


async def render_film(
    order: Order,
    made: Production,
    emit: Emit,
    draining: Draining | None = None,
    company: Company | None = None,
) -> Result:
    """Render what the store lacks, cut the film, write its manifest.

    A film in `company` has its workers from there. Failed shots end in a partial film. Raises
    InfrastructureError when the machine fails, BudgetError when a limit is reached, Cancelled when
    `draining` was wished; what was finished until then is in the store.
    """
    with claimed(order.folder):
        held = Held()
        # A model's words change what is to be rendered. In company they were written before.
        if company is None and await write_words(order, made.plan, emit, held):
            made = replace(prepare(order), estimate=made.estimate)
        used = held.gpu_seconds if company is None else company.used
        result = await _render(order, made, emit, draining or Draining(), used, company)
        deliver = order.profile.deliver
        if deliver.report and not deliver.preview:
            await stoppable(partial(report_or_tell, order.folder, partial(_tell, emit)))
        return result


async def _render(
    order: Order,
    made: Production,
    emit: Emit,
    draining: Draining,
    used: float,
    company: Company | None,
) -> Result:
    """What is rendered and cut, once the words are there; `used` GPU-seconds went into those."""
    plan, kind = made.plan, made.kind
    with recording(order.folder, plan, made.estimate, emit, order.asked) as (noted, emit):
        root = root_of(plan, kind, made.lock, order.pipeline, order.folder)
        renders = order.shots is None or bool(order.shots)
        tell = partial(_tell, emit)
        async with rooted(order.open_store(), root, tell, renders=renders) as held:
            store = held.store
            write_lock(order.lock_file, made.lock)
            only = wanted(plan, order)
            one_class = hold_to_one_class(plan, kind, store) if order.one_class else None
            _announce(made, store, only, one_class, emit)
            terms = Terms(order.budget, _poison(order), draining, used)
            async with _floor(order, store, plan.title, company) as floor:
                if company is not None:
                    terms = replace(terms, purse=company.purse, weight=company.weight)
                report = await render_plan(
                    plan,
                    kind,
                    store,
                    floor.farm,
                    emit,
                    only=only,
                    one_class=one_class,
                    terms=terms,
                    floor=floor,
                )
            report = replace(report, spent=report.spent.after(used, order.budget.cost(used)))
            noted.spent(report.spent, report.gpus)
            artifacts, film = await _cut(order, made, store, report, one_class, emit)
            await held.finish(artifacts.key_list())
    return _result(order, made, report, film)


@asynccontextmanager
async def _floor(
    order: Order, store: Store, title: str, company: Company | None
) -> AsyncIterator[Floor]:
    """The company's, or a farm of the film's own."""
    if company is not None:
        yield company.floor
        return
    async with open_farm(order.profile, order.cluster, store, title=title) as farm:
        yield Alone(farm)


async def _cut(
    order: Order,
    made: Production,
    store: Store,
    report: FarmReport,
    one_class: OneClass | None,
    emit: Emit,
) -> tuple[StoredArtifacts, CutReport]:
    """The film of what the store has, with its manifest and timelines beside it."""
    plan, deliver = made.plan, order.profile.deliver
    artifacts = await asyncio.to_thread(
        look_up, plan, made.kind, store, report.artifacts, one_class
    )
    # Read anew: a take may have been chosen or held while the film was rendered.
    write_lock(order.lock_file, pin_windows(read_lock(order.lock_file), plan, artifacts))
    missing = _missing(plan, artifacts, report)
    emit(CutStarted(plan.frames, tuple(missing)))
    if line := unmatched(plan, artifacts, deliver.colour_match):
        emit(Notice(line))
    film = await stoppable(
        partial(cut_film, plan, artifacts, store, order.folder, deliver, missing)
    )
    reused = frozenset(artifacts) - (frozenset(report.artifacts) - report.reused)
    manifest = make_manifest(plan, artifacts, reused, report.failures, film)
    write_manifest(order.folder / "film.json", manifest)
    # A preview is to be there at once.
    if not deliver.preview:
        line = await asyncio.to_thread(write_beside, film, plan, artifacts, missing)
        if line:
            emit(Notice(line))
    return artifacts, film


def _poison(order: Order) -> Poison:
    of_series = order.asked is not None and order.asked.series is not None
    return Poison(order.folder / FAILED, RETRY_EPISODE if of_series else RETRY)


def _tell(emit: Emit, text: str) -> None:
    emit(Notice(text))


def wanted(plan: Plan, order: Order) -> frozenset[str] | None:
    """Recipes of the segments that the order asks for, without what they continue; None is all."""
    if order.shots is None:
        return None
    takes = (take for take in plan.takes if take.shot.id in order.shots)
    return frozenset(segment.recipe for take in takes for segment in take.segments)


def _announce(
    made: Production,
    store: Store,
    only: frozenset[str] | None,
    one_class: OneClass | None,
    emit: Emit,
) -> None:
    plan = made.plan
    segments = plan.segments if only is None else plan.with_history(only)
    render = predict(plan, stored_index(plan, made.kind, store, one_class)).render
    flops = sum(segment.flops for segment in segments if segment.recipe in render)
    reusable = sum(segment.recipe not in render for segment in segments)
    emit(Planned(plan.title, len(segments), reusable, plan.frames, flops))
    for line in (made.kind.notice, *map(str, plan.notices)):
        if line:
            emit(Notice(line))


def _missing(
    plan: Plan, artifacts: Mapping[str, Artifact], report: FarmReport
) -> Mapping[str, str]:
    """The cause for every shot of the cut that lacks a segment."""
    causes = missing_shots(report.failures)
    lacking = (
        entry.shot
        for entry in plan.cut
        if any(s.recipe not in artifacts for s in plan.take(entry.shot, entry.take).segments)
    )
    return {shot: causes.get(shot, "not rendered yet") for shot in lacking}


def _result(order: Order, made: Production, report: FarmReport, film: CutReport) -> Result:
    asked = order.shots if order.shots else {entry.shot for entry in made.plan.cut}
    return Result(
        title=made.plan.title,
        folder=order.folder,
        film=film.path,
        manifest=order.folder / "film.json",
        complete=not film.missing,
        failures=report.failures,
        rendered=report.rendered,
        reused=len(report.reused),
        spent=report.spent,
        exit_code=3 if report.failures or asked.intersection(film.missing) else 0,
    )
