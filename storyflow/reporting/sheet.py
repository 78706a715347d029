"""The contact sheet: one picture per shot with its id, timecode, length, and what happens."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storyflow.lettering.fonts import font
from storyflow.reporting.facts import FilmFacts, ShotFacts
from storyflow.reporting.look import Shown, fit_into
from storyflow.timing import Size

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

GROUND = (250, 249, 247)
INK = (28, 27, 25)
SOFT = (112, 108, 101)
EMPTY = (231, 228, 222)
MISSING = (176, 42, 34)

WIDTHS = ((6, 480), (24, 400), (80, 320), (10**9, 240))
"""Up to so many shots, pictures are so wide: 300 shots still make a sheet that opens."""


@dataclass(frozen=True)
class _Grid:
    """Places in pixels: `columns` by `rows` of cells, each a picture with two lines below."""

    columns: int
    rows: int
    picture: Size
    text: int

    @property
    def gutter(self) -> int:
        return self.text * 2

    @property
    def margin(self) -> int:
        return self.text * 3

    @property
    def head(self) -> int:
        return self.text * 5

    @property
    def cell(self) -> Size:
        return Size(self.picture.width, self.picture.height + round(self.text * 4.6))

    @property
    def size(self) -> Size:
        width = 2 * self.margin + self.columns * (self.cell.width + self.gutter) - self.gutter
        height = self.margin + self.head + self.rows * (self.cell.height + self.gutter)
        return Size(width, height + self.margin - self.gutter)

    def corner(self, index: int) -> tuple[int, int]:
        row, column = divmod(index, self.columns)
        left = self.margin + column * (self.cell.width + self.gutter)
        return left, self.margin + self.head + row * (self.cell.height + self.gutter)


def contact_sheet(facts: FilmFacts) -> Image:
    """The sheet as an RGB picture: shots from left to right, row by row.

    Missing shots stand as empty frames with their reason.
    """
    from PIL import Image, ImageDraw

    grid = _grid(facts.shots)
    sheet = Image.new("RGB", (grid.size.width, grid.size.height), GROUND)
    draw = ImageDraw.Draw(sheet)
    _head(draw, facts, grid)
    for index, shot in enumerate(facts.shots):
        left, top = grid.corner(index)
        _picture(sheet, draw, shot, grid, left, top)
        _caption(draw, shot, grid, left, top + grid.picture.height)
    return sheet


def _grid(shots: Sequence[ShotFacts]) -> _Grid:
    wide = next(width for most, width in WIDTHS if len(shots) <= most)
    first = next((shot.middle for shot in shots if shot.middle), None)
    shape = 9 / 16 if first is None else first.height / first.width
    picture = Size(wide, round(wide * shape))
    text = max(13, round(wide / 22))
    columns = _columns(len(shots), shape)
    return _Grid(columns, math.ceil(len(shots) / columns), picture, text)


def _columns(shots: int, shape: float) -> int:
    """So many that the sheet is a little wider than high, as screens are, and its last row is as
    full as it can be."""
    wish = math.ceil(math.sqrt(shots * 1.3 * shape / 0.5625))
    return min(shots, min(range(wish, wish + 3), key=lambda n: (-shots % n, n)))


def _head(draw: ImageDraw, facts: FilmFacts, grid: _Grid) -> None:
    room = grid.size.width - 2 * grid.margin
    large = font(round(grid.text * 1.9), bold=True)
    draw.text((grid.margin, grid.margin), _fitted(draw, facts.title, large, room), INK, large)
    count = f"{len(facts.shots)} shot{'' if len(facts.shots) == 1 else 's'}"
    state = "" if facts.complete else f"  ·  {len(facts.missing)} missing"
    line = f"{facts.length}  ·  {count}  ·  {facts.size}  ·  {facts.pipeline}{state}"
    small = font(grid.text)
    place = (grid.margin, grid.margin + round(grid.text * 2.5))
    draw.text(place, _fitted(draw, line, small, room), SOFT, small)


def _picture(
    sheet: Image, draw: ImageDraw, shot: ShotFacts, grid: _Grid, left: int, top: int
) -> None:
    size = grid.picture
    box = (left, top, left + size.width - 1, top + size.height - 1)
    if shot.middle is not None:
        image = _enlarged(shot.middle, size)
        draw.rectangle(box, fill=EMPTY)
        x = left + (size.width - image.width) // 2
        sheet.paste(image, (x, top + (size.height - image.height) // 2))
        return
    draw.rectangle(box, outline=MISSING, width=max(1, grid.text // 8))
    small = font(grid.text)
    reason = shot.missing or shot.note
    inset = grid.text
    rows = _wrapped(draw, reason, grid.text, size.width - 2 * inset)
    most = max(1, (size.height - 3 * inset) // round(grid.text * 1.3))
    draw.text((left + inset, top + inset), "missing", MISSING, font(grid.text, bold=True))
    for number, row in enumerate(rows[: most - 1]):
        y = top + inset + round(grid.text * 1.3 * (number + 1))
        draw.text((left + inset, y), row, SOFT, small)


def _enlarged(shown: Shown, size: Size) -> Image:
    """The picture to fit `size`; coarse ones pixel by pixel."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(shown.webp))).convert("RGB")
    times = min(size.width // image.width, size.height // image.height)
    if times > 1:
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    scale = min(size.width / image.width, size.height / image.height)
    if scale != 1.0:
        if scale < 1.0:
            width, height = fit_into(Size(image.width, image.height), size)
        else:
            width, height = round(image.width * scale), round(image.height * scale)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return image


def _caption(draw: ImageDraw, shot: ShotFacts, grid: _Grid, left: int, top: int) -> None:
    bold, small = font(grid.text, bold=True), font(grid.text)
    y = top + round(grid.text * 0.5)
    times = f"{shot.timecode}   {shot.length}"
    room = grid.cell.width - round(draw.textlength(times, small)) - grid.text
    draw.text((left, y), _fitted(draw, shot.id, bold, room), INK, bold)
    right = left + grid.cell.width - round(draw.textlength(times, small))
    draw.text((right, y), times, SOFT, small)
    for row, text in enumerate(_wrapped(draw, shot.line, grid.text, grid.cell.width)[:2]):
        draw.text((left, y + round(grid.text * 1.3 * (row + 1))), text, SOFT, small)


def _wrapped(draw: ImageDraw, text: str, size: int, room: int, most: int = 2) -> list[str]:
    """Lines that fit; the last of `most` ends in … where words are left over."""
    letters = font(size)
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < most:
        line = words.pop(0)
        while words and draw.textlength(f"{line} {words[0]}", letters) <= room:
            line = f"{line} {words.pop(0)}"
        if words and len(lines) == most - 1:
            line = f"{line} {' '.join(words)}"
        lines.append(_fitted(draw, line, letters, room))
    return lines


def _fitted(draw: ImageDraw, text: str, letters: object, room: int) -> str:
    from PIL.ImageFont import FreeTypeFont

    assert isinstance(letters, FreeTypeFont)
    text = text[:400]
    if draw.textlength(text, letters) <= room:
        return text
    while text and draw.textlength(f"{text}…", letters) > room:
        text = text[:-1].rstrip()
    return f"{text}…"
