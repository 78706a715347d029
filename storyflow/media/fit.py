"""A picture of any shape on the film's frame: cropped or padded, never stretched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from storyflow.timing import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

Fit = Literal["crop", "pad"]


def on_frame(
    image: Image.Image, size: Size, fit: Fit, *, stretch: float = 1.0
) -> NDArray[np.uint8]:
    """An RGB image as uint8 [height, width, 3] of the frame's size, resampled with Lanczos.

    `crop` fills the frame and cuts off what lies outside, as much on either side; `pad` shows the
    whole picture on black. `stretch` is the width of a pixel over its height, 1 for square ones.
    """
    wide, high = image.width * stretch, float(image.height)
    if fit == "crop":
        scale = min(wide / size.width, high / size.height)
        kept = (size.width * scale / stretch, size.height * scale)
        left, top = (image.width - kept[0]) / 2, (image.height - kept[1]) / 2
        box = (max(left, 0.0), max(top, 0.0), left + kept[0], top + kept[1])
        box = (*box[:2], min(box[2], image.width), min(box[3], image.height))
        return _resized(image, (size.width, size.height), box)
    scale = max(wide / size.width, high / size.height)
    inside = (
        min(size.width, max(1, round(wide / scale))),
        min(size.height, max(1, round(high / scale))),
    )
    frame = np.zeros((size.height, size.width, 3), dtype=np.uint8)
    left, top = (size.width - inside[0]) // 2, (size.height - inside[1]) // 2
    whole = (0.0, 0.0, float(image.width), float(image.height))
    frame[top : top + inside[1], left : left + inside[0]] = _resized(image, inside, whole)
    return frame


def _resized(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]
) -> NDArray[np.uint8]:
    if size == image.size and box == (0.0, 0.0, float(size[0]), float(size[1])):
        return np.array(image, dtype=np.uint8)  # exact, also where resampling would round
    return np.array(image.resize(size, Image.Resampling.LANCZOS, box=box), dtype=np.uint8)
