"""How the prompts in the lock stand to the storyboard of today, beat by beat.

kept         written for these very facts
edited       likewise, and edited by hand since
provisional  stands in for a model's; written anew at the next chance
stale        the beat says something else now
missing      nothing was written yet
conflict     edited by hand, and the beat says something else now: a person must choose
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from storyflow.lock import LockedPrompt
from storyflow.prompts.english import tidy
from storyflow.prompts.facts import facts_hash, text_hash
from storyflow.storyboard.resolved import ResolvedShot

State = Literal["kept", "edited", "provisional", "stale", "missing", "conflict"]


@dataclass(frozen=True)
class Standing:
    """One beat, counted from 0, and the prompt that the lock has for it, if any.

    `facts` is the hash of what the beat says today.
    """

    shot: ResolvedShot
    beat: int
    state: State
    facts: str
    locked: LockedPrompt | None = None

    @property
    def name(self) -> str:
        """`1C`, or `1C/2` for the second of several beats."""
        return beat_name(self.shot, self.beat)

    @property
    def valid(self) -> bool:
        """Whether nobody has to write anything."""
        return self.state in ("kept", "edited")

    @property
    def usable(self) -> bool:
        """Whether the lock's words are about the beat as it is."""
        return self.state in ("kept", "edited", "provisional")

    @property
    def text(self) -> str:
        """The lock's words, on one line; empty where it has none."""
        return "" if self.locked is None else tidy(self.locked.text)


def beat_name(shot: ResolvedShot, beat: int) -> str:
    """`1C`, or `1C/2` for the second of several beats."""
    return shot.id if len(shot.beats) == 1 else f"{shot.id}/{beat + 1}"


def edited(locked: LockedPrompt) -> bool:
    """Whether a person has changed the text since it was written."""
    return text_hash(locked.text) != locked.written


def standings(
    shot: ResolvedShot, locked: Sequence[LockedPrompt], seen: tuple[str, ...] = ()
) -> tuple[Standing, ...]:
    """How each beat of a shot stands. `seen` is what `facts_hash` takes.

    A beat finds its prompt by its facts, wherever it stands in the shot; what is left over pairs up
    in order. A prompt whose text was emptied counts as not written.
    """
    hashes = [facts_hash(beat, seen) for beat in shot.beats]
    pairs = _pairs(hashes, [prompt.facts for prompt in locked])
    return tuple(
        _standing(shot, beat, facts, None if at is None else locked[at])
        for beat, (facts, at) in enumerate(zip(hashes, pairs, strict=True))
    )


def lost(
    shot: ResolvedShot, locked: Sequence[LockedPrompt], found: Sequence[Standing]
) -> list[LockedPrompt]:
    """Prompts that were edited by hand and whose beats the shot has no more."""
    used = [id(each.locked) for each in found if each.locked is not None]
    left = [prompt for prompt in locked if id(prompt) not in used]
    return [prompt for prompt in left if prompt.text.strip() and edited(prompt)]


def _pairs(today: Sequence[str], then: Sequence[str]) -> list[int | None]:
    """For each of today's hashes the place among the old ones that it belongs to."""
    if today == then:
        return list(range(len(today)))
    free = dict(enumerate(then))
    found: dict[int, int] = {}
    for at, facts in enumerate(today):
        if free.get(at) == facts:
            found[at] = at
            del free[at]
    for at, facts in enumerate(today):
        if at not in found:
            place = next((n for n, old in free.items() if old == facts), None)
            if place is not None:
                found[at] = place
                del free[place]
    rest = [at for at in range(len(today)) if at not in found]
    found.update(zip(rest, free, strict=False))
    return [found.get(at) for at in range(len(today))]


def _standing(shot: ResolvedShot, beat: int, facts: str, locked: LockedPrompt | None) -> Standing:
    if locked is None or not locked.text.strip():
        return Standing(shot, beat, "missing", facts)
    same = locked.facts == facts
    if edited(locked):
        state: State = "edited" if same else "conflict"
    elif locked.provisional:
        state = "provisional" if same else "stale"
    else:
        state = "kept" if same else "stale"
    return Standing(shot, beat, state, facts, locked)
