"""Dissolves, wipes and fades, picture by picture.

Pictures are mixed as they are coded, not in linear light: that is what editing programs do with a
plain dissolve, so the film looks the same when it is put together again in one of them, and a fade
to black darkens evenly to the eye. Shares are whole 256ths and sums are rounded to the nearest
level, in integers: equal pictures mix equally everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from storyflow.storyboard.resolved import Transition

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WHOLE = 256
"""The share of a picture that is shown alone."""

ROWS = 32
"""Rows of a picture that are computed at once."""

_COLORS = {"black": (0, 0, 0), "white": (255, 255, 255)}


def rgb_of(color: str) -> tuple[int, int, int]:
    """The colour of a fade or a card: black, white or #rrggbb."""
    if color in _COLORS:
        return _COLORS[color]
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


def mix(
    before: NDArray[np.uint8], after: NDArray[np.uint8], transition: Transition, step: int
) -> NDArray[np.uint8]:
    """Picture `step` of a dissolve's or wipe's, from 0, of two uint8 [height, width, 3].

    It shows what a steady change from nothing to all has reached in the middle of that frame: the
    first picture is not all `before`, the last not all `after`, and both are as far from it.
    """
    reached, whole = 2 * step + 1, 2 * transition.frames
    if transition.kind == "dissolve":
        return blend(before, after, (reached * WHOLE + whole // 2) // whole)
    return _wipe(before, after, transition, reached, whole)


def fade_share(transition: Transition, step: int) -> int:
    """The share, in 256ths, that a picture has `step` frames from the shot's edge under a fade.

    On the edge itself there is nothing but colour.
    """
    return (step * WHOLE + transition.frames // 2) // transition.frames


def fade(picture: NDArray[np.uint8], color: str, share: int) -> NDArray[np.uint8]:
    """uint8 [height, width, 3]: `share` 256ths of the picture, the rest one colour."""
    import numpy as np

    ground = np.empty_like(picture[:ROWS])
    ground[:] = rgb_of(color)
    faded = np.empty_like(picture)
    for top in range(0, len(picture), ROWS):
        rows = picture[top : top + ROWS]
        faded[top : top + ROWS] = blend(ground[: len(rows)], rows, share)
    return faded


def blend(under: NDArray[np.uint8], over: NDArray[np.uint8], share: int) -> NDArray[np.uint8]:
    """`share` 256ths of `over`, the rest `under`; uint8 of one shape, rounded to the nearest."""
    import numpy as np

    blended = np.empty_like(over)
    # A few rows at a time: they stay in the processor's cache.
    for top in range(0, len(over), ROWS):
        rows = slice(top, top + ROWS)
        # 255 times 256 and a half fits into 16 bits. Converted first: numpy multiplies mixed types
        # four times slower.
        mixed = over[rows].astype(np.uint16)
        mixed *= np.uint16(share)
        rest = under[rows].astype(np.uint16)
        rest *= np.uint16(WHOLE - share)
        mixed += rest
        mixed += np.uint16(WHOLE // 2)
        mixed >>= np.uint16(8)
        blended[rows] = mixed
    return blended


def _wipe(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    transition: Transition,
    reached: int,
    whole: int,
) -> NDArray[np.uint8]:
    """The edge moves `transition.way`, and `after` follows it."""
    across = transition.way in ("left", "right")
    length = before.shape[1 if across else 0]
    shown = (reached * length + whole // 2) // whole
    picture = before.copy()
    part = slice(length - shown, None) if transition.way in ("left", "up") else slice(0, shown)
    if across:
        picture[:, part] = after[:, part]
    else:
        picture[part] = after[part]
    return picture
