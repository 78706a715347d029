"""CIE L*a*b* (D65) of sRGB pictures and back: lightness apart from colour, as the eye has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_lab(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 RGB [height, width, 3] to float32 [height, width, 3]: L* 0 to 100, a*, b*."""
    import cv2

    return cast("NDArray[np.float32]", cv2.cvtColor(_unit(pixels), cv2.COLOR_RGB2Lab))


def from_lab(lab: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The way back, rounded to the nearest; what lies outside of sRGB is clipped."""
    import cv2

    rgb = cast("NDArray[np.float32]", cv2.cvtColor(lab, cv2.COLOR_Lab2RGB))
    return np.rint(rgb * 255).clip(0, 255).astype(np.uint8)


def _unit(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.multiply(pixels, np.float32(1 / 255), dtype=np.float32)
