"""What a scene shows in each token, as numbers: the transformer's second task in training.

A silhouette's outline is a small part of the error of a velocity, and a transformer that is only
asked for that error paints blobs of the right colour for very long. Asked half-way through, token
by token, which figure covers what and how everything moves, it learns what the words for shapes
mean several times sooner; what it says there is thrown away after training. (Aligning the middle of
a diffusion transformer with something that sees is known to shorten training: REPA, arXiv
2410.06940. Here nothing has to see: the scene is known.)
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from storyflow.toybox.shapes import SHAPES, coverage
from storyflow.toybox.world import COLOURS, HEIGHT, WIDTH, Scene, Tracks, tracks

SIDE: Final = 16
"""Pixels of a token's side."""
ROWS, COLUMNS = HEIGHT // SIDE, WIDTH // SIDE
TOKENS: Final = ROWS * COLUMNS
FIGURES: Final = 2
_FINE: Final = 4
"""Pixels of a side of the squares that coverage is told for."""
_COVER: Final = (SIDE // _FINE) ** 2 * FIGURES
_EACH: Final = 9 + len(SHAPES)
NUMBERS: Final = _COVER + FIGURES * _EACH + 2
"""Per token: the cover of 4x4 squares by either figure; of either figure near it the way to its
centre and its radius (in tokens), its shape (one of five), its colour, its speed (pixels a frame)
and how it grows; and how what is behind moves."""

Map = NDArray[np.float16]


def scene_map(scene: Scene, frames: NDArray[np.integer[Any]]) -> Map:
    """float16 [len(frames), 24, 62] of a scene at those frames, zeros where no figure is near."""
    found = np.zeros((len(frames), TOKENS, NUMBERS), np.float32)
    if not len(frames):
        return found.astype(np.float16)
    where = tracks(scene, int(frames.max()) + 3)
    covers = np.zeros((len(frames), HEIGHT // _FINE, WIDTH // _FINE, FIGURES), np.float32)
    near = np.zeros((len(frames), ROWS, COLUMNS, FIGURES, _EACH), np.float32)
    down, across = np.mgrid[:HEIGHT:_FINE, :WIDTH:_FINE].astype(np.float32) + _FINE / 2
    for which, figure in enumerate(scene.figures):
        x, y, radius = _seen(where, which)
        shape, colour = list(SHAPES).index(figure.shape), np.asarray(COLOURS[figure.colour]) / 255
        for k, at in enumerate(frames):
            covers[k, :, :, which] = coverage(
                figure.shape,
                (across - x[at]).astype(np.float32),
                (down - y[at]).astype(np.float32),
                np.asarray(radius[at], np.float32),
                0.7,
            )
            near[k, :, :, which] = _near(x[at : at + 2], y[at : at + 2], radius[at : at + 2])
            touched = near[k, :, :, which, 2] > 0
            near[k, touched, which, 3 + shape] = 1
            near[k, touched, which, 8:11] = colour
    parts = covers.reshape(len(frames), ROWS, SIDE // _FINE, COLUMNS, SIDE // _FINE, FIGURES)
    found[..., :_COVER] = parts.swapaxes(2, 3).reshape(len(frames), TOKENS, _COVER)
    found[..., _COVER:-2] = near.reshape(len(frames), TOKENS, FIGURES * _EACH)
    for k, at in enumerate(frames):
        found[k, :, -2:] = _behind(where, int(at)).reshape(TOKENS, 2)
    return found.astype(np.float16)


def _seen(where: Tracks, which: int) -> tuple[NDArray[np.float64], ...]:
    """Centre and radius of a figure in pixels of the picture."""
    zoom = where.zoom
    return (
        WIDTH / 2 + (where.x[which] - WIDTH / 2) * zoom,
        HEIGHT / 2 + (where.y[which] - HEIGHT / 2) * zoom,
        where.radius[which] * zoom,
    )


def _centres() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    down, across = np.mgrid[:HEIGHT:SIDE, :WIDTH:SIDE] + SIDE / 2
    return down, across


def _near(
    x: NDArray[np.float64], y: NDArray[np.float64], radius: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of a figure at a frame and the next: [rows, columns, 14] but for shape and colour."""
    down, across = _centres()
    found = np.zeros((ROWS, COLUMNS, _EACH))
    found[..., 0], found[..., 1] = (across - x[0]) / SIDE, (down - y[0]) / SIDE
    found[..., 2] = radius[0] / SIDE
    found[..., 11], found[..., 12] = np.clip(x[1] - x[0], -2, 2), np.clip(y[1] - y[0], -2, 2)
    found[..., 13] = (radius[1] - radius[0]) * 4
    reach = radius[0] + SIDE / 2
    touched = (np.abs(across - x[0]) < reach) & (np.abs(down - y[0]) < reach)
    found[~touched] = 0
    return found


def _behind(where: Tracks, at: int) -> NDArray[np.float64]:
    """How what is behind the figures moves at each token, pixels a frame: [rows, columns, 2]."""
    down, across = _centres()
    zoom, grows = where.zoom[at], where.zoom[at + 1] / where.zoom[at] - 1
    right = -(where.pan[at + 1] - where.pan[at]) * zoom + (across - WIDTH / 2) * grows
    below = -(where.tilt[at + 1] - where.tilt[at]) * zoom + (down - HEIGHT / 2) * grows
    return np.stack([right, below], axis=-1)
