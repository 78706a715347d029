"""The words of crews become the captioner's words."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest

from storyflow.prompts.caption import SHOT_ANGLES, SHOT_POSITIONS, SHOT_TYPES
from storyflow.storyboard.cues import Cue, parse_cue
from storyflow.storyboard.grammar import (
    ANGLES,
    DUTCH,
    MOVES,
    SIZES,
    VIEWS,
    UnknownWord,
    feeling,
    move_prose,
    pattern,
    spellings,
    word_for,
)
from storyflow.timing import Duration


def test_the_vocabularies_are_the_captioners() -> None:
    assert set(SIZES) == set(SHOT_TYPES)
    assert set(ANGLES) - {DUTCH} == set(SHOT_ANGLES)
    assert set(VIEWS) == set(SHOT_POSITIONS)


@pytest.mark.parametrize(
    ("field", "written", "word"),
    [
        ("size", "ECU", "extreme_close_up"),
        ("size", "bcu", "extreme_close_up"),
        ("size", "CU", "close_up"),
        ("size", "MCU", "close_up"),
        ("size", "Close-Up", "close_up"),
        ("size", "close_up", "close_up"),
        ("size", "MS", "medium_shot"),
        ("size", "medium shot", "medium_shot"),
        ("size", "MLS", "full_shot"),
        ("size", "cowboy", "full_shot"),
        ("size", "FS", "full_shot"),
        ("size", "LS", "long_shot"),
        ("size", "ws", "long_shot"),
        ("size", "ELS", "long_shot"),
        ("size", "EWS", "long_shot"),
        ("angle", "eye level", "eye_level"),
        ("angle", "HIGH", "high_angle"),
        ("angle", "low", "low_angle"),
        ("angle", "worm\u2019s eye", "low_angle"),
        ("angle", "dutch", DUTCH),
        ("view", "front", "front_view"),
        ("view", "rear", "back_view"),
        ("view", "profile", "side_view"),
        ("view", "OTS", "over_the_shoulder"),
        ("view", "POV", "point_of_view"),
        ("view", "overhead", "overhead_view"),
        ("view", "drone", "aerial_view"),
        ("view", "overlooking", "overlooking_view"),
    ],
)
def test_short_forms_become_the_captioners_words(field: str, written: str, word: str) -> None:
    assert word_for(field, written) == word
    assert re.search(pattern(field), written.replace("\u2019", "'"))


@pytest.mark.parametrize("field", ["size", "angle", "view"])
def test_every_spelling_is_understood(field: str) -> None:
    for word in spellings(field):
        assert word_for(field, word.swapcase()) == word_for(field, word)
        assert re.search(pattern(field), word.swapcase())


@pytest.mark.parametrize(
    ("field", "written", "cure"),
    [
        ("size", "MSS", "did you mean 'MS'?"),
        ("size", "meduim", "did you mean 'medium'?"),
        ("angle", "hihg", "did you mean 'high'?"),
        ("view", "aereal", "did you mean 'aerial'?"),
        ("angle", "overhead", "write 'view: overhead'"),
        ("size", "??", "use one of ECU, extreme_close_up"),
    ],
)
def test_an_unknown_word_gives_the_nearest_match(field: str, written: str, cure: str) -> None:
    with pytest.raises(UnknownWord) as caught:
        word_for(field, written)
    assert caught.value.cure.startswith(cure)


@pytest.mark.parametrize(
    ("written", "prose"),
    [
        ("static", "the camera is static"),
        ("Pan Left", "the camera pans left"),
        ("slow pan right", "the camera pans right slowly"),
        ("tilt up, fast", "tilt up, fast"),
        ("tilt up fast", "the camera tilts up fast"),
        ("whip pan left", "the camera pans left fast"),
        ("push in", "the camera moves forward"),
        ("dolly-out", "the camera moves backward"),
        ("zoom in", "the camera zooms in"),
        ("crane up", "the camera cranes up"),
        ("truck right", "the camera moves right"),
        ("tracking", "the camera follows the subject"),
        ("handheld", "handheld camera"),
        ("orbit left", "the camera orbits left"),
        ("roll right", "the camera rolls right"),
        ("pan left and tilt up", "the camera pans left, then tilts up"),
        ("pan left, then do something odd", "pan left, then do something odd"),
        ("  the camera breathes ", "the camera breathes"),
    ],
)
def test_known_moves_become_prose_and_others_stay(written: str, prose: str) -> None:
    assert move_prose(written) == prose
    assert move_prose(prose) == prose


def test_no_move_is_lost() -> None:
    assert {"static", "pan left", "zoom out", "crane up", "truck left", "orbit"} <= set(MOVES)
    for move in MOVES:
        assert "camera" in move_prose(move)


def test_expressions_of_the_captioner_are_spelt_its_way_and_others_stay() -> None:
    assert feeling("Surprise") == "surprise"
    assert feeling("a slow, knowing Smile") == "a slow, knowing Smile"


@pytest.mark.parametrize(
    ("written", "cue"),
    [
        ("cut", Cue()),
        ("Dissolve 1s", Cue("dissolve", Duration(seconds=Fraction(1)))),
        ("dissolve", parse_cue("dissolve 1s")),
        ("wipe left 1s", Cue("wipe", Duration(seconds=Fraction(1)), way="left")),
        ("Wipe Up", Cue("wipe", Duration(seconds=Fraction(1)), way="up")),
        ("wipe down 12f", Cue("wipe", Duration(frames=12), way="down")),
        ("fade black 24f", Cue("fade", Duration(frames=24))),
        ("fade", parse_cue("fade black 1s")),
        ("fade to white 1s", parse_cue("fade white 1s")),
        ("fade #A0B0C0 1s", Cue("fade", parse_cue("fade 1s").dur, "#a0b0c0")),
    ],
)
def test_transitions_are_read(written: str, cue: Cue) -> None:
    assert parse_cue(written) == cue
    assert parse_cue(str(cue)) == cue


@pytest.mark.parametrize(
    "written",
    [
        "",
        "wipe 1s",
        "wipe in 1s",
        "wipe left 1s 2s",
        "cut 1s",
        "fade mauve",
        "fade 1s black",
        "dissolve white 1s",
    ],
)
def test_an_unknown_transition_names_the_forms(written: str) -> None:
    with pytest.raises(UnknownWord) as caught:
        parse_cue(written)
    assert "dissolve 1s" in caught.value.cure
