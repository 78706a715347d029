"""What was measured of a film, as curves over its frames, packed small for the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storyflow.qc.limits import load_limits
from storyflow.reporting.look import AROUND, Samples

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from storyflow.qc.series import Series

    Values = NDArray[np.float32]

LEAST_MOTION = 0.15
"""Grey levels: stiller frames than this count as that still, so that a ratio keeps its sense."""

_NONE = 65535


@dataclass(frozen=True)
class Stretch:
    """What the film shows of one take: its frames [start, stop) from the film's frame `at`.

    `seams` are first frames of segments in the take.
    """

    at: int
    start: int
    stop: int
    measured: Series | Samples | None
    seams: tuple[int, ...] = ()


@dataclass(frozen=True)
class Line:
    """One curve: a value for each frame of the film, as base64 of little-endian uint16.

    65535 is no value, 0 to 65534 lie evenly between `low` and `high`.
    """

    label: str
    low: float
    high: float
    data: str


@dataclass(frozen=True)
class Panel:
    """Curves in one frame. `marks` are values drawn as rules, `dots` says that single values
    stand for themselves instead of being joined."""

    name: str
    unit: str
    lines: tuple[Line, ...]
    marks: tuple[float, ...] = ()
    dots: bool = False


def panels(stretches: Sequence[Stretch], frames: int) -> tuple[Panel, ...]:
    """Brightness, colour, sharpness, motion and seam ratio; without those nobody measured."""
    limit = load_limits().seam_ratio
    marks = tuple(float(level) for level in (limit.warn, limit.fail) if level is not None)
    found = [
        Panel("Brightness", "L*", (_line("L*", stretches, frames, "luma"),)),
        Panel(
            "Colour",
            "a* b*",
            (
                _line("a* green to red", stretches, frames, "a"),
                _line("b* blue to yellow", stretches, frames, "b"),
                _line("chroma", stretches, frames, "chroma"),
            ),
        ),
        Panel("Sharpness", "Laplacian", (_line("sharpness", stretches, frames, "sharpness"),)),
        Panel("Motion", "grey levels", (_motion_line(stretches, frames),)),
        Panel("Seam ratio", "times", (_ratio_line(stretches, frames),), marks, dots=True),
    ]
    return tuple(panel for panel in found if any(line.data for line in panel.lines))


def seam_ratios(stretch: Stretch) -> dict[int, float]:
    """Per seam of the stretch, counted in the film: its motion over the median around it."""
    import numpy as np

    motion = _dense(stretch, "motion")
    found: dict[int, float] = {}
    for seam in stretch.seams:
        place = seam - stretch.start
        if motion is None or not 0 < place < len(motion) or np.isnan(motion[place]):
            continue
        near = motion[max(0, place - AROUND) : place + AROUND + 1].copy()
        near[place - max(0, place - AROUND)] = np.nan
        if np.isnan(near).all():
            continue
        found[stretch.at + place] = float(
            motion[place] / max(float(np.nanmedian(near)), LEAST_MOTION)
        )
    return found


def _dense(stretch: Stretch, name: str) -> Values | None:
    """The stretch's values, frame by frame, NaN where there is none."""
    import numpy as np

    measured = stretch.measured
    if measured is None:
        return None
    values = np.full(stretch.stop - stretch.start, np.nan, np.float32)
    if isinstance(measured, Samples):
        for frame, value in zip(measured.frames, getattr(measured, name), strict=True):
            if stretch.start <= frame < stretch.stop and value is not None:
                values[frame - stretch.start] = value
    else:
        got = getattr(measured, name)[max(0, stretch.start) : stretch.stop]
        values[: len(got)] = got
    if name == "motion" and len(values) and stretch.start <= 0:
        values[0] = np.nan  # nothing lies before a take's first frame
    return values


def _line(label: str, stretches: Sequence[Stretch], frames: int, name: str) -> Line:
    import numpy as np

    values = np.full(frames, np.nan, np.float32)
    for stretch in stretches:
        dense = _dense(stretch, name)
        if dense is not None:
            values[stretch.at : stretch.at + len(dense)] = dense[: max(0, frames - stretch.at)]
    return _packed(label, values)


def _motion_line(stretches: Sequence[Stretch], frames: int) -> Line:
    """Motion; of samples the mean over four frames, the rhythm in which a VAE writes them: what is
    known of single frames is more of some phases than of others."""
    import numpy as np

    values = np.full(frames, np.nan, np.float32)
    for stretch in stretches:
        dense = _dense(stretch, "motion")
        if dense is None:
            continue
        if isinstance(stretch.measured, Samples):
            padded = np.concatenate([np.full(3, np.nan, np.float32), dense])
            dense = np.lib.stride_tricks.sliding_window_view(padded, 4).mean(axis=1)
        values[stretch.at : stretch.at + len(dense)] = dense[: max(0, frames - stretch.at)]
    return _packed("motion", values)


def _ratio_line(stretches: Sequence[Stretch], frames: int) -> Line:
    import numpy as np

    values = np.full(frames, np.nan, np.float32)
    for stretch in stretches:
        for frame, ratio in seam_ratios(stretch).items():
            values[frame] = ratio
    return _packed("seam ratio", values)


def _packed(label: str, values: Values) -> Line:
    import numpy as np

    known = np.isfinite(values)
    if not known.any():
        return Line(label, 0.0, 0.0, "")
    low, high = float(values[known].min()), float(values[known].max())
    scaled = np.full(len(values), _NONE, "<u2")
    scaled[known] = np.round((values[known] - low) / ((high - low) or 1.0) * (_NONE - 1))
    return Line(label, round(low, 5), round(high, 5), base64.b64encode(scaled.tobytes()).decode())
