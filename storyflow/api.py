"""The verbs of storyflow, as functions; the command line calls nothing else.

    import storyflow

    film = storyflow.load("storyboards/first-light.yaml")
    problems = storyflow.check(film)
    result = storyflow.render(film, pipeline="toybox")

A film is a `Film`, built from objects or loaded, or the path of a storyboard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from storyflow import lockfile
from storyflow.beforehand import diff_of, estimate_of, look_ahead
from storyflow.cluster import Cluster, load_cluster
from storyflow.cutlist import cut_schema
from storyflow.draining import Draining
from storyflow.errors import (
    InputError,
    Problem,
    StoryboardError,
    StoryflowError,
)
from storyflow.events import Event, PromptsWritten, Result, SegmentDone, Spent
from storyflow.farm.lookup import look_up
from storyflow.film import Emit, Order, Production, prepare, render_film
from storyflow.lockfile import lock_path, read_lock
from storyflow.manyvalues import many_values
from storyflow.metrics.measured import measured
from storyflow.ordering import (
    Options,
    Storyboard,
    accept,
    asked_again,
    inheritance,
    known_shots,
    order,
    read_film,
    save_lock,
)
from storyflow.planning.diff import Diff
from storyflow.planning.estimate import Quote, quote_of
from storyflow.planning.nodes import Plan
from storyflow.planning.pinning import branch_point, held_take
from storyflow.poison import FAILED, Failed, Poison
from storyflow.record import read_record
from storyflow.replaying import Replay, replay_artifact
from storyflow.run import Run
from storyflow.series.load import series_schema
from storyflow.store.store import Store
from storyflow.storyboard import load as storyboards
from storyflow.storyboard.dump import dump
from storyflow.storyboard.load import load, parse
from storyflow.storyboard.resolve import resolve
from storyflow.storyboard.schema import json_schema
from storyflow.storyboard.show import resolved_yaml
from storyflow.storyboard.writeids import write_ids as write_ids_into
from storyflow.timing import parse_duration
from storyflow.wording import Wordings, write_film

if TYPE_CHECKING:
    from storyflow.prompts.model import Clip


def check(film: Storyboard, **options: Unpack[Options]) -> tuple[Problem, ...]:
    """Every error and notice of a storyboard, also those of planning it.

    Raises ProfileError and ModelError, when the pipeline is at fault, and StoryboardError for the
    file of a `series`; never for the storyboard.
    """
    allow = options.get("allow_outside", False)
    inherit = inheritance(film, options.get("series"))
    found = storyboards.check(film, allow_outside=allow, inherit=inherit)
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


@many_values()
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

    Instead of a storyboard the folder of a film will do: it is made like the last time, but for
    what the options say.

    Raises InputError for what can't be rendered at all, BudgetError for what would cost more than
    the limits allow; everything later is in the run's result.
    """
    film, options = asked_again(film, options)
    what = order(film, **options)
    made = accept(what)
    tally = _Tally(what, made)
    draining = Draining()

    async def work(emit: Emit) -> Result:
        def told(event: Event) -> None:
            tally.count(event)
            emit(event)

        with measured(what.cluster, made.plan.title, what.store, told) as told_on:
            return await render_film(what, made, told_on, draining)

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
        known_shots(what, prepare(what).plan)
    return Poison(what.folder / FAILED).forget(what.shots)


def cut(film: Storyboard, **options: Unpack[Options]) -> Result:
    """Cut a film again from what the store has; renders nothing. Raises like `render`.

    What isn't rendered becomes cards in a partial film. The film's folder will do, as for `start`.
    """
    options["shots"] = ()
    return start(film, **options).result()


def show(film: Storyboard, *, resolved: bool = False, series: str | Path | None = None) -> str:
    """A storyboard as YAML: as it was read or, `resolved`, with all defaults applied.

    With its `series` it says what it inherits, too. Raises StoryboardError.
    """
    film = read_film(film, series=series)
    return resolved_yaml(resolve(film), film.origin.root) if resolved else dump(film)


def schema(kind: Literal["storyboard", "cut", "series"] = "storyboard") -> dict[str, object]:
    """The JSON Schema of a storyboard, a cut list or a series, for completion in an editor."""
    return {"storyboard": json_schema, "cut": cut_schema, "series": series_schema}[kind]()


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


def _tails(what: Order) -> dict[str, Clip]:
    if what.profile.prompts.captioner == "none":
        raise InputError(
            f"{what.pipeline} has nobody who looks at what was rendered",
            cure="name a captioner: --set prompts.captioner=vllm",
        )
    from storyflow.tails import rendered_tails

    return rendered_tails(prepare(what).plan, what.kind, what.open_store())


class _Tally:
    """Counts what a run did, for the result of one that did not end by itself."""

    def __init__(self, what: Order, made: Production) -> None:
        self.what, self.made = what, made
        self.rendered = self.reused = 0
        self.seconds = self.prompts = 0.0

    def count(self, event: Event) -> None:
        if isinstance(event, SegmentDone):
            self.reused += event.reused
            self.rendered += not event.reused
            self.seconds += 0.0 if event.reused else event.seconds
        elif isinstance(event, PromptsWritten):
            self.prompts += event.gpu_seconds

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
            spent=Spent(self.seconds, self.seconds, prompt_seconds=self.prompts),
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
