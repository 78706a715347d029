"""The poster: one picture of the film as a JPEG beside it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from storyflow.cutting.aside import written_aside
from storyflow.pipeline import DeliverSection

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_QUALITY = 90


def poster_frame(deliver: DeliverSection, fps: Fraction, frames: int, first: int) -> int:
    """Which frame of a film of `frames`: the named time, else the middle of the `first` shot's.

    A time behind the end is the last frame.
    """
    if deliver.poster is None:
        return first // 2
    return min(int(deliver.poster.to_frames(fps)), frames - 1)


def write_poster(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """uint8 [height, width, 3] as a JPEG, aside and renamed. Raises CutError."""
    from PIL import Image

    with written_aside(path) as target:
        Image.fromarray(pixels).save(target, format="JPEG", quality=_QUALITY, optimize=True)
    return path
