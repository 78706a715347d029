"""What was asked of a shot against what is seen in it, field by field.

How much a disagreement counts depends on how often the captioner is right about that field: as much
as the logarithm of the odds that it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import log
from typing import Literal

from storyflow.prompts.caption import ShotCaption
from storyflow.prompts.english import DETERMINERS, PREPOSITIONS, PRONOUNS, words

Verdict = Literal["as asked", "perhaps not", "not as asked", "nothing to compare"]

ACCURACY = {
    "shot_type": 0.937,
    "shot_angle": 0.898,
    "shot_position": 0.831,
    "camera_motion": 0.853,
    "expression": 0.688,
    "appearance": 0.593,
    "action": 0.688,
    "environment": 0.763,
    "lighting": 0.763,
}
"""How often SkyCaptioner-V1 is right, as its model card says; for place and light, of which nothing
is published, its average."""

SURE = 1.5
"""Disagreements that together count so much (odds of 4.5 to 1) are told as such."""

ENOUGH = 0.5
"""The part of what was asked in words that must be seen."""


@dataclass(frozen=True)
class Check:
    """One thing that was asked, what was seen in its place, and what a disagreement counts."""

    field: str
    asked: str
    seen: str
    agrees: bool
    weight: float


def weight(accuracy: float) -> float:
    """What the word of somebody who is right so often counts.

    >>> round(weight(0.937), 2), round(weight(0.593), 2)
    (2.7, 0.38)
    """
    return log(accuracy / (1 - accuracy))


def verdict(checks: Sequence[Check]) -> Verdict:
    """What all checks of a stretch come to."""
    if not checks:
        return "nothing to compare"
    against = sum(each.weight for each in checks if not each.agrees)
    if against == 0:
        return "as asked"
    return "not as asked" if against >= SURE else "perhaps not"


def compare(asked: ShotCaption, seen: ShotCaption) -> list[Check]:
    """Every field that `asked` states, against the same of `seen`; nobody sees style and speech."""
    return list(_checks(asked, seen))


def _checks(asked: ShotCaption, seen: ShotCaption) -> Iterator[Check]:
    for field in ("shot_type", "shot_angle", "shot_position"):
        wanted, found = getattr(asked, field), getattr(seen, field)
        if wanted and wanted != "other":
            yield _check(field, wanted, found or "", wanted == found)
    everybody = " ".join(f"{s.sub_type} {s.appearance} {s.action}" for s in seen.subjects)
    faces = "; ".join(s.expression for s in seen.subjects if s.expression)
    looks = "; ".join(s.appearance for s in seen.subjects if s.appearance)
    deeds = "; ".join(s.action for s in seen.subjects if s.action)
    for subject in asked.subjects:
        if subject.appearance:
            yield _said("appearance", subject.appearance, looks, everybody)
        if subject.action:
            yield _said("action", subject.action, deeds, everybody)
        if subject.expression:
            yield _said("expression", subject.expression, faces, faces)
    if asked.camera_motion:
        moves = camera_moves(asked.camera_motion), camera_moves(seen.camera_motion)
        agrees = moves[0] <= moves[1] if moves[0] else None
        if agrees is not None:
            yield _check("camera_motion", asked.camera_motion, seen.camera_motion, agrees)
    if asked.environment:
        yield _said("environment", asked.environment, seen.environment, seen.environment)
    if asked.lighting:
        around = f"{seen.lighting} {seen.environment}"
        yield _said("lighting", asked.lighting, seen.lighting, around)


def _check(field: str, asked: str, seen: str, agrees: bool) -> Check:
    return Check(field, asked, seen, agrees, weight(ACCURACY[field]))


def _said(field: str, asked: str, seen: str, among: str) -> Check:
    return _check(field, asked, seen, shared(asked, among) >= ENOUGH)


def shared(asked: str, seen: str) -> float:
    """The part of the asked content words that are seen, in whatever form; 1 where there are none.

    >>> shared("a man in a navy coat", "an old man wearing coats")
    0.6666666666666666
    """
    wanted, found = _content(asked), _content(seen)
    return len(wanted & found) / len(wanted) if wanted else 1.0


_EMPTY = DETERMINERS | PREPOSITIONS | PRONOUNS | frozenset({"and", "or", "is", "are", "with"})


@cache
def _content(text: str) -> frozenset[str]:
    return frozenset(_stem(word) for word in words(text) if word not in _EMPTY)


def _stem(word: str) -> str:
    for ending in ("ing", "ies", "es", "ed", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


_MOVES: tuple[tuple[str, str], ...] = (
    (r"\b(?:static|still|fixed|locked|stationary|motionless)\b", "static"),
    (r"\bzoom\w*\s+in\b|\bpush\w*\s+in\b", "in"),
    (r"\bzoom\w*\s+out\b|\bpull\w*\s+(?:out|back)\b", "out"),
    (r"\b(?:forward|towards?|closer)\b|\bdoll\w+\s+in\b", "in"),
    (r"\b(?:backwards?|away)\b|\bdoll\w+\s+out\b", "out"),
    (r"\bpan\w*\b[^.,;]*\bleft\b", "pan left"),
    (r"\bpan\w*\b[^.,;]*\bright\b", "pan right"),
    (r"\b(?:mov|truck|slid)\w*\b[^.,;]*\bleft\b", "left"),
    (r"\b(?:mov|truck|slid)\w*\b[^.,;]*\bright\b", "right"),
    (r"\b(?:tilt|cran|ris|mov|pedestal)\w*\b[^.,;]*\bup\w*\b", "up"),
    (r"\b(?:tilt|cran|lower|mov|pedestal)\w*\b[^.,;]*\bdown\w*\b", "down"),
    (r"\b(?:follow|track)\w*\b", "follow"),
    (r"\b(?:orbit|circl|arc)\w*\b", "orbit"),
    (r"\broll\w*\b", "roll"),
    (r"\bhand-?\s?held\b|\bshak\w+\b", "handheld"),
)


@cache
def camera_moves(text: str) -> frozenset[str]:
    """What a camera does by a sentence about it; nothing said is a static one.

    >>> sorted(camera_moves("the camera pans left slowly, then zooms in"))
    ['in', 'pan left']
    """
    if not text.strip():
        return frozenset({"static"})
    return frozenset(move for pattern, move in _MOVES if re.search(pattern, text.lower()))
