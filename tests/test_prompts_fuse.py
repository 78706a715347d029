"""Captions become prose by a model: what it is told, and what is done with what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from scripted_model import Scripted, dying

from storyflow.prompts.asking import Manner
from storyflow.prompts.caption import ShotCaption, Subject
from storyflow.prompts.fuse import Form, fuse, in_form, told
from storyflow.prompts.model import Answer

MANNERS: dict[Form, Manner] = {"text": Manner("all of it"), "image": Manner("what happens")}
MAN = Subject("Human", "Man", "a navy coat", "climbs a stair", "calm", "on the left", True)
LAMP = Subject("Object", "Lamp", "made of brass", "", "shiny", "on the wall")
CAPTION = ShotCaption(
    subjects=(LAMP, MAN),
    shot_type="long_shot",
    shot_angle="other",
    shot_position="side_view",
    camera_motion="the camera cranes up, then pans left",
    environment="a lighthouse",
    lighting="lamp light",
    style="35mm film",
    dialogue="Is it out?",
)


def one(said: Any, caption: ShotCaption = CAPTION, form: Form = "text") -> tuple[Any, Any, Any]:
    model = Scripted(lambda _: said)
    texts, troubles = fuse({"1A": caption}, {"1A": form}, model, MANNERS)
    return texts.get("1A"), troubles.get("1A"), model


def test_the_camera_never_reaches_the_model_and_is_appended_word_for_word() -> None:
    text, trouble, model = one("A man climbs.")
    assert text == "A man climbs. The camera cranes up, then pans left." and trouble is None
    (asked,) = model.asked
    assert "crane" not in asked.user and asked.system == "all of it" and asked.schema is None


def test_the_text_form_tells_everything_the_main_subject_first() -> None:
    data = json.loads(told(CAPTION))
    assert data == {
        "shot_type": "long shot",
        "shot_position": "side view",
        "subjects": [
            {
                "name": "Man",
                "action": "climbs a stair",
                "appearance": "a navy coat",
                "expression": "calm",
                "position": "on the left",
            },
            {"name": "Lamp", "appearance": "made of brass", "position": "on the wall"},
        ],
        "dialogue": "Is it out?",
        "environment": "a lighthouse",
        "lighting": "lamp light",
        "style": "35mm film",
    }
    assert list(data) == [
        "shot_type", "shot_position", "subjects", "dialogue", "environment", "lighting", "style",
    ]  # fmt: skip


def test_the_image_form_tells_what_happens_alone() -> None:
    data = json.loads(told(in_form(CAPTION, "image")))
    assert data == {
        "subjects": [{"name": "Man", "action": "climbs a stair", "expression": "calm"}],
        "dialogue": "Is it out?",
    }
    _, _, model = one("He climbs.", form="image")
    assert model.asked[0].system == "what happens"
    assert in_form(CAPTION, "image").camera_motion == CAPTION.camera_motion


def test_a_face_that_the_author_states_is_kept_whoever_wears_it() -> None:
    unknown = replace(MAN, type="", sub_type="")
    assert json.loads(told(ShotCaption(subjects=(unknown,))))["subjects"][0]["expression"] == "calm"


def test_nothing_to_say_is_not_asked() -> None:
    still = ShotCaption(camera_motion="the camera is static", shot_type="other")
    texts, troubles = fuse({"1A": still}, {"1A": "text"}, Scripted(dying), MANNERS)
    assert texts == {"1A": "The camera is static."} and troubles == {}


def test_nothing_is_dropped_by_chance() -> None:
    asked = {one("A man.")[2].asked[0].user for _ in range(20)}
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ('"A man climbs."', "A man climbs."),
        ("A man\n climbs", "A man climbs."),
        ("A man climbs.\n\nNote: I did well.", "A man climbs."),
        ("  a man climbs!  ", "A man climbs!"),
    ],
)
def test_prose_is_tidied(said: str, text: str) -> None:
    assert one(said, replace(CAPTION, camera_motion=""))[0] == text


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("", "no words"),
        ("- ", "no words"),
        ('{"text": "A man"}', "data, not prose"),
        (Answer("A man climbs and", False), "cut off"),
    ],
)
def test_what_is_no_prose_is_asked_once_more_then_given_up(said: Any, cause: str) -> None:
    text, trouble, model = one(said)
    assert text is None and cause in trouble
    assert len(model.batches) == 2
