"""The verbs of storyflow, as functions; the command line calls nothing else.

    import storyflow

    film = storyflow.load("storyboards/first-light.yaml")
    problems = storyflow.check(film)
    result = storyflow.render(film, pipeline="toybox")

A film is a `Film`, built from objects or loaded, or the path of a storyboard.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from storyflow import lockfile
from storyflow.beforehand import diff_of, estimate_of, look_ahead
from storyflow.budget import Budget
from storyflow.cluster import Cluster, load_cluster
from storyflow.documents import did_you_mean
from storyflow.draining import Draining
from storyflow.errors import (
    InputError,
    Problem,
    ProfileError,
    StoreError,
    StoryboardError,
    StoryflowError,
)
from storyflow.events import Event, Notice, Result, SegmentDone, Spent
from storyflow.farm.lookup import look_up
from storyflow.film import Emit, Order, Production, prepare, refuse_unsupported, render_film
from storyflow.kinds import kind_of
from storyflow.lock import Lock
from storyflow.lockfile import lock_path, read_lock, write_lock
from storyflow.pipeline import load_profile
from storyflow.planning.diff import Diff
from storyflow.planning.estimate import Quote, quote_of
from storyflow.planning.nodes import Plan
from storyflow.planning.pinning import branch_point, held_take
from storyflow.poison import FAILED, Failed, Poison
from storyflow.record import read_record
from storyflow.replaying import Replay, replay_artifact
from storyflow.run import Run
from storyflow.settings import find_named, locate
from storyflow.store.store import Store
from storyflow.storyboard import load as storyboards
from storyflow.storyboard.dump import dump
from storyflow.storyboard.load import load, parse
from storyflow.storyboard.model import Film
from storyflow.storyboard.resolve import resolve
from storyflow.storyboard.schema import json_schema
from storyflow.storyboard.show import resolved_yaml
from storyflow.storyboard.writeids import write_ids as write_ids_into
from storyflow.timing import parse_duration
from storyflow.wording import Wordings, write_film

if TYPE_CHECKING:
    from storyflow.prompts.model import Clip

Storyboard = Film | str | Path


class Options(TypedDict, total=False):
    """What every verb that plans or renders takes besides the film.

    `pipeline` and `cluster` are shipped names or files, `settings` are `section.field=value`
    texts, `out` is the film's folder. `store`, `address`, `workers` and `priority` (what the run
    counts on a busy cluster) override the cluster file. `shots` limits rendering to these and what
    they continue, `allow_outside` lets references lead out of the storyboard's folder.
    `max_gpu_hours`, `max_cost` and `max_gpus` limit what a render may use, `one_class` holds it to
    one numerics class.
    """

    pipeline: str | Path
    cluster: str | Path | Cluster
    settings: Sequence[str]
    out: str | Path | None
    store: str | Path | None
    shots: Iterable[str] | None
    address: str | None
    workers: int | None
    priority: float | None
    allow_outside: bool
    max_gpu_hours: float | None
    max_cost: float | None
    max_gpus: int | None
    one_class: bool


def check(film: Storyboard, **options: Unpack[Options]) -> tuple[Problem, ...]:
    """Every error and notice of a storyboard, also those of planning it.

    Raises ProfileError and ModelError, when the pipeline is at fault; never for the storyboard.
    """
    found = storyboards.check(film, allow_outside=options.get("allow_outside", False))
    if any(problem.level == "error" for problem in found):
        return found
    try:
        notices = prepare(order(film, **options)).plan.notices
    except StoryboardError as error:
        return (*found, *error.problems)
    return (*found, *(p for p in notices if p not in found))


def plan(film: Storyboard, **options: Unpack[Options]) -> Plan:
    """The film as a graph of segments, as a render would follow it. Raises InputError."""
    return prepare(order(film, **options)).plan


def quote(film: Storyboard, **options: Unpack[Options]) -> Quote:
    """What a render would do: a row per take, reuse, totals, time and money.

    Raises InputError, StoreError.
    """
    what = order(film, **options)
    made = prepare(what)
    store = what.open_store()
    ahead = look_ahead(what, made, store)
    record = read_record(what.folder)
    last = None if record is None else record.last
    return quote_of(made.plan, ahead.prediction, made.kind, estimate_of(ahead), last)


def diff(film: Storyboard, **options: Unpack[Options]) -> Diff:
    """What a render would reuse and render, and which input of each segment has changed.

    Raises InputError, StoreError.
    """
    what = order(film, **options)
    made = prepare(what)
    store = what.open_store()
    return diff_of(look_ahead(what, made, store))


def replay(
    key: str, *, store: str | Path | None = None, cluster: str | Path | Cluster = "local"
) -> Replay:
    """Make the artifact of a key (or of its first letters) again from its stored inputs.

    Raises InputError: no such key, one that can't be made again; StoreError, SegmentError,
    ModelError.
    """
    if not isinstance(cluster, Cluster):
        cluster = load_cluster(cluster)
    return replay_artifact(Store(store or cluster.store, cluster.cache.limit), key)


def start(film: Storyboard, **options: Unpack[Options]) -> Run:
    """Begin to render and return at once: events, cancelling and the result are the run's.

    Raises InputError for what can't be rendered at all, BudgetError for what would cost more than
    the limits allow; everything later is in the run's result.
    """
    what = order(film, **options)
    made, notices = accept(what)
    tally = _Tally(what, made)
    draining = Draining()

    async def work(emit: Emit) -> Result:
        def told(event: Event) -> None:
            tally.count(event)
            emit(event)

        for line in notices:
            emit(Notice(line))
        return await render_film(what, made, told, draining)

    return Run(work, tally.ending, draining)


def render(film: Storyboard, **options: Unpack[Options]) -> Result:
    """Render a film and wait for it. A partial film is a result.

    Raises InputError before anything is rendered, InfrastructureError when the machine fails.
    """
    return start(film, **options).result()


def retry(film: Storyboard, **options: Unpack[Options]) -> tuple[Failed, ...]:
    """Let the next render try again what failed for good, in the `shots` or in the whole film.

    What will be tried again. Raises InputError, InfrastructureError.
    """
    what = order(film, **options)
    if what.shots:
        _known_shots(what, prepare(what).plan)
    return Poison(what.folder / FAILED).forget(what.shots)


def cut(film: Storyboard, **options: Unpack[Options]) -> Result:
    """Cut a film again from what the store has; renders nothing. Raises like `render`."""
    options["shots"] = ()
    return start(film, **options).result()


def show(film: Storyboard, *, resolved: bool = False) -> str:
    """A storyboard as YAML: as it was read or, `resolved`, with all defaults applied.

    Raises StoryboardError.
    """
    film = _film(film)
    return resolved_yaml(resolve(film), film.origin.root) if resolved else dump(film)


def schema() -> dict[str, object]:
    """The JSON Schema of a storyboard, for completion in an editor."""
    return json_schema()


def write_ids(file: str | Path) -> tuple[str, ...]:
    """Write the ids of shots that have none into the file; comments stay. The new ids.

    Raises StoryboardError, InfrastructureError when the file can't be written.
    """
    file = Path(file)
    return write_ids_into(file, load(file), read_lock(lock_path(file)).pinned)


def write_prompts(
    film: Storyboard,
    *,
    keep: Iterable[str] = (),
    rewrite: Iterable[str] = (),
    from_renders: bool = False,
    notify: Callable[[str], None] = lambda _: None,
    **options: Unpack[Options],
) -> Wordings:
    """Write the prompts that are missing or out of date into the lock; all of them, or `shots`'.

    `keep` and `rewrite` name beats (`1C`, `1C/2`): those keep the lock's words whatever the
    storyboard says now, these get new ones. With `from_renders` the profile's captioner looks at
    the rendered frames that shots continue, and those shots are written anew in view of them.
    `notify` is told what a model waits for. Raises InputError (StoryboardError for prompts that
    were edited by hand and whose shots have changed), ModelError, InfrastructureError.
    """
    what = order(film, **options)
    tails = _tails(what) if from_renders else None
    return write_film(what, kept=keep, rewritten=rewrite, tails=tails, notify=notify)


def choose_take(film: Storyboard, shot: str, take: int, **options: Unpack[Options]) -> None:
    """The cut uses this take of the shot from now on. Raises InputError."""
    what = order(film, **options)
    made = prepare(what)
    save_lock(what, lockfile.choose_take(made.lock, shot, take))


def hold(film: Storyboard, shot: str, **options: Unpack[Options]) -> None:
    """Keep the take of the shot that the cut uses when its inputs change.

    Raises InputError: an unknown shot, or a take that isn't rendered.
    """
    what = order(film, **options)
    made = prepare(what)
    found = look_up(made.plan, made.kind, what.open_store())
    keys = {recipe: artifact.key for recipe, artifact in found.items()}
    save_lock(what, lockfile.hold(made.lock, shot, held_take(made.plan, shot, keys)))


def release(film: Storyboard, shot: str, **options: Unpack[Options]) -> None:
    """Let a held shot follow its inputs again. Raises InputError."""
    what = order(film, **options)
    save_lock(what, lockfile.unhold(prepare(what).lock, shot))


def branch(
    film: Storyboard, shot: str, at: str, *, take: int = 1, **options: Unpack[Options]
) -> int:
    """A new take that shares what a take shows before `at` (0:14, 14s, 336f); its number.

    The take is rendered by the next run, and used by the cut once chosen. Raises InputError.
    """
    what = order(film, **options)
    made = prepare(what)
    try:
        source = made.plan.take(shot, take)
        frame = int(parse_duration(at).to_frames(made.plan.fps))
    except KeyError:
        raise InputError(f"there is no take {take} of a shot {shot}") from None
    except ValueError as error:
        raise InputError(f"--at {at}: {error}") from None
    lock, made_take = lockfile.branch_take(made.lock, shot, take, branch_point(source, frame))
    save_lock(what, lock)
    return made_take.take


def order(
    film: Storyboard,
    *,
    pipeline: str | Path = "toybox",
    cluster: str | Path | Cluster = "local",
    settings: Sequence[str] = (),
    out: str | Path | None = None,
    store: str | Path | None = None,
    shots: Iterable[str] | None = None,
    address: str | None = None,
    workers: int | None = None,
    priority: float | None = None,
    allow_outside: bool = False,
    max_gpu_hours: float | None = None,
    max_cost: float | None = None,
    max_gpus: int | None = None,
    one_class: bool = False,
) -> Order:
    """All that a render needs, read and checked; see Options. Raises InputError; writes nothing."""
    film = _film(film, allow_outside=allow_outside)
    name, profile = load_profile(pipeline, settings)
    overrides = [f"address={address}"] if address is not None else []
    overrides += worker_overrides(workers, priority)
    if isinstance(cluster, Cluster):
        if overrides:
            raise InputError(
                "address, workers and priority stand in the Cluster that was given",
                cure="change them there",
            )
    else:
        cluster = load_cluster(cluster, overrides)
    file = film.origin.file
    folder = Path(out) if out is not None else Path("renders") / (_stem(file) or _slug(film.film))
    try:
        kind = kind_of(profile, threads=cluster.workers.threads)
    except ProfileError as error:
        place = find_named(pipeline, "pipelines", "pipeline")
        raise ProfileError(locate(error.problems, place, settings)) from None
    return Order(
        film=film,
        pipeline=name,
        profile=profile,
        kind=kind,
        cluster=cluster,
        folder=folder,
        store=str(store if store is not None else cluster.store),
        lock_file=lock_path(Path(file)) if file else folder / "film.lock.yaml",
        shots=None if shots is None else frozenset(shots),
        allow_outside=allow_outside,
        budget=Budget(max_gpu_hours, max_cost, max_gpus, cluster.price, cluster.currency),
        one_class=one_class,
    )


def _tails(what: Order) -> dict[str, Clip]:
    if what.profile.prompts.captioner == "none":
        raise InputError(
            f"{what.pipeline} has nobody who looks at what was rendered",
            cure="name a captioner: --set prompts.captioner=vllm",
        )
    from storyflow.tails import rendered_tails

    return rendered_tails(prepare(what).plan, what.kind, what.open_store())


def worker_overrides(workers: int | None, priority: float | None) -> list[str]:
    """What these say instead of the cluster file, as `section.field=value`."""
    given = {"count": workers, "weight": priority}
    return [f"workers.{name}={value}" for name, value in given.items() if value is not None]


def _film(film: Storyboard, *, allow_outside: bool = False) -> Film:
    return film if isinstance(film, Film) else load(film, allow_outside=allow_outside)


def _stem(file: str | None) -> str:
    return Path(file).stem if file else ""


def _slug(title: str) -> str:
    return re.sub(r"[^\w]+", "-", title.lower()).strip("-")[:80] or "film"


def save_lock(what: Order, lock: Lock) -> None:
    """Write an order's lock where it belongs. Raises InfrastructureError."""
    what.lock_file.parent.mkdir(parents=True, exist_ok=True)
    write_lock(what.lock_file, lock)


def _known_shots(what: Order, planned: Plan) -> None:
    ids = [entry.shot for entry in planned.cut]
    for shot in sorted(what.shots or ()):
        if shot not in ids:
            raise InputError(f"the film has no shot {shot!r}", cure=did_you_mean(shot, ids))


def accept(what: Order) -> tuple[Production, tuple[str, ...]]:
    """Plan an order as a render does, with lines about what it leaves out.

    Raises InputError for what can't be rendered at all, BudgetError for what may not.
    """
    made = prepare(what)
    _known_shots(what, made.plan)
    notices = refuse_unsupported(made)
    return _estimated(what, made), notices


def _estimated(what: Order, made: Production) -> Production:
    """With what the order would cost. Raises BudgetError where that is more than is allowed."""
    try:
        store = what.open_store()
        estimate = estimate_of(look_ahead(what, made, store))
    except StoreError:
        return made  # the run tells it, with what else it finds
    what.budget.refuse(estimate.gpu_seconds, f"the plan (estimated from {estimate.source})")
    return replace(made, estimate=estimate)


class _Tally:
    """Counts what a run did, for the result of one that did not end by itself."""

    def __init__(self, what: Order, made: Production) -> None:
        self.what, self.made = what, made
        self.rendered = self.reused = 0
        self.seconds = 0.0

    def count(self, event: Event) -> None:
        if isinstance(event, SegmentDone):
            self.reused += event.reused
            self.rendered += not event.reused
            self.seconds += 0.0 if event.reused else event.seconds

    def ending(self, error: BaseException) -> Result:
        """The result of a run that was cancelled or broke down."""
        return Result(
            title=self.made.plan.title,
            folder=self.what.folder,
            film=None,
            manifest=None,
            complete=False,
            failures=(),
            rendered=self.rendered,
            reused=self.reused,
            spent=Spent(self.seconds, self.seconds),
            exit_code=error.exit_code if isinstance(error, StoryflowError) else 5,
            error=str(error) or type(error).__name__,
        )


__all__ = [
    "Options",
    "branch",
    "check",
    "choose_take",
    "cut",
    "diff",
    "hold",
    "load",
    "order",
    "parse",
    "plan",
    "quote",
    "release",
    "render",
    "replay",
    "retry",
    "schema",
    "show",
    "start",
    "write_ids",
    "write_prompts",
]
