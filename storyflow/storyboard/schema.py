"""The JSON Schema of storyboards: completion and checks while typing, in any editor."""

from __future__ import annotations

from typing import Any

from storyflow.storyboard.model import Film


def json_schema() -> dict[str, Any]:
    """Draft 2020-12. It lets pass what is wrong only beside other values, and refuses the rest."""
    schema: dict[str, Any] = without_null(Film.model_json_schema(by_alias=True))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "storyflow storyboard",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def without_null(value: Any) -> Any:
    """Optional keys are left out, not written as null: editors need not offer it."""
    if isinstance(value, list):
        return [without_null(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {k: without_null(v) for k, v in value.items() if not (k == "default" and v is None)}
    choices = kept.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        choices = [choice for choice in choices if choice != {"type": "null"}]
        kept["anyOf"] = choices
        if len(choices) == 1:
            del kept["anyOf"]
            kept = {**choices[0], **kept}
    return kept
