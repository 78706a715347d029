"""Prompts made to fit: additions go whole, the least important first, until the rest is short
enough. What the storyboard states never goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from storyflow.prompts.compose import compose
from storyflow.prompts.english import words
from storyflow.prompts.merge import Addition, Merged
from storyflow.prompts.truth import unsaid

Fits = Callable[[str], bool]

_ORDER = (
    "position",
    "subjects",
    "appearance",
    "environment",
    "lighting",
    "expression",
    "shot_position",
    "shot_angle",
    "shot_type",
    "camera_motion",
    "action",
)
"""What goes first: what a viewer would miss least. What happens stays longest."""

_SENTENCE = re.compile(r"(?<=[.!?])['\"\u2019\u201d]?\s+(?=[A-Z'\"\u2018\u201c])")


@dataclass(frozen=True)
class Fitted:
    """A prompt that fits, and what was left out of it, clause by clause."""

    text: str
    dropped: tuple[str, ...] = ()


def fit_composed(merged: Merged, fits: Fits) -> Fitted:
    """The composer's words of a merged caption, with as many additions as fit.

    The storyboard's own words come back even where they alone don't fit.
    """
    going = _least_first(merged.additions)
    dropped: list[Addition] = []
    text = compose(merged.caption())
    while not fits(text) and going:
        dropped.append(going.pop(0))
        text = compose(merged.caption(dropped))
    return Fitted(text, tuple(_shown(each) for each in dropped if not each.silent))


def fit_prose(text: str, stated: str, fits: Fits) -> Fitted | None:
    """A model's prose with as many of its sentences as fit, the last ones going first.

    Only sentences go without which everything that the `stated` text says is still said. None where
    that is not enough.
    """
    sentences = _SENTENCE.split(text)
    dropped: list[str] = []
    for number in reversed(range(len(sentences))):
        if fits(" ".join(sentences)):
            break
        rest = [*sentences[:number], *sentences[number + 1 :]]
        if not unsaid(" ".join(rest), stated):
            dropped.insert(0, sentences[number])
            sentences = rest
    whole = " ".join(sentences)
    return Fitted(whole, tuple(dropped)) if fits(whole) else None


def everything(merged: Merged) -> tuple[str, ...]:
    """All that models add, for a report of what was left out."""
    return tuple(_shown(each) for each in merged.additions)


def within(most: int, stated: str, reads: Fits) -> Fits:
    """Whether a text has `most` words, and the text encoder reads all of it.

    A storyboard that itself says more than `most` words may, but nobody may add to it.
    """
    allowed = max(most, len(words(stated)))
    return lambda text: len(words(text)) <= allowed and reads(text)


def _shown(addition: Addition) -> str:
    """An addition for people: words of a vocabulary without their underscores."""
    return addition.text.replace("_", " ") if addition.field.startswith("shot_") else addition.text


def _least_first(additions: Sequence[Addition]) -> list[Addition]:
    """Additions in the order in which they go: by field, the last of a field first."""
    numbered = enumerate(additions)
    ordered = sorted(numbered, key=lambda pair: (_ORDER.index(pair[1].field), -pair[0]))
    return [addition for _, addition in ordered]
