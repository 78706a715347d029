"""How a shot begins or ends, as authors write it: `dissolve 1s`, `wipe left 1s`, `fade 2s`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from storyflow.documents import nearest
from storyflow.storyboard.grammar import UnknownWord
from storyflow.storyboard.resolved import Way
from storyflow.timing import Duration, parse_duration

ONE_SECOND = Duration(seconds=Fraction(1))
WAYS: tuple[Way, ...] = get_args(Way)
FORMS = "write cut, dissolve 1s, wipe left 1s, fade 1s, fade white 1s or fade #204060 1s"


@dataclass(frozen=True)
class Cue:
    """A transition as written. `color` is black, white or #rrggbb, and only means a fade's; `way`
    is where a wipe's edge moves."""

    kind: Literal["cut", "dissolve", "wipe", "fade"] = "cut"
    dur: Duration | None = None
    color: str = "black"
    way: Way | None = None

    def __str__(self) -> str:
        """The text that `parse_cue` reads back as the same value."""
        words: list[str] = [self.kind]
        if self.way is not None:
            words.append(self.way)
        if self.kind == "fade" and self.color != "black":
            words.append(self.color)
        return " ".join([*words, *([] if self.dur is None else [str(self.dur)])])


def parse_cue(text: str) -> Cue:
    """Read a transition; a dissolve, wipe or fade without a time takes one second.

    Raises UnknownWord, with the forms that are understood.
    """
    words = text.strip().lower().split()
    kind, rest = (words[0], words[1:]) if words else ("", [])
    if kind == "cut" and not rest:
        return Cue()
    if kind == "dissolve" and len(rest) <= 1:
        return Cue("dissolve", _time(rest))
    if kind == "wipe" and rest and rest[0] in WAYS and len(rest) <= 2:
        return Cue("wipe", _time(rest[1:]), way=rest[0])
    if kind == "fade":
        rest = [word for word in rest if word not in ("in", "out", "to", "from")]
        color = "black"
        if rest and is_color(rest[0]):
            color, rest = rest[0], rest[1:]
        if len(rest) <= 1:
            return Cue("fade", _time(rest), color)
    near = nearest(kind, ["cut", "dissolve", "wipe", "fade"])
    misspelt = near is not None and near != kind
    raise UnknownWord("unknown transition", f"did you mean '{near}'?" if misspelt else FORMS)


def is_color(word: str) -> bool:
    """Whether it is black, white or #rrggbb."""
    return word in ("black", "white") or re.fullmatch(r"#[0-9a-f]{6}", word) is not None


def _time(words: list[str]) -> Duration:
    if not words:
        return ONE_SECOND
    try:
        return parse_duration(words[0])
    except ValueError:
        raise UnknownWord("unknown transition", FORMS) from None
