"""The JSON Schema of a structured caption, by which an engine guides a model's answer.

Words of the vocabularies are enumerated, every text and list is bounded, so that even a model that
knows nothing comes to an end with a valid caption.
"""

from __future__ import annotations

import json
from functools import cache

from storyflow.prompts.caption import SHOT_ANGLES, SHOT_POSITIONS, SHOT_TYPES

MOST_SUBJECTS = 4
"""SkyCaptioner-V1's published answers have one to four."""

_LONGEST = {
    "type": 24,
    "sub_type": 32,
    "appearance": 240,
    "action": 240,
    "expression": 120,
    "position": 120,
    "camera_motion": 160,
    "environment": 240,
    "lighting": 160,
}
"""Characters that a field may have."""


@cache
def caption_schema() -> str:
    """The schema, as JSON text: SkyCaptioner-V1's fields in its order, all required."""
    subject = _object(
        TYPES=_object(type=_text("type"), sub_type=_text("sub_type")),
        appearance=_text("appearance"),
        action=_text("action"),
        expression=_text("expression"),
        position=_text("position"),
        is_main_subject={"type": "boolean"},
    )
    return json.dumps(
        _object(
            subjects={
                "type": "array",
                "items": subject,
                "minItems": 1,
                "maxItems": MOST_SUBJECTS,
            },
            shot_type=_one_of(SHOT_TYPES),
            shot_angle=_one_of(SHOT_ANGLES),
            shot_position=_one_of(SHOT_POSITIONS),
            camera_motion=_text("camera_motion"),
            environment=_text("environment"),
            lighting=_text("lighting"),
        )
    )


def longest_caption() -> int:
    """Characters that the longest valid caption has, without spaces between its parts."""
    inside = _LONGEST["type"] + _LONGEST["sub_type"]
    inside += sum(_LONGEST[name] for name in ("appearance", "action", "expression", "position"))
    rest = sum(_LONGEST[name] for name in ("camera_motion", "environment", "lighting"))
    keys = 140 * MOST_SUBJECTS + 220
    return inside * MOST_SUBJECTS + rest + keys


def _object(**fields: object) -> dict[str, object]:
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def _text(field: str) -> dict[str, object]:
    return {"type": "string", "maxLength": _LONGEST[field]}


def _one_of(words: tuple[str, ...]) -> dict[str, object]:
    return {"type": "string", "enum": list(words)}
