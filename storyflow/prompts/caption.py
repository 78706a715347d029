"""The structured caption: SkyCaptioner-V1's schema, the language between storyboard and model.

A `ShotCaption` is what the captioner reads from a clip, what the composer fills from a storyboard
and what prose is made of. Vocabularies are the captioner's, exactly (SkyReels-V2 report, §3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

ShotType = Literal["long_shot", "full_shot", "medium_shot", "close_up", "extreme_close_up", "other"]
ShotAngle = Literal["eye_level", "high_angle", "low_angle", "other"]
ShotPosition = Literal[
    "front_view",
    "back_view",
    "side_view",
    "over_the_shoulder",
    "overhead_view",
    "point_of_view",
    "aerial_view",
    "overlooking_view",
    "other",
]

SHOT_TYPES: tuple[str, ...] = get_args(ShotType)
SHOT_ANGLES: tuple[str, ...] = get_args(ShotAngle)
SHOT_POSITIONS: tuple[str, ...] = get_args(ShotPosition)


@dataclass(frozen=True)
class Subject:
    """One subject of a shot; empty text where nothing is known.

    `type` and `sub_type` are the captioner's free words ("Human", "Woman"); `expression` is for
    humans and animals only.
    """

    type: str = ""
    sub_type: str = ""
    appearance: str = ""
    action: str = ""
    expression: str = ""
    position: str = ""
    is_main_subject: bool = False


@dataclass(frozen=True)
class ShotCaption:
    """One shot, as the captioner describes it. None means that nothing is said.

    `style` and `dialogue` are ours: the captioner does not read them, a storyboard states them.
    """

    subjects: tuple[Subject, ...] = ()
    shot_type: str | None = None
    shot_angle: str | None = None
    shot_position: str | None = None
    camera_motion: str = ""
    environment: str = ""
    lighting: str = ""
    style: str = ""
    dialogue: str = ""
