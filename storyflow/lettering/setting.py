"""How titles are set: size, lines and place, as shares of the picture.

Everything stays within 90 % of the picture's width and height, its safe title area (SMPTE ST
2046-1). A text that does not fit is set smaller, down to half the size; then it is refused.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from storyflow.lettering.fonts import composed, font, missing_letters
from storyflow.storyboard.resolved import TitleStyle
from storyflow.timing import Size

SAFE = 0.05
"""Margin on each side, as a share of that side."""

LEADING = 1.18
"""From one line to the next, in letter heights."""

_LEAST = 6
"""Pixels: smaller letters are none any more."""


class BadTitle(ValueError):
    """A title that can't be set; `cure` is what to do."""

    def __init__(self, code: str, what: str, cure: str) -> None:
        super().__init__(what)
        self.code, self.what, self.cure = code, what, cure


@dataclass(frozen=True)
class Line:
    """One line: its text, letter size and weight, and its top left corner, in pixels."""

    text: str
    left: int
    top: int
    letters: int
    bold: bool


@dataclass(frozen=True)
class _Form:
    """A style, in shares of the picture's height (`most`, `small`) and of its width (`wide`)."""

    most: float
    small: float
    wide: float
    high: float


_FORMS: dict[TitleStyle, _Form] = {
    "center": _Form(most=0.125, small=1.0, wide=0.8, high=0.7),
    "card": _Form(most=0.105, small=1.0, wide=0.8, high=0.8),
    # The first line is a name, what follows says more about it.
    "lower-third": _Form(most=0.075, small=0.72, wide=0.75, high=0.30),
}


def set_title(text: str, style: TitleStyle, size: Size) -> tuple[Line, ...]:
    """The lines of a title on a picture of `size`. Raises BadTitle: a character that the font
    lacks, or more text than fits."""
    text = composed(text)
    if missing := missing_letters(text):
        shown = ", ".join(f"{c} (U+{ord(c):04X})" for c in missing[:5])
        what = f"the title's font has no {shown}"
        raise BadTitle("missing-glyph", what, "write it in Latin, Greek or Cyrillic letters")
    form = _FORMS[style]
    most = max(_LEAST, round(form.most * size.height))
    least = max(_LEAST, most // 2)
    if _lines(text, least, form, size, breaks=True) is None:
        what = f"the title does not fit into the picture, not even with letters of {least} pixels"
        raise BadTitle("long-title", what, "shorten it, or show it as several titles")
    # The author's lines stay whole where somewhat smaller letters do it.
    whole = [(letters, False) for letters in range(most, max(least, round(0.7 * most)) - 1, -1)]
    broken = [(letters, True) for letters in range(most, least - 1, -1)]
    tried = (_lines(text, n, form, size, breaks=breaks) for n, breaks in whole + broken)
    return _placed(next(lines for lines in tried if lines is not None), style, size)


def _lines(text: str, letters: int, form: _Form, size: Size, *, breaks: bool) -> list[Line] | None:
    """The lines one below the other from the corner, or None where they don't fit; with `breaks`
    the author's lines may become several."""
    room = round(form.wide * size.width)
    lines: list[Line] = []
    top = 0
    for number, paragraph in enumerate(text.split("\n")):
        tall = letters if number == 0 else max(_LEAST, round(letters * form.small))
        bold = number == 0 or form.small == 1.0
        rows = _broken(paragraph.split(), tall, bold, room)
        if rows is None or (len(rows) > 1 and not breaks):
            return None
        for row in rows:
            lines.append(Line(row, 0, top, tall, bold))
            top += round(tall * LEADING)
    return lines if top <= round(form.high * size.height) else None


def _broken(words: Sequence[str], letters: int, bold: bool, room: int) -> list[str] | None:
    """A paragraph in as few lines as fit into `room`, and those as even as can be."""
    face = font(letters, bold=bold)
    widths = [face.getlength(word) for word in words]
    if max(widths, default=0) > room:
        return None
    space = face.getlength(" ")
    fewest = len(_filled(widths, space, room))
    narrow = range(math.ceil(max(widths, default=0)), room + 1)
    # The narrowest width that gives as few lines makes them even.
    width = bisect_left(narrow, True, key=lambda w: len(_filled(widths, space, w)) <= fewest)
    stops = accumulate(_filled(widths, space, narrow[width]), initial=0)
    return [" ".join(words[start:stop]) for start, stop in pairwise(stops)]


def _filled(widths: Sequence[float], space: float, room: float) -> list[int]:
    """How many words stand in each line, when every line takes as many as it can."""
    counts: list[int] = []
    used = room
    for width in widths:
        if not counts or used + space + width > room:
            counts.append(0)
            used = -space
        counts[-1] += 1
        used += space + width
    return counts


def _placed(lines: Sequence[Line], style: TitleStyle, size: Size) -> tuple[Line, ...]:
    """The lines where they stand: in the middle, or at the bottom left."""
    bottom = lines[-1].top + round(lines[-1].letters * LEADING)
    if style == "lower-third":
        left, top = round(2 * SAFE * size.width), round(0.88 * size.height) - bottom
        return tuple(replace(line, left=left, top=top + line.top) for line in lines)
    top = (size.height - bottom) // 2
    return tuple(
        replace(
            line,
            left=round((size.width - font(line.letters, bold=line.bold).getlength(line.text)) / 2),
            top=top + line.top,
        )
        for line in lines
    )
