"""Faults inside a take: frozen, black and repeated frames, cuts, and trends all through it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from storyflow.qc.series import Series

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

FROZEN = 0.001 * 255
"""Less motion than this, in levels of luma, is none."""

BLACK_PART = 0.98
"""A frame is black when so much of it is dark, as for ffmpeg's blackdetect."""

LEAST_CHANGE = 15.0
"""No cut where the content changes less, whatever is around."""

BESIDE = 2
"""Frames on either side that a change is compared with."""

MONOTONE = 0.8
"""Spearman's rank correlation with time from which a change is a trend."""

WINDOWS = 8
"""A trend is looked for in so many parts of a take."""

LONG = 240
"""Frames from which a trend can be a model's: in short takes it is what the shot shows."""


@dataclass(frozen=True)
class Stretch:
    """Frames [start, stop)."""

    start: int
    stop: int

    @property
    def frames(self) -> int:
        """Its length."""
        return self.stop - self.start


def frozen(series: Series) -> Iterator[Stretch]:
    """Stretches in which nothing moves; the first frame of each is the one that stays."""
    for still in _runs(series.motion[1:] < FROZEN):
        yield Stretch(still.start, still.stop + 1)


def black(series: Series) -> Iterator[Stretch]:
    """Stretches of black frames."""
    yield from _runs(series.dark >= BLACK_PART)


def repeated(series: Series) -> Iterator[Stretch]:
    """Stretches of frames that equal the one before them."""
    yield from _runs(series.repeats > 0)


def cut_ratios(series: Series) -> Values:
    """How much more the content changes at each frame than around it; 0 where it changes little.

    PySceneDetect's AdaptiveDetector: the change over its mean on `BESIDE` frames on either side.
    """
    change = series.change.astype(np.float64)
    found = np.zeros(len(change))
    for frame in np.flatnonzero(change >= LEAST_CHANGE):
        first = max(1, frame - BESIDE)
        beside = np.concatenate([change[first:frame], change[frame + 1 : frame + BESIDE + 1]])
        if len(beside):
            found[frame] = change[frame] / max(float(beside.mean()), 1e-3)
    return found


def trend(values: NDArray[np.float32]) -> float | None:
    """The last part of a series over its first, where it rises or falls all the way; else None."""
    if len(values) < LONG:
        return None
    means = np.array([part.mean() for part in np.array_split(values.astype(np.float64), WINDOWS)])
    ranks, time = means.argsort().argsort(), np.arange(WINDOWS)
    if abs(float(np.corrcoef(ranks, time)[0, 1])) <= MONOTONE:
        return None
    return float(means[-1] / max(float(means[0]), 1e-6))


def _runs(flags: NDArray[np.bool_]) -> Iterator[Stretch]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield Stretch(int(start), int(stop))
