"""The prompt stage: a language model completes what is due, and the result is held to the facts.

    settled = settle(film, lock, settings, tokens)
    written = write(film, settled, settings, tokens, writers)
    written.lock

Whatever a model returns, what the storyboard states is in every prompt.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from storyflow.errors import InfrastructureError, InputError, Problem, StoryboardError
from storyflow.lock import Lock, LockedPrompt
from storyflow.lockfile import pin_prompts
from storyflow.prompts.asking import Manner, Trouble
from storyflow.prompts.caption import ShotCaption, Subject, from_json, to_json
from storyflow.prompts.captioner import caption_clips, look_at
from storyflow.prompts.describe import describe
from storyflow.prompts.english import head
from storyflow.prompts.enhance import enhance
from storyflow.prompts.finish import Finished, finish
from storyflow.prompts.fuse import fuse
from storyflow.prompts.instructions import Task, instructions
from storyflow.prompts.merge import Form, Merged, merge
from storyflow.prompts.model import Clip, LanguageModel
from storyflow.prompts.neighbours import BeatKey, Context
from storyflow.prompts.settings import ModelSettings, PromptsSection
from storyflow.prompts.settle import Settled, composed, stamp, too_long
from storyflow.prompts.standing import Standing
from storyflow.renderer import Tokens
from storyflow.storyboard.resolved import ResolvedFilm, ResolvedShot


class Writers(Protocol):
    """Where the models of a profile are to be had; each lives as long as its context."""

    def language(self) -> AbstractContextManager[LanguageModel]:
        """The enhancer and fuser. Raises ModelError, InfrastructureError."""

    def vision(self) -> AbstractContextManager[LanguageModel]:
        """The captioner. Raises ModelError, InfrastructureError."""


@dataclass(frozen=True)
class Written:
    """The lock with the words that were due, and what is to be told about them."""

    lock: Lock
    standing: tuple[Standing, ...]
    problems: tuple[Problem, ...] = ()


def write(
    film: ResolvedFilm,
    settled: Settled,
    settings: PromptsSection,
    tokens: Tokens | None,
    writers: Writers,
    *,
    only: Collection[str] | None = None,
    tails: Mapping[str, Clip] | None = None,
) -> Written:
    """Write the prompts that are due, of `only` these shots where they are named.

    `tails` has, by shot, rendered frames that it continues: the captioner looks at them, and the
    first beats of these shots are written anew, but for those that were edited by hand.

    A beat for which the model finds nothing that can be used gets the composer's words,
    provisionally. When the model dies, `settings.on_failure` decides whether all others get them,
    too. Raises ModelError for a model or an engine that isn't there, InfrastructureError where it
    died and nothing is to be rendered without it, StoryboardError for a storyboard whose own words
    don't fit the text encoder.
    """
    tails = {shot: tail for shot, tail in (tails or {}).items() if only is None or shot in only}
    again = {
        _key(row)
        for row in settled.standing
        if row.state == "kept" and row.beat == 0 and row.shot.id in tails
    }
    waiting = {_key(row) for row in settled.due if only is None or row.shot.id in only}
    due = [row for row in settled.standing if _key(row) in waiting | again]
    if not due:
        return Written(settled.lock, settled.standing, settled.notices)
    problems = list(settled.notices)
    try:
        context = _context(settled.standing, due, settings, writers, tails, problems)
        made = _ask(film, due, context, settings, tokens, writers, problems)
    except InfrastructureError as error:
        if settings.on_failure == "stop":
            raise
        problems += _stood_in(due, error)
        made = {_key(row): _without_model(row) for row in due}
    rows = tuple(made.get(_key(row), row) for row in settled.standing)
    if tokens is not None:
        long = tuple(too_long((made[_key(row)] for row in due), tokens))
        if long:
            raise StoryboardError(long)
    return Written(_pinned(settled.lock, settings.profile, rows), rows, tuple(problems))


def form_of(shot: ResolvedShot) -> Form:
    """What a shot's prompts are for: those that begin with a picture need not describe it."""
    return "image" if shot.mode in ("image", "first-last") else "text"


def _ask(
    film: ResolvedFilm,
    due: Sequence[Standing],
    context: Context,
    settings: PromptsSection,
    tokens: Tokens | None,
    writers: Writers,
    problems: list[Problem],
) -> dict[BeatKey, Standing]:
    """What the enhancer and the fuser make of the beats that are due. Raises EngineDied."""
    rows = {_key(row): row for row in due}
    texts: Mapping[BeatKey, str] = {}
    troubles: Mapping[BeatKey, str] = {}
    if settings.enhancer == "none":
        merged = {key: _merged(row, None, context) for key, row in rows.items()}
    else:
        with writers.language() as model:
            manner = _manner("enhancer", settings.instructions.enhancer, settings.language)
            proposals = enhance(film, model, manner, beats=set(rows), context=context)
            problems += proposals.problems
            merged = {
                key: _merged(row, proposals.captions[key], context)
                for key, row in rows.items()
                if key in proposals.captions
            }
            captions = {key: each.caption(spoken=False) for key, each in merged.items()}
            forms = {key: form_of(rows[key].shot) for key in merged}
            texts, troubles = fuse(captions, forms, model, _fusers(settings))
    made = {}
    for key, row in rows.items():
        if key not in merged:
            made[key] = _without_model(row)
            continue
        done = finish(merged[key], texts.get(key), form_of(row.shot), settings.words, tokens)
        problems += _told(row, merged[key], done, troubles.get(key))
        made[key] = _standing(row, merged[key], done, settings, provisional=key in troubles)
    return made


def _without_model(row: Standing) -> Standing:
    """A beat that no model has written: words that are still about it stay."""
    return row if row.usable else composed(row, provisional=True)


def _standing(
    row: Standing,
    merged: Merged,
    done: Finished,
    settings: PromptsSection,
    *,
    provisional: bool,
) -> Standing:
    locked = LockedPrompt(
        text=done.text,
        stamp=stamp(row.facts, done.text),
        source=settings.source,
        provisional=provisional,
        caption=to_json(merged.caption(spoken=False)),
        dropped=done.dropped,
    )
    return replace(row, state="provisional" if provisional else "kept", locked=locked)


def _context(
    standing: Sequence[Standing],
    due: Sequence[Standing],
    settings: PromptsSection,
    writers: Writers,
    tails: Mapping[str, Clip],
    problems: list[Problem],
) -> Context:
    """What is known besides the storyboard: captions in the lock, and what the captioner sees."""
    asked = {_key(row) for row in due}
    written = {
        _key(row): caption
        for row in standing
        if row.usable and _key(row) not in asked and (caption := _caption(row)) is not None
    }
    if settings.captioner == "none":
        return Context(written)
    shots = list({row.shot.id: row.shot for row in due}.values())
    shown = {shot.id: shot.source for shot in shots if shot.source is not None}
    refs = {
        each.name: each.ref
        for row in due
        for each in row.shot.beats[row.beat].who
        if each.ref is not None
    }
    clips: dict[Path | str, Clip] = {shot: tail for shot, tail in tails.items()}
    for path in dict.fromkeys([*shown.values(), *refs.values()]):
        try:
            clips[path] = look_at(path)
        except InputError as error:
            problems.append(_notice(None, "not-captioned", error.what))
    seen = _look(clips, settings, writers, problems) if clips else {}
    return Context(
        written,
        shown={shot: seen[path] for shot, path in shown.items() if path in seen}
        | {shot: seen[shot] for shot in tails if shot in seen},
        looks={name: seen[path] for name, path in refs.items() if path in seen},
    )


def _look(
    clips: Mapping[Path | str, Clip],
    settings: PromptsSection,
    writers: Writers,
    problems: list[Problem],
) -> dict[Path | str, ShotCaption]:
    """What the captioner sees in each clip; a notice for each in which it sees nothing."""
    manner = _manner("captioner", settings.instructions.captioner, settings.vision)
    with writers.vision() as model:
        said = caption_clips(list(clips.values()), model, manner)
    seen = {}
    for name, caption in zip(clips, said, strict=True):
        if isinstance(caption, Trouble):
            shown = name.name if isinstance(name, Path) else f"the frames that {name} continues"
            what = f"the captioner has not described {shown}: {caption.cause}"
            problems.append(_notice(None, "not-captioned", what))
        else:
            seen[name] = caption
    return seen


def _merged(row: Standing, enhanced: ShotCaption | None, context: Context) -> Merged:
    stated = describe(row.shot, row.shot.beats[row.beat])
    return merge(stated, enhanced, _seen(row, context), form_of(row.shot))


def _seen(row: Standing, context: Context) -> ShotCaption | None:
    """What the captioner saw of a shot: its picture or clip, and its cast's reference pictures."""
    shown = context.shown.get(row.shot.id)
    people = []
    for each in row.shot.beats[row.beat].who:
        look = context.looks.get(each.name)
        subjects = look.subjects if look is not None else ()
        main = next((s for s in subjects if s.is_main_subject), subjects[0] if subjects else None)
        if main is not None:
            people.append(Subject(main.type, head(each.look), main.appearance))
    if not people:
        return shown
    shown = shown or ShotCaption()
    return replace(shown, subjects=(*people, *shown.subjects))


def _caption(row: Standing) -> ShotCaption | None:
    """The caption that a prompt in the lock was made from, where it has a readable one."""
    if row.locked is None or not row.locked.caption:
        return None
    try:
        return from_json(row.locked.caption)
    except InputError:
        return None  # edited by hand, perhaps; it is context only


def _fusers(settings: PromptsSection) -> dict[Form, Manner]:
    files, model = settings.instructions, settings.language
    return {
        "text": _manner("fuser-text", files.fuser, model),
        "image": _manner("fuser-image", files.image_fuser, model),
    }


def _manner(task: Task, file: str | None, model: ModelSettings) -> Manner:
    return Manner(
        instructions(task, Path(file).expanduser() if file else None),
        max_tokens=model.max_tokens,
        temperature=model.temperature,
        seed=model.seed,
    )


def _pinned(lock: Lock, profile: str, rows: Sequence[Standing]) -> Lock:
    prompts: dict[str, tuple[LockedPrompt, ...]] = {}
    for row in rows:
        if row.locked is not None:
            prompts[row.shot.id] = (*prompts.get(row.shot.id, ()), row.locked)
    return pin_prompts(lock, profile, prompts)


def _told(row: Standing, merged: Merged, done: Finished, trouble: str | None) -> Iterator[Problem]:
    """Lines about one prompt: conflicts, what was left out, and why the composer wrote it."""
    for conflict in merged.conflicts:
        yield _notice(row, "kept-storyboard", f"{conflict}; the storyboard's stays")
    if trouble is not None:
        what = f"no prose by the model ({trouble}), the composer's stands in"
        yield _notice(row, "not-fused", what)
    elif done.complaint:
        what = f"the model's prose {done.complaint}; the composer's is used"
        yield _notice(row, "not-faithful", what)
    if done.dropped:
        what = f"left out to make it fit: {'; '.join(done.dropped)}"
        yield _notice(row, "shortened-prompt", what)


def _stood_in(due: Sequence[Standing], error: InfrastructureError) -> Iterator[Problem]:
    names = ", ".join(row.name for row in due[:8]) + (" and more" if len(due) > 8 else "")
    what = f"the composer stands in for {names}: {error.what}"
    yield replace(_notice(due[0], "no-model", what), cure="the next run asks again")


def _notice(row: Standing | None, code: str, what: str) -> Problem:
    if row is None:
        return Problem(code, what, level="notice")
    where = row.shot.beats[row.beat].where
    name = "" if len(row.shot.beats) == 1 else f"beat {row.beat + 1}: "
    return Problem(
        code,
        f"{name}{what}",
        file=where.file,
        line=where.line,
        column=where.column,
        shot=row.shot.id,
        level="notice",
    )


def _key(row: Standing) -> BeatKey:
    return row.shot.id, row.beat
