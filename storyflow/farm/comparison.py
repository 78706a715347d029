"""A segment's history as its model gives it back, held against how it was given.

Both show the same moments, so every difference is the model's own: what a chain of segments adds up
is measured here without noise from what moves in the pictures.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from storyflow.store.artifacts import Regained

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Comparison:
    """Sums over pixels, chunk by chunk; memory is flat. `given` is uint8 [n, height, width, 3]."""

    def __init__(self, given: NDArray[np.uint8]) -> None:
        self._given = given
        self._frames = 0
        self._pixels = 0
        self._squares = 0.0
        # Per channel: came back, given, came back squared, their product.
        self._sums: NDArray[np.float64] | None = None

    def add(self, chunk: NDArray[np.uint8]) -> None:
        """The next frames as they came back, uint8 [n, height, width, 3]."""
        import numpy as np

        from storyflow.media.lab import to_lab

        for back in chunk:
            given = self._given[self._frames]
            x, y = (to_lab(f).reshape(-1, 3).astype(np.float64) for f in (back, given))
            sums = np.stack([part.sum(axis=0) for part in (x, y, x * x, x * y)])
            self._sums = sums if self._sums is None else self._sums + sums
            apart = back.astype(np.int32) - given
            self._squares += float((apart * apart).sum())
            self._pixels += len(x)
            self._frames += 1

    def result(self) -> Regained | None:
        """What came of it, None where nothing came back."""
        import numpy as np

        if self._sums is None:
            return None
        x, y, xx, xy = self._sums / self._pixels
        spread = xx - x * x
        # A channel without any contrast has no gain to be measured.
        flat = spread < 1e-3
        gain = np.where(flat, 1.0, (xy - x * y) / np.where(flat, 1.0, spread))
        offset = y - gain * x
        error = self._squares / (3 * self._pixels)
        psnr = 10 * math.log10(255**2 / error) if error else None
        return Regained(_three(gain), _three(offset), psnr)


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
