"""The words of a film: looked through whenever it is planned, written before it is rendered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storyflow.documents import did_you_mean
from storyflow.errors import BudgetError, InputError, Problem
from storyflow.events import Event, Notice, PromptsWritten
from storyflow.farm.held import Held
from storyflow.lock import Lock
from storyflow.lockfile import pin, pin_prompts, read_lock, write_lock
from storyflow.prompts.settle import Settled, forget, keep, settle, standing_of
from storyflow.prompts.standing import Standing
from storyflow.stopping import Check, go_on, stoppable
from storyflow.storyboard.resolve import resolve
from storyflow.storyboard.resolved import ResolvedFilm

if TYPE_CHECKING:
    from storyflow.farm.language import KeptWriters
    from storyflow.film import Order
    from storyflow.planning.nodes import Plan
    from storyflow.prompts.model import Clip
    from storyflow.prompts.write import Writers, Written


@dataclass(frozen=True)
class Wording:
    """One beat's prompt as the lock has it now, and the words that it had before, if any.

    `state` is how it stood before: see `prompts/standing.py`.
    """

    name: str
    shot: str
    beat: int
    state: str
    text: str
    before: str
    source: str
    hand: bool = False
    provisional: bool = False
    dropped: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether its words are others than before."""
        return self.text != self.before


@dataclass(frozen=True)
class Wordings:
    """The prompts of a film for one prompt profile, and what is to be told about them."""

    profile: str
    prompts: tuple[Wording, ...]
    notices: tuple[Problem, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether no prompt waits for a model."""
        return not any(prompt.provisional for prompt in self.prompts)


def look_through(order: Order) -> tuple[ResolvedFilm, Settled]:
    """The film, and the lock with every prompt that needs no model. Raises StoryboardError.

    A kind that reads no prompts pins none: an animatic says nothing about the film's words.
    """
    film, lock = _film(order)
    if not order.kind.embeds_prompts:
        return film, Settled(lock, ())
    return film, _settle(order, film, lock)


async def write_words(
    order: Order,
    plan: Plan,
    emit: Callable[[Event], None],
    held: Held | None = None,
    models: KeptWriters | None = None,
) -> bool:
    """Like `write_needed`, for a run, which tells and can be stopped."""

    def tell(text: str) -> None:
        emit(Notice(text))

    held = held or Held()
    try:
        return await stoppable(lambda check: write_needed(order, plan, tell, check, held, models))
    finally:
        if held.gpu_seconds:
            emit(PromptsWritten(held.gpu_seconds))


def write_needed(
    order: Order,
    plan: Plan,
    notify: Callable[[str], None],
    check: Check = go_on,
    held: Held | None = None,
    models: KeptWriters | None = None,
) -> bool:
    """Have a model write the prompts that a render needs and the lock lacks; whether it wrote any.

    `plan` is the order's, as it is without them; `held` is told what the model holds. Without
    `models` that are there already, the profile's are started. Raises
    ModelError, InfrastructureError, StoryboardError: see `prompts/write.py`; BudgetError where the
    order's limits are reached.
    """
    if not order.kind.embeds_prompts or order.profile.prompts.composed:
        return False
    needed = _shots(order, plan)
    film, settled = look_through(order)
    due = [row for row in settled.due if row.shot.id in needed]
    if not due:
        return False
    notify(f"writing {_count(len(due), 'prompt')} with {order.profile.prompts.profile}")
    written = _write(order, film, settled, needed, notify, check, held=held, models=models)
    _save(order, film, written)
    for problem in written.problems:
        notify(str(problem))
    return True


def write_film(
    order: Order,
    *,
    kept: Iterable[str] = (),
    rewritten: Iterable[str] = (),
    tails: Mapping[str, Clip] | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Wordings:
    """Write what is due of a film's prompts into its lock; all of them, or those of its shots.

    `kept` and `rewritten` name beats (`1C`, `1C/2`): those keep their words whatever the storyboard
    says now, these get new ones. `tails` are rendered frames that shots continue, to be looked at.
    Raises InputError, ModelError, InfrastructureError.
    """
    if not order.kind.embeds_prompts:
        raise InputError(
            f"{order.pipeline} reads no prompts",
            cure="name the pipeline that the film is made with: --pipeline",
        )
    settings = order.profile.prompts
    film, lock = _film(order)
    _known(film, order.shots)
    before = list(standing_of(film, lock, settings))
    lock = forget(film, keep(film, lock, settings, kept), settings, rewritten)
    if order.kind.tokens is not None:
        order.kind.tokens.fetch()
    settled = _settle(order, film, lock, order.shots)
    needed = {row.shot.id for row in settled.due}
    if order.shots is not None:
        needed &= order.shots
    needed |= {shot for shot in tails or () if order.shots is None or shot in order.shots}
    written = _write(order, film, settled, needed, notify, tails=tails)
    rows = [_wording(was, now) for was, now in zip(before, written.standing, strict=True)]
    shown = [row for row in rows if order.shots is None or row.shot in order.shots]
    _save(order, film, written)
    return Wordings(settings.profile, tuple(shown), written.problems)


def _film(order: Order) -> tuple[ResolvedFilm, Lock]:
    lock = read_lock(order.lock_file)
    film = resolve(order.film, lock.pinned, allow_outside=order.allow_outside)
    return film, pin(lock, film)


def _settle(
    order: Order, film: ResolvedFilm, lock: Lock, only: Collection[str] | None = None
) -> Settled:
    prompts, tokens = order.profile.prompts, order.kind.tokens
    return settle(film, lock, prompts, tokens, file=order.lock_file, only=only)


def _write(
    order: Order,
    film: ResolvedFilm,
    settled: Settled,
    needed: Collection[str],
    notify: Callable[[str], None],
    check: Check = go_on,
    tails: Mapping[str, Clip] | None = None,
    held: Held | None = None,
    models: KeptWriters | None = None,
) -> Written:
    # Engines and media are not needed for planning, which imports this.
    from storyflow.farm.language import ProfileWriters
    from storyflow.prompts.checked import CheckedWriters
    from storyflow.prompts.write import Written, write

    settings = order.profile.prompts
    if settings.composed:
        return Written(settled.lock, settled.standing, settled.notices)

    holds = held or Held()

    def within() -> None:
        check()
        order.budget.refuse(holds.gpu_seconds, "going on with the prompts")

    within()
    _refuse_wide(order)
    there: Writers
    if models is None:
        there = ProfileWriters(settings, order.cluster, notify, within, holds)
    else:
        there = models.during(within)
    writers = CheckedWriters(there, within)
    tokens = order.kind.tokens
    return write(film, settled, settings, tokens, writers, only=needed, tails=tails)


def _refuse_wide(order: Order) -> None:
    """Raise BudgetError for a model that holds more GPUs at once than the order may."""
    prompts, most = order.profile.prompts, order.budget.gpus
    pairs = ((prompts.enhancer, prompts.language), (prompts.captioner, prompts.vision))
    for writer, model in pairs:
        if writer == "vllm" and most is not None and model.tensor_parallel > most:
            raise BudgetError(
                f"{model.model} holds {model.tensor_parallel} GPUs, more than --max-gpus {most}",
                cure="raise the limit, or change tensor_parallel in the profile's prompts",
            )


def _save(order: Order, film: ResolvedFilm, written: Written) -> None:
    """Put the words into the lock, read anew: a take may have been chosen in the meantime."""
    profile = order.profile.prompts.profile
    prompts = {entry.id: entry.prompts_for(profile) for entry in written.lock.shots}
    lock = pin_prompts(pin(read_lock(order.lock_file), film), profile, prompts)
    order.lock_file.parent.mkdir(parents=True, exist_ok=True)
    write_lock(order.lock_file, lock)


def _wording(before: Standing, now: Standing) -> Wording:
    locked = now.locked
    return Wording(
        name=now.name,
        shot=now.shot.id,
        beat=now.beat,
        state=before.state,
        text=now.text,
        before=before.text,
        source="" if locked is None else locked.source,
        hand=now.state == "edited",
        provisional=now.state == "provisional",
        dropped=() if locked is None else locked.dropped,
    )


def _known(film: ResolvedFilm, shots: Collection[str] | None) -> None:
    ids = [shot.id for shot in film.shots]
    for id in sorted(shots or ()):
        if id not in ids:
            raise InputError(f"the film has no shot {id!r}", cure=did_you_mean(id, ids))


def _shots(order: Order, plan: Plan) -> frozenset[str]:
    """The shots that a run renders: those that are asked for, and what they continue."""
    if order.shots is None:
        return frozenset(take.shot.id for take in plan.takes)
    recipes = {s.recipe for t in plan.takes if t.shot.id in order.shots for s in t.segments}
    return frozenset(segment.shot for segment in plan.with_history(recipes))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
