"""The structured caption: SkyCaptioner-V1's schema, the language between storyboard and model.

A `ShotCaption` is what the captioner reads from a clip, what the composer fills from a storyboard
and what prose is made of. Vocabularies are the captioner's, exactly (SkyReels-V2 report, §3.1).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, get_args

from storyflow.errors import InputError

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


def to_json(caption: ShotCaption) -> str:
    """The caption as JSON text under SkyCaptioner-V1's own keys; `null` where nothing is said.

    `style` and `dialogue`, which the captioner doesn't know, are there only if they are stated.
    """
    data: dict[str, object] = {
        "subjects": [
            {
                "TYPES": {"type": subject.type, "sub_type": subject.sub_type},
                "appearance": subject.appearance,
                "action": subject.action,
                "expression": subject.expression,
                "position": subject.position,
                "is_main_subject": subject.is_main_subject,
            }
            for subject in caption.subjects
        ],
        "shot_type": caption.shot_type,
        "shot_angle": caption.shot_angle,
        "shot_position": caption.shot_position,
        "camera_motion": caption.camera_motion,
        "environment": caption.environment,
        "lighting": caption.lighting,
    }
    ours = {"style": caption.style, "dialogue": caption.dialogue}
    return json.dumps(data | {key: text for key, text in ours.items() if text}, ensure_ascii=False)


def from_json(text: str) -> ShotCaption:
    """A caption from JSON text under SkyCaptioner-V1's keys.

    Missing and null fields say nothing; keys that no field has are ignored, since models add some.
    Raises InputError, which names the field: not JSON, a value of the wrong type, a word outside
    the vocabularies.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"the caption is not JSON: {error}", cure="ask the model for the caption again"
        ) from error
    top = _object(data, "the caption")
    subjects = top.get("subjects") or []
    if not isinstance(subjects, list):
        raise _wrong("subjects", subjects, "a list")
    return ShotCaption(
        subjects=tuple(_subject(each, f"subjects.{n}") for n, each in enumerate(subjects)),
        shot_type=_word(top, "shot_type", SHOT_TYPES),
        shot_angle=_word(top, "shot_angle", SHOT_ANGLES),
        shot_position=_word(top, "shot_position", SHOT_POSITIONS),
        camera_motion=_text(top, "camera_motion"),
        environment=_text(top, "environment"),
        lighting=_text(top, "lighting"),
        style=_text(top, "style"),
        dialogue=_text(top, "dialogue"),
    )


def _subject(data: object, path: str) -> Subject:
    fields = _object(data, path)
    types = _object(fields.get("TYPES") or {}, f"{path}.TYPES")
    main = fields.get("is_main_subject") or False
    if not isinstance(main, bool):
        raise _wrong(f"{path}.is_main_subject", main, "true or false")
    return Subject(
        type=_text(types, "type", f"{path}.TYPES."),
        sub_type=_text(types, "sub_type", f"{path}.TYPES."),
        appearance=_text(fields, "appearance", f"{path}."),
        action=_text(fields, "action", f"{path}."),
        expression=_text(fields, "expression", f"{path}."),
        position=_text(fields, "position", f"{path}."),
        is_main_subject=main,
    )


def _object(value: object, path: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _wrong(path, value, "an object")
    return value


def _text(data: dict[str, object], key: str, path: str = "") -> str:
    value = data.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(f"{path}{key}", value, "text")
    return value


def _word(data: dict[str, object], key: str, vocabulary: tuple[str, ...]) -> str | None:
    value = _text(data, key)
    if value and value not in vocabulary:
        raise _wrong(key, value, f"one of {', '.join(vocabulary)}")
    return value or None


def _wrong(path: str, value: object, wanted: str) -> InputError:
    return InputError(f"{path} is {value!r:.120}", cure=f"it must be {wanted}")
