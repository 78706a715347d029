"""How a shot begins or ends, as authors write it: `cut`, `dissolve 1s`, `fade black 2s`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from storyflow.documents import nearest
from storyflow.storyboard.grammar import UnknownWord
from storyflow.timing import Duration, parse_duration

ONE_SECOND = Duration(seconds=Fraction(1))
FORMS = "write cut, dissolve 1s, fade 1s, fade white 1s or fade #204060 1s"


@dataclass(frozen=True)
class Cue:
    """A transition as written. `color` is black, white or #rrggbb, and only means a fade's."""

    kind: Literal["cut", "dissolve", "fade"] = "cut"
    dur: Duration | None = None
    color: str = "black"

    def __str__(self) -> str:
        """The text that `parse_cue` reads back as the same value."""
        words: list[str] = [self.kind]
        if self.kind == "fade" and self.color != "black":
            words.append(self.color)
        return " ".join([*words, *([] if self.dur is None else [str(self.dur)])])


def parse_cue(text: str) -> Cue:
    """Read a transition; a dissolve or fade without a time takes one second.

    Raises UnknownWord, with the forms that are understood.
    """
    words = text.strip().lower().split()
    kind, rest = (words[0], words[1:]) if words else ("", [])
    if kind == "cut" and not rest:
        return Cue()
    if kind == "dissolve" and len(rest) <= 1:
        return Cue("dissolve", _time(rest))
    if kind == "fade":
        rest = [word for word in rest if word not in ("in", "out", "to", "from")]
        color = "black"
        if rest and _is_color(rest[0]):
            color, rest = rest[0], rest[1:]
        if len(rest) <= 1:
            return Cue("fade", _time(rest), color)
    near = nearest(kind, ["cut", "dissolve", "fade"])
    misspelt = near is not None and near != kind
    raise UnknownWord("unknown transition", f"did you mean '{near}'?" if misspelt else FORMS)


def _is_color(word: str) -> bool:
    return word in ("black", "white") or re.fullmatch(r"#[0-9a-f]{6}", word) is not None


def _time(words: list[str]) -> Duration:
    if not words:
        return ONE_SECOND
    try:
        return parse_duration(words[0])
    except ValueError:
        raise UnknownWord("unknown transition", FORMS) from None
