"""What a prompt is about, as a hash: it tells whether a written prompt still holds.

Of a beat that is exactly what its prompt is made from. Neighbours, the place in the film, names,
durations, joints and takes are no part of it: editing shot 3 leaves the prompts of 2 and 4 alone.
"""

from __future__ import annotations

import hashlib
import json

from storyflow.prompts.english import tidy
from storyflow.storyboard.resolved import ResolvedBeat

_DIGITS = 12
_encode = json.JSONEncoder(separators=(",", ":")).encode


def facts_hash(beat: ResolvedBeat, seen: tuple[str, ...] = ()) -> str:
    """12 hex digits, equal for beats of which the same is said.

    `seen` names what else the prompt is made from, such as the hashes of pictures that a captioner
    has looked at.
    """
    place = beat.place.look if beat.place is not None else None
    said = [
        beat.do, beat.say, beat.feel, beat.size, beat.angle, beat.view, beat.move, beat.lens,
        beat.light, place, [[each.name, each.look] for each in beat.who], beat.style, seen,
    ]  # fmt: skip
    return _digest(_encode(said))


def text_hash(text: str) -> str:
    """12 hex digits of a prompt; how its lines are broken makes no difference."""
    return _digest(tidy(text))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
