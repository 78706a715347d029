"""A title as it is laid on pictures: drawn once, blended where it has anything to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storyflow.cutting.transitions import WHOLE, blend, rgb_of
from storyflow.errors import CutError
from storyflow.lettering.fonts import font
from storyflow.lettering.setting import BadTitle, Line, set_title
from storyflow.storyboard.resolved import TitleStyle
from storyflow.timing import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class Overlay:
    """Colour uint8 and opacity in 256ths uint16, both [height, width, 3], at (`left`, `top`).

    `opacity` is None where nothing of the picture is seen.
    """

    left: int
    top: int
    color: NDArray[np.uint8]
    opacity: NDArray[np.uint16] | None

    def on(self, picture: NDArray[np.uint8], share: int) -> NDArray[np.uint8]:
        """A copy of uint8 [height, width, 3] with `share` 256ths of the overlay on it."""
        import numpy as np

        height, width = self.color.shape[:2]
        place = slice(self.top, self.top + height), slice(self.left, self.left + width)
        made = picture.copy()
        if self.opacity is None:
            made[place] = self.color if share == WHOLE else blend(made[place], self.color, share)
            return made
        half = np.uint16(WHOLE // 2)
        seen = self.opacity
        if share < WHOLE:  # the product of two wholes does not fit into 16 bits
            seen = ((seen * np.uint16(share) + half) >> 8).astype(np.uint16)
        mixed = self.color * seen + made[place] * (np.uint16(WHOLE) - seen) + half
        made[place] = (mixed >> 8).astype(np.uint8)
        return made


def overlay(text: str, style: TitleStyle, ground: str, size: Size) -> Overlay:
    """A title for pictures of `size`. Raises CutError: it can't be set."""
    try:
        lines = set_title(text, style, size)
    except BadTitle as error:
        raise CutError(
            f"the title {text!r} can't be shown: {error.what}", cure=error.cure
        ) from None
    if style == "card":
        return _card(lines, ground, size)
    return _lower_third(lines, size) if style == "lower-third" else _center(lines, size)


def _center(lines: Sequence[Line], size: Size) -> Overlay:
    """White letters in a soft dark halo, so that they can be read on white as on black."""
    from PIL import ImageFilter

    letters = lines[0].letters
    edge = max(1, round(letters / 14))
    near = _written(lines, size, stroke=edge).filter(ImageFilter.GaussianBlur(letters / 28))
    far = _written(lines, size, stroke=2 * edge).filter(ImageFilter.GaussianBlur(letters / 5))
    return _white_on_dark(_written(lines, size), _either(near, 0.62, far, 0.5))


def _lower_third(lines: Sequence[Line], size: Size) -> Overlay:
    """White letters on a dark plate, with a rule at its left."""
    from PIL import Image, ImageDraw

    letters = lines[0].letters
    width = max(font(line.letters, bold=line.bold).getlength(line.text) for line in lines)
    left, top = lines[0].left, lines[0].top
    right = left + round(width)
    bottom = lines[-1].top + round(lines[-1].letters * 1.25)
    pad, rule = round(letters * 0.45), max(1, round(letters * 0.12))
    plate = Image.new("L", (size.width, size.height), 0)
    box = (left - pad, top - pad // 2, right + pad, bottom + pad // 2)
    ImageDraw.Draw(plate).rectangle(box, fill=155)
    text = _written(lines, size)
    ImageDraw.Draw(text).rectangle((box[0], box[1], box[0] + rule - 1, box[3]), fill=255)
    return _white_on_dark(text, plate)


def _card(lines: Sequence[Line], ground: str, size: Size) -> Overlay:
    """The whole picture: letters on a ground of one colour, white ones unless it is light."""
    import numpy as np
    from PIL import Image

    red, green, blue = rgb_of(ground)
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue > 140
    ink = (24, 24, 26) if light else (240, 240, 240)
    image = Image.new("RGB", (size.width, size.height), (red, green, blue))
    image.paste(ink, mask=_written(lines, size))
    return Overlay(0, 0, np.asarray(image).copy(), None)


def _written(lines: Sequence[Line], size: Size, *, stroke: int = 0) -> Image:
    """The letters as a mask, `stroke` pixels bolder all around."""
    from PIL import Image, ImageDraw

    mask = Image.new("L", (size.width, size.height), 0)
    draw = ImageDraw.Draw(mask)
    for line in lines:
        face = font(line.letters, bold=line.bold)
        draw.text((line.left, line.top), line.text, fill=255, font=face, stroke_width=stroke)
    return mask


def _either(first: Image, strong: float, second: Image, weak: float) -> Image:
    """Two masks, each as strong as that, one through the other."""
    from PIL import ImageChops

    return ImageChops.screen(
        first.point(lambda level: round(level * strong)),
        second.point(lambda level: round(level * weak)),
    )


def _white_on_dark(text: Image, dark: Image) -> Overlay:
    """White where `text` is, black where only `dark` is, cut to where there is either."""
    import numpy as np

    # White over black over the picture leaves (1 - text)(1 - dark) of the picture.
    over, under = (np.asarray(mask).astype(np.uint32) for mask in (text, dark))
    clear = (255 - over) * (255 - under)
    opacity = ((255 * 255 - clear) * WHOLE + 255 * 255 // 2) // (255 * 255)
    rows, columns = np.flatnonzero(opacity.any(axis=1)), np.flatnonzero(opacity.any(axis=0))
    if not rows.size:
        rows = columns = np.array([0])
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    seen = np.maximum(opacity, 1)
    white = np.minimum((over * WHOLE + seen // 2) // seen, 255)
    return Overlay(
        left=int(columns[0]),
        top=int(rows[0]),
        color=_three(white[box].astype(np.uint8)),
        opacity=_three(opacity[box].astype(np.uint16)),
    )


def _three(plane: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    return np.repeat(plane[:, :, None], 3, axis=2)
