"""The words that need no model: what the lock keeps, what was edited by hand, what is composed.

Prompts are pinned, the composer's too, so that a later storyflow that words things better does not
render a season again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from storyflow.documents import did_you_mean, inspect_document
from storyflow.errors import InputError, Problem, StoryboardError
from storyflow.lock import Lock, LockedPrompt
from storyflow.lockfile import MAX_BYTES, pin_prompts
from storyflow.prompts.describe import prompt_for
from storyflow.prompts.facts import text_hash
from storyflow.prompts.seen import seen_files
from storyflow.prompts.settings import PromptsSection
from storyflow.prompts.standing import Standing, State, edited, lost, standings
from storyflow.renderer import Tokens
from storyflow.storyboard.resolved import ResolvedFilm, ResolvedShot


@dataclass(frozen=True)
class Settled:
    """The lock with every prompt that could be had without a model, and how each beat stands in it.

    `notices` tell what went away with the beat that it was written for, and what can't be measured.
    """

    lock: Lock
    standing: tuple[Standing, ...]
    notices: tuple[Problem, ...] = ()

    @property
    def due(self) -> tuple[Standing, ...]:
        """The beats whose prompts a model has yet to write."""
        return tuple(each for each in self.standing if not each.valid)


def settle(
    film: ResolvedFilm,
    lock: Lock,
    settings: PromptsSection,
    tokens: Tokens | None = None,
    *,
    file: Path | None = None,
    only: Collection[str] | None = None,
) -> Settled:
    """Look through the prompts of a film; where the composer writes, write what is due.

    `tokens` measures prompts. `file` is the lock's, for messages; of `only` these shots words are
    written, where they are named. Raises StoryboardError with every prompt that was edited by hand
    and whose beat says something else now, and with every one that is too long for the text
    encoder.
    """
    found: dict[str, tuple[Standing, ...]] = {}
    prompts: dict[str, tuple[LockedPrompt, ...]] = {}
    notices: list[Problem] = []
    problems: list[Problem] = []
    old = {entry.id: entry.prompts_for(settings.profile) for entry in lock.shots}
    for shot in film.shots:
        before = old.get(shot.id, ())
        rows = standings(shot, before, seen_files(shot, settings))
        conflicts = [row for row in rows if row.state == "conflict"]
        problems += [conflict(row, settings.profile, lock, file) for row in conflicts]
        if conflicts:
            continue
        if settings.composed and (only is None or shot.id in only):
            rows = tuple(row if row.valid else composed(row) for row in rows)
        notices += _gone(shot, before, rows)
        found[shot.id] = rows
        prompts[shot.id] = tuple(
            _marked(row.locked, row.state == "edited") for row in rows if row.locked is not None
        )
    every = tuple(row for rows in found.values() for row in rows)
    if tokens is not None:
        problems += too_long(every, tokens)
        notices += _not_measured(every, tokens)
    if problems:
        raise StoryboardError(problems)
    return Settled(pin_prompts(lock, settings.profile, prompts), every, tuple(notices))


def standing_of(film: ResolvedFilm, lock: Lock, settings: PromptsSection) -> Iterator[Standing]:
    """How every beat of a film stands, in its order; nothing is written."""
    old = {entry.id: entry.prompts_for(settings.profile) for entry in lock.shots}
    for shot in film.shots:
        yield from standings(shot, old.get(shot.id, ()), seen_files(shot, settings))


def composed(row: Standing, *, provisional: bool = False) -> Standing:
    """The beat with the composer's words. Raises StoryboardError for names without a look."""
    text = prompt_for(row.shot, row.shot.beats[row.beat])
    locked = LockedPrompt(text, stamp(row.facts, text), provisional=provisional)
    state: State = "provisional" if provisional else "kept"
    return Standing(row.shot, row.beat, state, row.facts, locked)


def stamp(facts: str, text: str) -> str:
    """What tells later whether a prompt still holds, and whether it was edited."""
    return f"{facts}-{text_hash(text)}"


def _marked(prompt: LockedPrompt, hand: bool) -> LockedPrompt:
    """The prompt, marked as a person's where it is one."""
    return prompt if hand == prompt.hand else replace(prompt, hand=hand)


def keep(film: ResolvedFilm, lock: Lock, settings: PromptsSection, beats: Iterable[str]) -> Lock:
    """Keep the lock's words of these beats (`1C`, `1C/2`), whatever the storyboard says now.

    Raises InputError for a beat that the film does not have, or that has no words yet.
    """
    prompts: dict[str, tuple[LockedPrompt, ...]] = {}
    for shot, numbers, rows in _chosen(film, lock, settings, beats):
        lacking = [rows[n].name for n in sorted(numbers) if rows[n].locked is None]
        if lacking:
            raise InputError(
                f"there is no prompt of {', '.join(lacking)} to be kept",
                cure="storyflow prompts writes it",
            )
        prompts[shot] = tuple(
            _kept(row) if row.beat in numbers else row.locked
            for row in rows
            if row.locked is not None
        )
    return pin_prompts(lock, settings.profile, prompts)


def forget(film: ResolvedFilm, lock: Lock, settings: PromptsSection, beats: Iterable[str]) -> Lock:
    """Without the words of these beats, so that they are written anew. Raises InputError."""
    prompts: dict[str, tuple[LockedPrompt, ...]] = {}
    for shot, numbers, rows in _chosen(film, lock, settings, beats):
        prompts[shot] = tuple(
            row.locked for row in rows if row.locked is not None and row.beat not in numbers
        )
    return pin_prompts(lock, settings.profile, prompts)


def _chosen(
    film: ResolvedFilm, lock: Lock, settings: PromptsSection, beats: Iterable[str]
) -> Iterator[tuple[str, Collection[int], tuple[Standing, ...]]]:
    """Each shot of these beats, the beats' numbers in it, and how all of its beats stand."""
    wanted = _named(film, beats)
    for shot in film.shots:
        if (numbers := wanted.get(shot.id)) is not None:
            entry = lock.shot(shot.id)
            before = entry.prompts_for(settings.profile) if entry is not None else ()
            yield shot.id, numbers, standings(shot, before, seen_files(shot, settings))


def conflict(row: Standing, profile: str, lock: Lock, file: Path | None) -> Problem:
    """A prompt that a person edited, of a beat that says something else now."""
    now = prompt_for(row.shot, row.shot.beats[row.beat])
    line = _line(row, profile, lock, file)
    where = row.shot.beats[row.beat].where
    return Problem(
        "edited-prompt",
        f"the prompt of {row.name} was edited by hand, and the shot has changed since"
        f"\n  edited:   {row.text}\n  composed: {now}\n  to settle it",
        cure=f"storyflow prompts {where.file or 'FILE'} --keep {row.name} keeps the edit, "
        f"--rewrite {row.name} writes it anew",
        file=str(file) if line is not None else where.file,
        line=line if line is not None else where.line,
        column=1 if line is not None else where.column,
        shot=row.shot.id,
    )


def too_long(rows: Iterable[Standing], tokens: Tokens) -> Iterator[Problem]:
    """A problem for every prompt that the text encoder would cut off."""
    for row in rows:
        if row.locked is None or tokens.fits(row.text) is not False:
            continue
        count, beat = tokens.count(row.text) or 0, row.shot.beats[row.beat]
        over = count - tokens.limit
        cure = f"shorten what the shot, its cast, place and style say by about {over} tokens"
        if row.state == "edited":
            cure = f"shorten it in the lock by about {over} tokens"
        yield Problem(
            "long-prompt",
            f"the prompt of {row.name} has {count} tokens, the model reads {tokens.limit}, and "
            "nothing in it may be left out",
            value=row.text[:60],
            cure=cure,
            file=beat.where.file,
            line=beat.where.line,
            column=beat.where.column,
            shot=row.shot.id,
        )


def _not_measured(rows: Iterable[Standing], tokens: Tokens) -> Iterator[Problem]:
    names = [row.name for row in rows if row.locked is not None and tokens.fits(row.text) is None]
    if names:
        shown = ", ".join(names[:8]) + (" and more" if len(names) > 8 else "")
        what = (
            f"the long prompts of {shown} can't be measured, the model's tokenizer is not here: "
            "its text encoder refuses what it can't read"
        )
        yield Problem("not-measured", what, cure="storyflow prompts fetches it", level="notice")


def _kept(row: Standing) -> LockedPrompt:
    assert row.locked is not None
    kept = replace(row.locked, stamp=f"{row.facts}-{row.locked.written}", provisional=False)
    return _marked(kept, edited(kept))


def _named(film: ResolvedFilm, names: Iterable[str]) -> Mapping[str, Collection[int]]:
    """Beats by their shot's id, from what people call them. Raises InputError."""
    shots = {shot.id: shot for shot in film.shots}
    found: dict[str, set[int]] = {}
    for name in names:
        every = range(len(shots[name].beats)) if name in shots else ()
        shot, _, beat = name.rpartition("/")
        if shot in shots and beat.isdecimal() and 1 <= int(beat) <= len(shots[shot].beats):
            found.setdefault(shot, set()).add(int(beat) - 1)
        elif every:
            found.setdefault(name, set()).update(every)
        elif shot in shots:
            count = len(shots[shot].beats)
            beats = "1 beat" if count == 1 else f"{count} beats"
            raise InputError(f"shot {shot} has {beats}", cure=f"there is no {name!r}")
        else:
            raise InputError(f"the film has no shot {name!r}", cure=did_you_mean(name, list(shots)))
    return found


def _gone(
    shot: ResolvedShot, before: Sequence[LockedPrompt], rows: Sequence[Standing]
) -> Iterator[Problem]:
    for prompt in lost(shot, before, rows):
        yield Problem(
            "lost-edit",
            "a prompt that was edited by hand has no beat any more and is left out",
            value=prompt.text,
            file=shot.where.file,
            line=shot.where.line,
            column=shot.where.column,
            shot=shot.id,
            level="notice",
        )


def _line(row: Standing, profile: str, lock: Lock, file: Path | None) -> int | None:
    """The line of the lock on which a prompt stands."""
    if file is None or not file.is_file() or row.locked is None:
        return None
    document = inspect_document(file, max_bytes=MAX_BYTES)
    data = document.data
    shots = data.get("shots") if isinstance(data, dict) else None
    for number, shot in enumerate(shots if isinstance(shots, list) else ()):
        if not isinstance(shot, dict) or str(shot.get("id")) != row.shot.id:
            continue
        for place, prompts in enumerate(shot.get("prompts") or ()):
            if isinstance(prompts, dict) and str(prompts.get("profile")) == profile:
                beats = [str(beat.get("stamp")) for beat in prompts.get("beats") or ()]
                if row.locked.stamp in beats:
                    at = beats.index(row.locked.stamp)
                    path = ("shots", number, "prompts", place, "beats", at, "text")
                    return document.where(path)[0]
    return None
