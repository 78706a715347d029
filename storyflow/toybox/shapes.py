"""The five silhouettes, as coverage of pixels: 1 inside, 0 outside, between on the edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

SOFT: Final = 1.7
"""Pixels over which an edge goes from inside to outside: what a VAE of 8x8 cells can keep."""


@dataclass(frozen=True)
class Shape:
    """A silhouette: `distance(x, y, radius)` in pixels, negative inside; `eyes` is how far below
    the centre the eyes sit, in radii."""

    distance: Callable[[Field, Field, Field], Field]
    eyes: float


def _circle(x: Field, y: Field, r: Field) -> Field:
    distance: Field = np.sqrt(x * x + y * y) - r
    return distance


def _square(x: Field, y: Field, r: Field) -> Field:
    distance: Field = np.maximum(np.abs(x), np.abs(y)) - 0.88 * r
    return distance


def _triangle(x: Field, y: Field, r: Field) -> Field:
    y = y - 0.15 * r
    side = np.abs(x) * np.float32(0.880) - y * np.float32(0.475)
    distance: Field = np.maximum(side - np.float32(0.50) * r, y - np.float32(0.80) * r)
    return distance


def _star(x: Field, y: Field, r: Field) -> Field:
    """Five points: the distance to the nearest of the ten edges, by folding the plane."""
    r = r * np.float32(1.18)
    angle = np.arctan2(x, -y)
    sector = np.float32(2 * np.pi / 5)
    angle = np.abs((angle + sector / 2) % sector - sector / 2)
    size = np.sqrt(x * x + y * y)
    px, py = size * np.cos(angle), size * np.sin(angle)
    inner = np.float32(0.50)
    tip = (inner * np.cos(sector / 2) - 1, inner * np.sin(sector / 2))
    length = np.float32(np.hypot(*tip))
    distance: Field = ((px - r) * np.float32(tip[1]) - py * np.float32(tip[0])) / length
    return distance


def _heart(x: Field, y: Field, r: Field) -> Field:
    """Two discs above a wedge that touches them."""
    x = np.abs(x)
    disc = np.sqrt((x - 0.46 * r) ** 2 + (y + 0.32 * r) ** 2) - 0.56 * r
    wedge = np.maximum(
        (x * np.float32(0.74) + y * np.float32(0.673)) - np.float32(0.685) * r,
        -(y + 0.30 * r - 0.357 * np.minimum(x / np.float32(0.46), r)),
    )
    distance: Field = np.minimum(disc, wedge)
    return distance


SHAPES: Final[dict[str, Shape]] = {
    "circle": Shape(_circle, -0.15),
    "square": Shape(_square, -0.15),
    "triangle": Shape(_triangle, 0.30),
    "star": Shape(_star, -0.02),
    "heart": Shape(_heart, -0.22),
}


def coverage(shape: str, x: Field, y: Field, radius: Field, grow: float = 0.0) -> Field:
    """How much of each pixel a shape covers; `x`, `y` are pixels from its centre.

    `grow` moves the edge outwards by so many pixels.
    """
    distance = SHAPES[shape].distance(x, y, radius)
    inside: Field = np.clip(0.5 + (grow - distance) / SOFT, 0, 1)
    return inside
