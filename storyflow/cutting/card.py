"""The card that stands in for a shot that is missing: which one, and why."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from storyflow.lettering.fonts import font
from storyflow.timing import Size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

_LONGEST = 400
"""Characters of a reason beyond this are never shown: the log has them."""

_GROUND = (38, 38, 40)
_RULE = (196, 84, 60)
_HEAD = (232, 232, 232)
_TEXT = (160, 160, 164)


def missing_card(shot: str, reason: str, size: Size) -> NDArray[np.uint8]:
    """uint8 [height, width, 3]: "1C missing" over its reason, wrapped and cut to fit."""
    import numpy as np
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (size.width, size.height), _GROUND)
    draw = ImageDraw.Draw(image)
    margin = max(2, size.width // 16)
    inner = size.width - 2 * margin
    head, reason = f"{shot} missing", reason[:_LONGEST]
    tall = max(8, size.height // 7)
    while tall > 8 and draw.textlength(head, font=font(tall, bold=True)) > inner:
        tall -= 1
    small = max(8, min(tall, size.height // 16))
    top = size.height // 4
    face = font(tall, bold=True)
    draw.text((margin, top), _fit(draw, head, face, inner), fill=_HEAD, font=face)
    rule = top + round(tall * 1.3)
    thick = max(1, size.height // 180)
    draw.rectangle((margin, rule, size.width - margin - 1, rule + thick - 1), fill=_RULE)
    line = round(small * 1.3)
    first = rule + thick + small // 2
    room = max(0, (size.height - first - margin // 2) // line)
    for row, text in enumerate(_wrap(draw, reason, font(small), inner, room)):
        draw.text((margin, first + row * line), text, fill=_TEXT, font=font(small))
    return np.asarray(image).copy()


def _fit(draw: ImageDraw, text: str, face: FreeTypeFont, width: int) -> str:
    if draw.textlength(text, font=face) <= width:
        return text
    widths = (draw.textlength(text[:n] + "...", font=face) for n in range(1, len(text)))
    keep = sum(1 for _ in takewhile(lambda reached: reached <= width, widths))
    return text[:keep].rstrip() + "..."


def _wrap(draw: ImageDraw, text: str, face: FreeTypeFont, width: int, rows: int) -> list[str]:
    """At most `rows` lines that fit; the last one ends in "..." where words are left over."""
    lines: list[str] = []
    current = ""
    for word in text.split():
        longer = f"{current} {word}".strip()
        if current and draw.textlength(longer, font=face) > width:
            lines.append(current)
            current = word
        else:
            current = longer
    lines = [line for line in [*lines, current] if line]
    if len(lines) > rows > 0:
        lines[rows - 1] = " ".join(lines[rows - 1 :])
    return [_fit(draw, line, face, width) for line in lines[:rows]]
