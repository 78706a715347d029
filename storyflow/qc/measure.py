"""One pass over frames: every series at once, memory flat.

Optical flow is DIS (Kroeger et al. 2016, arXiv 1603.03590) as OpenCV has it. `change` is the frame
score of PySceneDetect's content detector without its edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from storyflow.cutting.masters import tag_of
from storyflow.errors import DamagedError, InputError
from storyflow.qc.filed import read_series, series_path, write_series
from storyflow.qc.series import NAMES, Series
from storyflow.stopping import Check, go_on
from storyflow.store.clip import iter_clip
from storyflow.timing import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

LARGEST = Size(480, 272)
"""Larger pictures are averaged down to fit into this before they are measured."""

DARK = 0.10 * 255
"""Luma under this is black, as for ffmpeg's blackdetect."""


def measure(frames: Iterable[Pixels], check: Check = go_on) -> Series:
    """The series of frames, uint8 RGB [height, width, 3] each. `check` is called between them."""
    eye = _Eye()
    rows = []
    for frame in frames:
        check()
        rows.append(eye.look(frame))
    values = np.array(rows, np.float32).reshape(-1, len(NAMES))
    return Series(*np.ascontiguousarray(values.T))


def measured(master: Path, folder: Path, frames: int, check: Check = go_on) -> tuple[str, Series]:
    """A master's tag and its series: read from `folder`/qc where they are of this content, else
    measured and written there.

    Raises InputError for a master that is missing, damaged or not of `frames` frames, CutError when
    the disk refuses.
    """
    tag = tag_of(master)
    if tag is None:
        raise unreadable(master, "it can't be opened" if master.exists() else "it is not there")
    path = series_path(folder, master)
    series = read_series(path, tag)
    if series is None:
        with reading(master) as clip:
            series = measure(clip, check)
        if series.frames == frames:
            write_series(path, series, tag)
    if series.frames != frames:
        raise unreadable(master, f"it has {series.frames} frames instead of {frames}")
    return tag, series


def unreadable(master: Path, why: str) -> InputError:
    """The error for a master that can't be measured."""
    return InputError(
        f"the master {master} can't be measured: {why}", cure="cut the film again: storyflow cut"
    )


@contextmanager
def reading(master: Path, start: int = 0, stop: int | None = None) -> Iterator[Iterator[Pixels]]:
    """Frames [start, stop) of a master, whose faults are told as InputError in the block."""
    try:
        yield iter_clip(master, start, stop)
    except DamagedError as error:
        raise unreadable(master, error.what) from error
    except OSError as error:
        raise unreadable(master, error.strerror or str(error)) from error


@dataclass
class _Before:
    """What is kept of the frame before."""

    pixels: Pixels
    luma: Pixels
    hsv: Pixels
    lab: NDArray[np.float32]


class _Eye:
    """Looks at one frame after the other."""

    def __init__(self) -> None:
        import cv2

        self._cv2 = cv2
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._before: _Before | None = None
        self._grid: NDArray[np.float32] | None = None

    def look(self, pixels: Pixels) -> tuple[float, ...]:
        """The values of one frame, in the order of the series' names."""
        cv2, before = self._cv2, self._before
        if before is not None and before.pixels.shape != pixels.shape:
            raise DamagedError(
                f"a frame is {pixels.shape[1]}x{pixels.shape[0]} after one of "
                f"{before.pixels.shape[1]}x{before.pixels.shape[0]}",
                cure="render it again",
            )
        small = self._small(pixels)
        luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
        lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
        light, a, b = (float(value) for value in lab.reshape(-1, 3).mean(axis=0, dtype=np.float64))
        chroma = float(np.hypot(lab[..., 1], lab[..., 2]).mean(dtype=np.float64))
        sharpness = float(cv2.Laplacian(luma, cv2.CV_32F).var(dtype=np.float64))
        dark = float((luma < DARK).mean())
        motion = warp = change = repeats = 0.0
        if before is not None:
            repeats = float(np.array_equal(before.pixels, pixels))
            if not repeats:
                motion = _apart(before.luma, luma)
                warp = _apart(self._moved(before.luma, luma), luma)
                change = _changed(before.hsv, hsv)
        self._before = _Before(pixels, luma, hsv, lab)
        return (light, a, b, chroma, sharpness, motion, warp, change, dark, repeats)

    def _small(self, pixels: Pixels) -> Pixels:
        height, width = pixels.shape[:2]
        part = min(1.0, LARGEST.width / width, LARGEST.height / height)
        if part == 1.0:
            return pixels
        size = (max(16, round(width * part)), max(16, round(height * part)))
        return np.asarray(
            self._cv2.resize(pixels, size, interpolation=self._cv2.INTER_AREA), np.uint8
        )

    def _moved(self, before: Pixels, now: Pixels) -> Pixels:
        """The frame before, moved to where the flow finds its parts now."""
        # No vector: the flow is asked for the way back, so that every pixel now has a source.
        flow = self._flow.calc(now, before, None)  # type: ignore[call-overload]
        if self._grid is None or self._grid.shape != flow.shape:
            height, width = now.shape
            self._grid = np.dstack(np.meshgrid(np.arange(width), np.arange(height))).astype(
                np.float32
            )
        return np.asarray(
            self._cv2.remap(
                before,
                self._grid + flow,
                None,  # type: ignore[call-overload]
                self._cv2.INTER_LINEAR,
                borderMode=self._cv2.BORDER_REPLICATE,
            ),
            np.uint8,
        )


def _apart(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())


def _changed(before: Pixels, now: Pixels) -> float:
    """Mean differences of hue, saturation and value, averaged. Hue is a circle of 180."""
    apart = np.abs(before.astype(np.int16) - now)
    hue = np.minimum(apart[..., 0], 180 - apart[..., 0])
    return float((hue.mean() + apart[..., 1].mean() + apart[..., 2].mean()) / 3)
