"""Lock files: reading, writing, and the changes that are made to a lock.

A lock is never edited in place: each function returns a new one. `write_lock` replaces the file in
one step, and only when it says something new.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from storyflow.documents import Strict, inspect_document, validate
from storyflow.errors import InfrastructureError, InputError, Problem, StoryboardError
from storyflow.lock import (
    Branch,
    Held,
    Lock,
    LockedPrompt,
    LockedPrompts,
    LockedShot,
    LockedTake,
    PinnedWindows,
)
from storyflow.locktext import lock_text
from storyflow.seeds import shot_seed

if TYPE_CHECKING:
    from storyflow.planning.nodes import Plan, PlannedTake
    from storyflow.storyboard.resolved import ResolvedFilm, ResolvedShot

MAX_BYTES = 64_000_000


class _File(Strict):
    storyflow: Literal[1] = 1
    seed: int | None = None
    shots: tuple[LockedShot, ...] = ()


def lock_path(storyboard: Path) -> Path:
    """`x.lock.yaml` beside `x.yaml`."""
    return storyboard.with_name(f"{storyboard.stem}.lock.yaml")


def read_lock(path: Path) -> Lock:
    """The lock in a file; an empty one where there is no file.

    Raises StoryboardError with line and cure for a file that is no lock.
    """
    if not path.exists():
        return Lock()
    document = inspect_document(path, max_bytes=MAX_BYTES)
    if document.problems:
        raise StoryboardError(_merge_conflict(path) or document.problems)
    file = validate(_File, document, error=StoryboardError)
    return Lock(shots=file.shots, seed=file.seed)


def write_lock(path: Path, lock: Lock) -> None:
    """Write a lock, atomically; a file that already says the same is left alone.

    Raises InfrastructureError where the folder can't be written.
    """
    text = lock_text(lock)
    try:
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(path.stat().st_mode if path.exists() else 0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InfrastructureError(
            f"can't write the lock {path} ({error.strerror})",
            cure="make its folder writable; seeds and chosen takes are kept there",
        ) from None


def pin(lock: Lock, film: ResolvedFilm) -> Lock:
    """The lock with everything that a plan of this film needs: an entry per shot, seeds per take.

    What is pinned stays. Exceptions are the author's own words: a shot's `seed:` is the seed of all
    its takes, and another `seed:` of the film gives every other take a new one. A shot whose id is
    new takes over the entry of one that left, if both say the same: it was renamed.
    """
    known = {shot.id: shot for shot in lock.shots}
    here = {shot.id for shot in film.shots}
    left = [shot for shot in lock.shots if shot.id not in here]
    entries: list[LockedShot] = []
    for shot in film.shots:
        entry = known.get(shot.id)
        if entry is None:
            entry = next((e for e in left if e.fingerprint == shot.fingerprint), None)
            if entry is not None:
                left.remove(entry)
        entries.append(_pinned_shot(entry, shot, film.seed, lock.seed))
    return Lock(shots=(*entries, *left), seed=film.seed)


def planned_takes(shot: ResolvedShot, entry: LockedShot) -> tuple[int, ...]:
    """The takes of a shot that are rendered: `takes:` many, branches, and the one the cut uses."""
    numbers = {*range(1, shot.takes + 1), chosen_take(shot, entry)}
    parents = {take.take: take.branch.take for take in entry.takes if take.branch is not None}
    numbers |= parents.keys()
    return tuple(sorted(numbers | {parents[n] for n in numbers if n in parents}))


def chosen_take(shot: ResolvedShot, entry: LockedShot | None) -> int:
    """The take that the cut uses: the storyboard's, else the lock's, else the first."""
    if shot.take is not None:
        return shot.take
    return entry.chosen if entry is not None and entry.chosen is not None else 1


def choose_take(lock: Lock, shot: str, take: int) -> Lock:
    """The cut uses this take from now on. Raises InputError for an unknown shot or take."""
    entry = _entry(lock, shot)
    _take(entry, take)
    return _with(lock, replace(entry, chosen=take))


def branch_take(lock: Lock, shot: str, from_take: int, segments: int) -> tuple[Lock, LockedTake]:
    """A new take that shares the first `segments` segments of another; the lock and the take.

    Raises InputError for an unknown shot or take, or if nothing would be shared.
    """
    entry = _entry(lock, shot)
    _take(entry, from_take)
    if segments < 1:
        raise InputError(
            f"a branch of shot {shot} must share at least its first segment",
            cure="raise `takes:` for a take that shares nothing",
        )
    number = 1 + max(take.take for take in entry.takes)
    seed = shot_seed(lock.seed or 0, entry.id, number)
    made = LockedTake(number, seed, Branch(from_take, segments))
    return _with(lock, replace(entry, takes=(*entry.takes, made))), made


def hold(lock: Lock, shot: str, held: Held) -> Lock:
    """Keep an approved take as it is. Raises InputError for an unknown shot or take."""
    entry = _entry(lock, shot)
    _take(entry, held.take)
    return _with(lock, replace(entry, held=held))


def unhold(lock: Lock, shot: str) -> Lock:
    """Let a held shot follow its inputs again. Raises InputError if it is unknown or not held."""
    entry = _entry(lock, shot)
    if entry.held is None:
        raise InputError(f"shot {shot} is not held")
    return _with(lock, replace(entry, held=None))


def pin_windows(lock: Lock, plan: Plan, rendered: Container[str]) -> Lock:
    """Pin the windows of every shot that has a rendered segment on the plan's pipeline.

    `rendered` holds recipes. All windows of such a shot are pinned, so that the rest of it is
    rendered as if nothing had come between. Windows that a shortened shot no longer shows stay
    pinned, so lengthening it again finds them.
    """
    found: dict[str, PinnedWindows] = {}
    for take in plan.takes:
        begun = take.held is None and any(s.recipe in rendered for s in take.segments)
        if begun and take.shot.id not in found:
            found[take.shot.id] = _windows(take, plan.pipeline)
    shots = []
    for entry in lock.shots:
        new = found.get(entry.id)
        old = next((w for w in entry.windows if w.pipeline == plan.pipeline), None)
        if new is not None and (old is None or not _covers(old, new)):
            others = (w for w in entry.windows if w.pipeline != plan.pipeline)
            entry = replace(entry, windows=tuple(sorted((*others, new), key=lambda w: w.pipeline)))
        shots.append(entry)
    return replace(lock, shots=tuple(shots))


def pin_prompts(lock: Lock, profile: str, prompts: Mapping[str, tuple[LockedPrompt, ...]]) -> Lock:
    """The lock with these prompts of one prompt profile, by shot, beat by beat."""
    shots = []
    for entry in lock.shots:
        new = prompts.get(entry.id)
        if new is not None and new != entry.prompts_for(profile):
            kept = [each for each in entry.prompts if each.profile != profile]
            kept += [LockedPrompts(profile, new)] if new else []
            ordered = tuple(sorted(kept, key=lambda each: each.profile))
            entry = replace(entry, prompts=ordered)
        shots.append(entry)
    return replace(lock, shots=tuple(shots))


def _merge_conflict(path: Path) -> list[Problem]:
    """The problem of a file that git could not merge; none where that is not what is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    line = next((n for n, text in enumerate(lines, 1) if text.startswith("<<<<<<< ")), None)
    if line is None:
        return []
    what = "a git merge conflict stands in the lock"
    cure = "keep one side of each conflict; `git checkout --ours FILE` keeps yours"
    return [Problem("merge-conflict", what, cure=cure, file=str(path), line=line, column=1)]


def _pinned_shot(
    entry: LockedShot | None, shot: ResolvedShot, seed: int, old_seed: int | None
) -> LockedShot:
    if entry is None:
        entry = LockedShot(shot.id, shot.fingerprint, ())
    takes = {take.take: take for take in entry.takes}
    for number in planned_takes(shot, entry):
        if number not in takes:
            takes[number] = LockedTake(number, shot_seed(seed, shot.id, number))
    if shot.seed is not None:
        takes = {n: replace(take, seed=shot.seed) for n, take in takes.items()}
    elif old_seed is not None and old_seed != seed:
        takes = {n: replace(take, seed=shot_seed(seed, shot.id, n)) for n, take in takes.items()}
    ordered = tuple(takes[number] for number in sorted(takes))
    if (entry.id, entry.fingerprint, entry.takes) == (shot.id, shot.fingerprint, ordered):
        return entry
    return replace(entry, id=shot.id, fingerprint=shot.fingerprint, takes=ordered)


def _windows(take: PlannedTake, pipeline: str) -> PinnedWindows:
    beats: list[list[int]] = [[] for _ in take.shot.beats]
    for segment in take.segments:
        beats[segment.beat].append(segment.inputs.spec.new)
    return PinnedWindows(pipeline, tuple(map(tuple, beats)), take.head - take.slip)


def _covers(old: PinnedWindows, new: PinnedWindows) -> bool:
    """Whether the old windows begin, beat for beat, with the new ones."""
    if old.head != new.head or len(old.beats) < len(new.beats):
        return False
    pairs = zip(old.beats, new.beats, strict=False)
    return all(before[: len(now)] == now for before, now in pairs)


def _entry(lock: Lock, shot: str) -> LockedShot:
    entry = lock.shot(shot)
    if entry is None:
        known = ", ".join(e.id for e in lock.shots[:12]) or "none"
        raise InputError(f"the lock knows no shot {shot}", cure=f"it knows {known}")
    return entry


def _take(entry: LockedShot, number: int) -> LockedTake:
    for take in entry.takes:
        if take.take == number:
            return take
    known = ", ".join(str(take.take) for take in entry.takes) or "none"
    raise InputError(
        f"shot {entry.id} has no take {number}", cure=f"choose one of {known}, or raise `takes:`"
    )


def _with(lock: Lock, entry: LockedShot) -> Lock:
    shots = tuple(entry if shot.id == entry.id else shot for shot in lock.shots)
    return replace(lock, shots=shots)
