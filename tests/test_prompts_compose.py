"""What a structured caption says once it is prose."""

from __future__ import annotations

import pytest

from storyflow.prompts.caption import ShotCaption, Subject
from storyflow.prompts.compose import compose


def test_a_bare_action_is_that_action_as_a_sentence() -> None:
    swan = Subject(action="a white swan crosses a misty lake at dawn", is_main_subject=True)
    assert compose(ShotCaption((swan,))) == "A white swan crosses a misty lake at dawn."


def test_an_empty_caption_is_an_empty_prompt() -> None:
    assert compose(ShotCaption()) == ""


def test_a_full_caption_is_told_in_the_trained_order() -> None:
    keeper = Subject(
        "Human",
        "Man",
        appearance="man of sixty, navy coat",
        action="climbs the stair",
        expression="surprise",
        position="in the foreground",
        is_main_subject=True,
    )
    caption = ShotCaption(
        (keeper,),
        "medium_shot",
        "eye_level",
        "front_view",
        camera_motion="the camera cranes up",
        environment="lighthouse stair, oil lamp",
        lighting="warm lamp light",
        style="35mm film, muted teal and amber",
        dialogue="Is it out?",
    )
    assert compose(caption) == (
        "A medium shot at eye level from the front. "
        "A man of sixty in a navy coat climbs the stair, with an expression of surprise, "
        "in the foreground. "
        "The man says: 'Is it out?' "
        "The setting is a lighthouse stair, oil lamp. "
        "The lighting is warm lamp light. "
        "The style is 35mm film, muted teal and amber. "
        "The camera cranes up."
    )


@pytest.mark.parametrize(
    ("subject", "prose"),
    [
        (Subject(appearance="red ball", action="rolls right"), "A red ball rolls right."),
        (Subject(appearance="two cubes", action="falling"), "Two cubes are falling."),
        (Subject("Shape", "Circle", "large red", "rises"), "A large red circle rises."),
        (Subject(appearance="a blue square", position="on the right"),
         "There is a blue square on the right."),
        (Subject("Human", "Woman", "Short hair, wearing a dark suit.", "Looking out."),
         "A woman with short hair, wearing a dark suit, is looking out."),
    ],
)  # fmt: skip
def test_a_subject_reads_as_one_sentence(subject: Subject, prose: str) -> None:
    assert compose(ShotCaption((subject,))) == prose


def test_the_main_subject_comes_first() -> None:
    prose = compose(
        ShotCaption((
            Subject(action="a gull circles"),
            Subject(action="a boy waves", is_main_subject=True),
        ))
    )  # fmt: skip
    assert prose == "A boy waves. A gull circles."
