"""The bundled font: Source Sans Pro by Paul D. Hunt (SIL Open Font License 1.1).

It has the Latin, Greek and Cyrillic letters of the languages written in them, Vietnamese included.
Text is laid out by Pillow's basic engine, letter after letter, so that it comes out the same
whatever shaping library a machine has.
"""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

FOLDER = Path(__file__).parent / "source-sans-pro"
NAME = "Source Sans Pro"

_PROBE = 32
"""Pixels at which glyphs are compared."""


@lru_cache(maxsize=64)
def font(size: int, *, bold: bool = False) -> FreeTypeFont:
    """The font with letters of `size` pixels to the em; `bold` is semibold."""
    from PIL import ImageFont

    file = FOLDER / f"SourceSansPro-{'Semibold' if bold else 'Regular'}.otf"
    return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC)


def composed(text: str) -> str:
    """The text with its accents in one character with their letters, where there is one."""
    return unicodedata.normalize("NFC", text)


def missing_letters(text: str) -> str:
    """The characters of a text that the font has no glyph for, each once; line breaks are none."""
    return "".join(
        dict.fromkeys(c for c in composed(text) if c != "\n" and _drawn(c) == _drawn("\uffff"))
    )


@cache
def _drawn(character: str) -> tuple[tuple[int, int], bytes]:
    """A character's glyph as pixels; all that a font lacks are drawn as the same box."""
    mask = font(_PROBE).getmask(character)
    return mask.size, bytes(mask)
