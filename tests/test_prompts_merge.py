"""Storyboard wins over enhancer wins over captioner; and how long a prompt may be."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from storyflow.forcing.tokens import PromptTokens, clean
from storyflow.prompts.caption import ShotCaption, Subject
from storyflow.prompts.compose import compose
from storyflow.prompts.finish import finish
from storyflow.prompts.fit import fit_composed, fit_prose
from storyflow.prompts.merge import merge
from storyflow.prompts.truth import against, is_prose, stem, unsaid

MAN = Subject("Human", "Man", "man of sixty, navy coat", "climbs the stair", "", "", True)
STATED = ShotCaption(
    subjects=(
        Subject("Human", "Man", "man of sixty, navy coat", "climbs the stair", "", "", True),
    ),
    shot_type="long_shot",
    environment="lighthouse stair, oil lamp",
    lighting="warm lamp light",
)

FILLED = [
    # What the enhancer proposes, the field, what it is afterwards.
    (ShotCaption(shot_angle="low_angle"), "shot_angle", "low_angle"),
    (ShotCaption(shot_angle="other"), "shot_angle", None),
    (ShotCaption(shot_type="close_up"), "shot_type", "long_shot"),
    (ShotCaption(camera_motion="slow push in"), "camera_motion", "slow push in"),
    (
        ShotCaption(environment="narrow lighthouse stair, a brass oil lamp, wet walls"),
        "environment",
        "narrow lighthouse stair, a brass oil lamp, wet walls",
    ),
    (ShotCaption(environment="Lighthouse stair."), "environment", "lighthouse stair, oil lamp"),
    (ShotCaption(environment="{}"), "environment", "lighthouse stair, oil lamp"),
    (ShotCaption(lighting="warm golden lamp light"), "lighting", "warm golden lamp light"),
    (ShotCaption(lighting="cold blue light"), "lighting", "warm lamp light"),
    (ShotCaption(lighting="deep shadows"), "lighting", "warm lamp light, deep shadows"),
    (ShotCaption(style="anime", dialogue="Hello"), "style", ""),
]


@pytest.mark.parametrize(("proposal", "field", "after"), FILLED)
def test_the_enhancer_fills_and_elaborates_but_replaces_nothing(
    proposal: ShotCaption, field: str, after: str | None
) -> None:
    assert getattr(merge(STATED, proposal).caption(), field) == after


PEOPLE = [
    # What the enhancer says of the man, the field, what is said of him afterwards.
    (replace(MAN, appearance="old man of sixty, navy coat"), "appearance",
     "old man of sixty, navy coat"),
    (replace(MAN, appearance="man of sixty, blue coat"), "appearance", "man of sixty, navy coat"),
    (replace(MAN, appearance="grey beard"), "appearance", "man of sixty, navy coat, grey beard"),
    (replace(MAN, appearance="navy cap"), "appearance", "man of sixty, navy coat, navy cap"),
    (replace(MAN, action="slowly climbs the steep stair"), "action",
     "slowly climbs the steep stair"),
    (replace(MAN, action="descends the stair"), "action", "climbs the stair"),
    (replace(MAN, action="never climbs the stair"), "action", "climbs the stair"),
    (replace(MAN, expression="calm"), "expression", "calm"),
    (replace(MAN, position="on the left"), "position", "on the left"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "field", "after"), PEOPLE)
def test_of_people_what_was_stated_stays(said: Subject, field: str, after: str) -> None:
    (subject, *others) = merge(STATED, ShotCaption(subjects=(said,))).caption().subjects
    assert getattr(subject, field) == after
    assert not others


CONFLICTS = [
    (ShotCaption(shot_type="close_up"), "shot type: the enhancer says 'close_up', the storyboard"),
    (ShotCaption(lighting="cold blue light"), "lighting: the enhancer says 'cold blue light'"),
    (
        ShotCaption(subjects=(MAN, Subject("Human", "Woman", "young woman"))),
        "the enhancer adds somebody: 'young woman'",
    ),
    (
        ShotCaption(subjects=(replace(MAN, action="sleeps"),)),
        "action: the enhancer says 'sleeps', the storyboard 'climbs the stair'",
    ),
]


@pytest.mark.parametrize(("proposal", "told"), CONFLICTS)
def test_what_speaks_against_the_storyboard_is_told(proposal: ShotCaption, told: str) -> None:
    (conflict,) = merge(STATED, proposal).conflicts
    assert conflict.startswith(told)


def test_night_is_not_lit_by_the_sun() -> None:
    night = ShotCaption(subjects=(Subject(action="waves break"),), lighting="cold moonlight")
    merged = merge(night, ShotCaption(environment="a sunny beach, wet sand"))
    assert merged.caption().environment == "wet sand"
    assert "sunny speaks against the storyboard" in merged.conflicts[0]


def test_the_captioner_only_fills_what_both_leave_open() -> None:
    enhanced = ShotCaption(shot_angle="low_angle")
    seen = ShotCaption(
        shot_angle="high_angle",
        shot_position="side_view",
        camera_motion="zoom in",
        subjects=(replace(MAN, action="stands", expression="calm"), Subject(appearance="a dog")),
    )
    merged = merge(STATED, enhanced, seen)
    caption = merged.caption()
    assert (caption.shot_angle, caption.shot_position) == ("low_angle", "side_view")
    assert caption.camera_motion == "" and caption.subjects[0].action == "climbs the stair"
    assert [subject.appearance for subject in caption.subjects[1:]] == ["a dog"]
    assert merged.conflicts == ("shot angle: the captioner says 'high_angle', the storyboard "
                                "'low_angle'",)  # fmt: skip


def test_nothing_to_add_leaves_the_composers_words() -> None:
    assert compose(merge(STATED).caption()) == compose(STATED)
    assert finish(merge(STATED, ShotCaption()), None, "text", 20).text == compose(STATED)


def shorter(most: int, text: str) -> bool:
    return len(text) <= most


def test_additions_go_whole_the_least_important_first() -> None:
    merged = merge(
        STATED,
        ShotCaption(
            subjects=(replace(MAN, position="on the left", action="slowly climbs the stair"),),
            environment="wet stone walls",
            shot_angle="low_angle",
        ),
    )
    every = ("on the left", "wet stone walls", "low angle", "slowly climbs the stair")
    whole = len(compose(merged.caption()))
    for most in (whole, whole - 1, whole // 2, 0):
        fitted = fit_composed(merged, partial(shorter, most))
        assert fitted.dropped == every[: len(fitted.dropped)]
        assert not unsaid(fitted.text, compose(STATED))
    assert fit_composed(merged, lambda text: False).text == compose(STATED)


def test_sentences_of_prose_go_whole_and_only_if_nothing_stated_is_in_them() -> None:
    prose = "A red ball rolls. It is a fine day. The meadow is green. Birds sing."
    stated = "A red ball rolls. The setting is a green meadow."
    fitted = fit_prose(prose, stated, lambda text: len(text.split()) <= 9)
    assert fitted is not None
    assert fitted.text == "A red ball rolls. The meadow is green."
    assert fitted.dropped == ("It is a fine day.", "Birds sing.")
    assert fit_prose(prose, stated, lambda text: len(text.split()) <= 7) is None


SAID = "A close-up. A man in a navy coat climbs. The lighting is warm lamp light."
RETOLD = [
    ("A close-up of a man in a navy coat climbing in warm lamp light.", (), ()),
    ("A closeup: the man, navy coat buttoned, climbs. Warm lamps light him.", (), ()),
    ("A close-up of a man in a coat climbing in warm lamp light.", ("navy", "navy coat"), ()),
    ("A close-up of a navy man in a long coat, climbing in warm lamp light.", ("navy coat",), ()),
    ("A man in a navy coat climbs in warm lamp light.", ("close-up",), ()),
    ("A close-up of a man in a navy coat climbing in warm lamp light. A red hat.", (), ("red",)),
    ("A close-up, no, a long shot of a man in a navy coat climbing in warm lamp light.", (),
     ("no", "long shot")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "lacks", "wrong"), RETOLD)
def test_a_retelling_is_held_to_what_was_said(
    text: str, lacks: tuple[str, ...], wrong: tuple[str, ...]
) -> None:
    assert set(lacks) <= set(unsaid(text, SAID)) and bool(lacks) == bool(unsaid(text, SAID))
    assert against(text, SAID) == wrong


@pytest.mark.parametrize(
    ("one", "other"),
    [("climbs", "climbing"), ("runs", "running"), ("dies", "die"), ("stories", "story"),
     ("wiped", "wipes"), ("passes", "passing"), ("lamp's", "lamps")],
)  # fmt: skip
def test_inflections_have_one_stem(one: str, other: str) -> None:
    assert stem(one) == stem(other)


@pytest.mark.parametrize(
    "text", ["", "{}", "see https://x", "a `b`", "一只白天鹅", "1 2 3", "a\x00b"]
)
def test_what_is_no_prose_is_known(text: str) -> None:
    assert not is_prose(text)


def test_tokens_are_counted_as_the_text_encoder_does() -> None:
    from transformers import AutoTokenizer

    from storyflow.toybox.folder import weights

    folder = weights()
    assert folder is not None
    theirs = AutoTokenizer.from_pretrained(str(folder / "tokenizer"))
    ours = PromptTokens("toybox")
    for text in ("a red ball rolls", "  Caf&eacute;,\n a “red”  ball ", "a red ball " * 300, ""):
        assert ours.count(text) == len(theirs(clean(text), truncation=False).input_ids)
    assert ours.fits("a red ball " * 300) is False
    assert ours.fits("a red ball") is True


def test_a_model_without_a_tokenizer_here_measures_nothing() -> None:
    absent = PromptTokens("/no/such/folder")
    assert absent.fits("short enough whatever it is") is True
    assert absent.fits("long " * 200) is None and absent.count("a") is None
    assert not absent.fetch()
