"""Captions as JSON under the captioner's keys, and negative prompts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyflow.errors import InputError
from storyflow.prompts.caption import (
    SHOT_ANGLES,
    SHOT_POSITIONS,
    SHOT_TYPES,
    ShotCaption,
    Subject,
    from_json,
    to_json,
)
from storyflow.prompts.compose import compose
from storyflow.prompts.english import listed, words
from storyflow.prompts.negative import NEGATIVE, negative

subjects = st.builds(Subject)
captions = st.builds(
    ShotCaption,
    subjects=st.lists(subjects, max_size=2).map(tuple),
    shot_type=st.sampled_from([None, *SHOT_TYPES]),
    shot_angle=st.sampled_from([None, *SHOT_ANGLES]),
    shot_position=st.sampled_from([None, *SHOT_POSITIONS]),
    style=st.text(),
    dialogue=st.text(),
    camera_motion=st.text(),
)


@settings(max_examples=60, deadline=None)
@given(captions)
def test_a_caption_survives_json(caption: ShotCaption) -> None:
    assert from_json(to_json(caption)) == caption


@settings(max_examples=60, deadline=None)
@given(captions)
def test_every_caption_of_the_vocabularies_composes(caption: ShotCaption) -> None:
    assert compose(caption) == compose(caption)


def test_other_says_nothing() -> None:
    gull = Subject("Other", "Other", action="a gull lands")
    assert compose(ShotCaption((gull,), "other", "other", "other")) == "A gull lands."


def test_json_has_the_captioners_keys() -> None:
    data = json.loads(to_json(ShotCaption((Subject("Human", "Man"),), "close_up")))
    assert list(data) == [
        "subjects", "shot_type", "shot_angle", "shot_position", "camera_motion", "environment",
        "lighting",
    ]  # fmt: skip
    assert list(data["subjects"][0]) == [
        "TYPES", "appearance", "action", "expression", "position", "is_main_subject",
    ]  # fmt: skip
    assert data["subjects"][0]["TYPES"] == {"type": "Human", "sub_type": "Man"}
    assert data["shot_angle"] is None


def test_a_captioners_answer_is_read_leniently() -> None:
    answer = '{"subjects": [{"TYPES": {"type": "Animal"}, "count": 1}], "camera_motion": null}'
    assert from_json(answer) == ShotCaption((Subject(type="Animal"),))


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "the caption is"),
        ('{"subjects": {}, "lighting": 3}', "lighting"),
        ('{"subjects": "a man"}', "subjects"),
        ('{"subjects": ["a man"]}', r"subjects\.0"),
        ('{"subjects": [{"TYPES": {"type": 1}}]}', r"subjects\.0\.TYPES\.type"),
        ('{"subjects": [{"is_main_subject": "yes"}]}', "is_main_subject"),
        ('{"shot_type": "MS"}', "shot_type is 'MS'; it must be one of long_shot"),
    ],
)
def test_a_broken_answer_names_the_field(answer: str, field: str) -> None:
    with pytest.raises(InputError, match=field):
        from_json(answer)


def test_what_a_storyboard_avoids_follows_the_profiles_negative() -> None:
    assert negative(("text, watermark",), "blurry.") == "blurry, text, watermark"
    assert negative(("rain",), "default") == f"{NEGATIVE}, rain"
    assert negative((), "") == ""


def test_nothing_is_avoided_twice() -> None:
    assert negative(("Blurry", "text", "text,"), "blurry") == "blurry, text"


def test_the_default_negative_covers_what_the_reference_avoids() -> None:
    covered = listed(
        "saturated overexposure motionless blurred subtitles text style artwork still grey worst "
        "low jpeg ugliness deformed extra fused hands faces limbs cluttered three crowd backwards"
    )
    assert covered <= set(words(NEGATIVE.replace("-", " ")))
