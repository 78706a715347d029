"""What happens where a segment begins: readings of single seams, and the step they have in common.

A single seam may look odd by chance: things move. So the number to watch is the systematic step:
signed steps of light and saturation at all of a take's seams, each less the median step around it,
and the median of those, held against as many random positions inside the same take. A VAE that
decodes four frames at a time may pulse with them, and all seams lie where such a group begins: so
they are compared with positions where one begins, too, and what is usual there is no step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from storyflow.qc.series import Series
from storyflow.qc.verdicts import Drift, Seam, SeamKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

AROUND = 12
"""Frames on either side that a frame is compared with."""

STILL = 0.15
"""Less motion than this, in levels of luma, counts as this much."""

DRAWS = 1000
"""Random sets of positions that a take's seams are compared with."""

FEWEST = 3
"""A take with fewer seams has no systematic step."""

CLOSE = 2
"""Frames around a seam that aren't taken as random positions."""

GROUP = 4
"""Frames that a VAE decodes at a time."""

PALE = 1.0
"""Less chroma than this counts as this much: a step of grey has no saturation."""


def read_seam(series: Series, frame: int, kind: SeamKind, segment: str) -> Seam:
    """The readings where frame `frame` follows the one before it, which must be in the series."""
    after, before = series.sharpness[frame : frame + 4], series.sharpness[max(0, frame - 4) : frame]
    return Seam(
        frame=frame,
        kind=kind,
        segment=segment,
        ratio=_ratio(series.motion, frame),
        warp=_ratio(series.warp, frame),
        colour=_beyond(colour_steps(series), frame),
        light=_beyond(light_steps(series), frame),
        saturation=_beyond(saturation_steps(series), frame),
        sharpness=float(after.mean() / max(float(before.mean()), 1e-6)),
    )


def ratios(values: Sequence[float] | NDArray[np.float32]) -> Values:
    """`_ratio` at every frame; 1 at the first, which has no frame before it."""
    every = np.asarray(values, np.float64)
    found = [1.0, *(_ratio(every, frame) for frame in range(1, len(every)))]
    return np.array(found[: len(every)])


def colour_steps(series: Series) -> Values:
    """How far the mean colour moves from frame to frame, CIE dE76; 0 at the first."""
    lab = np.stack([series.luma, series.a, series.b]).astype(np.float64)
    return np.concatenate([[0.0], np.sqrt((np.diff(lab) ** 2).sum(axis=0))])[: series.frames]


def colour_jumps(series: Series) -> Values:
    """`colour_steps` less the median of the steps around each."""
    steps = colour_steps(series)
    found = [0.0, *(_beyond(steps, frame) for frame in range(1, len(steps)))]
    return np.array(found[: len(steps)])


def light_steps(series: Series) -> Values:
    """Signed steps of mean L* from frame to frame; 0 at the first."""
    return _steps(series.luma.astype(np.float64))


def saturation_steps(series: Series) -> Values:
    """Signed steps of mean chroma, in per cent of the frame before; 0 at the first."""
    chroma = series.chroma.astype(np.float64)
    return 100 * _steps(chroma) / np.maximum(np.roll(chroma, 1), PALE)


def drift(series: Series, seams: Sequence[int], start: int = 0, stop: int | None = None) -> Drift:
    """The systematic step of seams at these frames, against positions in [start, stop).

    Chances count the draw itself: with none of `DRAWS` as large they are 1/1001.
    """
    stop = series.frames if stop is None else stop
    near = {frame + apart for frame in seams for apart in range(-CLOSE, CLOSE + 1)}
    phases = {frame % GROUP for frame in seams}
    phases = phases if len(phases) == 1 else set(range(GROUP))
    places = [
        frame for frame in range(start + 1, stop) if frame not in near and frame % GROUP in phases
    ]
    light, light_chance = _against(light_steps(series), seams, places)
    saturation, saturation_chance = _against(saturation_steps(series), seams, places)
    return Drift(len(seams), light, saturation, light_chance, saturation_chance)


def rhythm(series: Series, seams: Sequence[int] = ()) -> float | None:
    """The strongest over the weakest of the four phases of |dL*|, None under 48 frames.

    The VAE decodes four frames at a time: a pulse at each group shows in one phase. Seams, which
    all have the same phase, are left out.
    """
    steps = np.abs(light_steps(series))
    frames = np.setdiff1d(np.arange(1, series.frames), np.asarray(seams, np.int64))
    if len(frames) < 48:
        return None
    medians = [float(np.median(steps[frames[frames % 4 == phase]])) for phase in range(4)]
    # What 8-bit pictures can't show is no rhythm.
    return (max(medians) + 0.02) / (min(medians) + 0.02)


def _against(steps: Values, seams: Sequence[int], places: Sequence[int]) -> tuple[float, float]:
    beyond = partial(_beyond, steps)
    found = float(np.median([beyond(frame) for frame in seams]))
    if len(places) < len(seams):
        return found, 1.0
    natural = np.array([beyond(frame) for frame in places])
    usual = float(np.median(natural))
    found, natural = found - usual, natural - usual
    random = np.random.default_rng(0)
    drawn = np.median(random.choice(natural, (DRAWS, len(seams))), axis=1)
    chance = (1 + int((np.abs(drawn) >= abs(found)).sum())) / (1 + DRAWS)
    return found, chance


def _steps(values: Values) -> Values:
    return np.diff(values, prepend=values[:1])


def _around(values: Values | NDArray[np.float32], frame: int) -> Values:
    """The values on either side of a frame, without its own and that of the first."""
    first = max(1, frame - AROUND)
    beside = np.concatenate([values[first:frame], values[frame + 1 : frame + AROUND + 1]])
    return np.asarray(beside if len(beside) else values[frame : frame + 1], np.float64)


def _ratio(values: Values | NDArray[np.float32], frame: int) -> float:
    return float(values[frame]) / max(float(np.median(_around(values, frame))), STILL)


def _beyond(values: Values, frame: int) -> float:
    return float(values[frame] - np.median(_around(values, frame)))
