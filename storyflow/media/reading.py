"""What reading a picture or a clip comes to, and how one that can't be used is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded: 100 megapixels are 300 MB in memory."""


class BadMedia(ValueError):
    """A picture or clip that can't be used, with a problem code and a cure."""

    def __init__(self, code: str, what: str, cure: str) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.cure = cure


@dataclass(frozen=True)
class Reading:
    """Pictures of the frame's size, uint8 [n, height, width, 3] RGB, and what was adjusted."""

    frames: NDArray[np.uint8]
    notices: tuple[str, ...] = ()


def refuse_huge(width: int, height: int, what: str) -> None:
    """Raises BadMedia for more pixels than a film can need: a mistake, or an attack."""
    if width * height > MAX_PIXELS:
        size = f"{width}x{height} pixels"
        raise BadMedia("huge-media", f"this {what} has {size}", "export it smaller")
    if width < 1 or height < 1:
        what = f"this {what} names no size that a picture can have"
        raise BadMedia("broken-media", what, "export it again")
