"""Defects for films: each is put into a clip at a frame, and changes all that comes after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from storyflow.media.lab import from_lab, to_lab

Clip = NDArray[np.uint8]
Defect = Callable[[Clip, int], Clip]
"""Takes uint8 [n, height, width, 3] and a frame; gives the clip with the defect at that frame."""


def brighter(levels: int) -> Defect:
    """So many 8-bit levels more from the frame on."""

    def put(clip: Clip, at: int) -> Clip:
        made = clip.astype(np.int16)
        made[at:] += levels
        return made.clip(0, 255).astype(np.uint8)

    return put


def colourful(percent: float) -> Defect:
    """So much more chroma (CIE Lab) from the frame on."""

    def put(clip: Clip, at: int) -> Clip:
        gain = np.array([1, 1 + percent / 100, 1 + percent / 100], np.float32)
        return np.concatenate(
            [clip[:at], np.stack([from_lab(to_lab(f) * gain) for f in clip[at:]])]
        )

    return put


def shifted(pixels: float) -> Defect:
    """Moved to the right by so much from the frame on."""

    def put(clip: Clip, at: int) -> Clip:
        import cv2

        move = np.array([[1, 0, pixels], [0, 1, 0]], np.float32)
        size = (clip.shape[2], clip.shape[1])
        moved = [cv2.warpAffine(f, move, size, borderMode=cv2.BORDER_REPLICATE) for f in clip[at:]]
        return np.concatenate([clip[:at], np.stack(moved).astype(np.uint8)])

    return put


def dropped(frames: int) -> Defect:
    """So many frames are left out."""
    return lambda clip, at: np.concatenate([clip[:at], clip[at + frames :]])


def doubled(clip: Clip, at: int) -> Clip:
    """The frame before is shown twice."""
    return np.concatenate([clip[:at], clip[at - 1 :]])


def frozen(frames: int) -> Defect:
    """The frame before stays so many frames longer."""
    return lambda clip, at: np.concatenate([clip[:at], clip[at - 1 : at].repeat(frames, axis=0),
                                            clip[at:]])  # fmt: skip


def cut_to(other: Clip) -> Defect:
    """Something else goes on from the frame on."""
    return lambda clip, at: np.concatenate([clip[:at], other[: len(clip) - at]])


def defects(other: Clip) -> Mapping[str, Defect]:
    """All of them, by name; `other` is what a hidden cut leads to."""
    return {
        **{f"brightness +{n} levels": brighter(n) for n in (1, 2, 3, 4)},
        **{f"chroma +{n} %": colourful(n) for n in (1, 2, 3, 6)},
        **{f"shift {n:g} px": shifted(n) for n in (0.5, 1)},
        **{f"{n} frame{'s' * (n > 1)} dropped": dropped(n) for n in (1, 4)},
        "17 frames dropped": dropped(17),
        "1 frame doubled": doubled,
        "12 frames frozen": frozen(12),
        "hidden cut": cut_to(other),
    }
