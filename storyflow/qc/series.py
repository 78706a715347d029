"""What is measured of every frame of a take: plain series, one value per frame.

A take's master is read once; everything that is judged or drawn later comes from these numbers.
Values that compare a frame with the one before are 0 for the first.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Series:
    """float32 [frames] each; pictures are measured at 480x272 at most, smaller ones as they are.

    `luma`, `a`, `b` are the mean of CIE L* (0 to 100), a* and b* (D65, from sRGB), `chroma` the
    mean distance from grey in the a*b* plane. `sharpness` is the variance of the Laplacian of
    8-bit luma. `motion` is the mean absolute difference of 8-bit luma to the frame before, `warp`
    the same after the frame before was moved along the optical flow. `change` is the mean
    difference of hue, saturation and value to the frame before (0 to 255), `dark` the part of
    pixels with less than a tenth of full luma, `repeats` 1 where all bytes of the master's frame
    equal those of the one before.
    """

    luma: Values
    a: Values
    b: Values
    chroma: Values
    sharpness: Values
    motion: Values
    warp: Values
    change: Values
    dark: Values
    repeats: Values

    @property
    def frames(self) -> int:
        """Length in frames."""
        return len(self.luma)

    def cut(self, start: int, stop: int) -> Series:
        """Frames [start, stop)."""
        return Series(*(getattr(self, name)[start:stop] for name in NAMES))


NAMES = tuple(field.name for field in fields(Series))
"""The series' names, in order."""
