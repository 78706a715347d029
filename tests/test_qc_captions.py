"""What was asked of shots against what is seen in them: field by field, and over a whole film."""

from __future__ import annotations

import json
from contextlib import nullcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from films import Studio
from scripted_model import Scripted
from typer.testing import CliRunner

import storyflow
from storyflow.cli import app
from storyflow.errors import InputError
from storyflow.farm.language import ProfileWriters
from storyflow.prompts.caption import ShotCaption, Subject, to_json
from storyflow.prompts.model import Question, Refusal
from storyflow.qc import toyworld
from storyflow.qc.captions import FILE
from storyflow.qc.fields import ACCURACY, Check, camera_moves, compare, shared, verdict, weight
from storyflow.toybox import captions, scenes, world

ASKED = ShotCaption(
    subjects=(Subject("Human", "Man", "a man in a navy coat", "climbs the stair", "surprise"),),
    shot_type="long_shot",
    shot_angle="other",
    camera_motion="the camera pans left slowly",
    environment="a lighthouse stair",
    lighting="",
    style="35mm film",
)
SEEN = ShotCaption(
    subjects=(
        Subject("Human", "Man", "Old man wearing a navy coat.", "is climbing stairs", "surprised"),
    ),
    shot_type="long_shot",
    shot_angle="low_angle",
    camera_motion="The camera is panning to the left.",
    environment="A stair inside of a lighthouse",
    lighting="dim",
)


def test_only_what_was_asked_is_compared() -> None:
    checks = compare(ASKED, SEEN)
    assert {each.field for each in checks} == {
        "appearance", "action", "expression", "shot_type", "camera_motion", "environment",
    }  # fmt: skip
    assert all(each.agrees for each in checks), [each for each in checks if not each.agrees]
    assert verdict(checks) == "as asked"
    assert compare(ShotCaption(style="noir", dialogue="No."), SEEN) == []
    assert verdict([]) == "nothing to compare"


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"shot_type": "close_up"}, "shot_type", "not as asked"),
        ({"camera_motion": ""}, "camera_motion", "not as asked"),
        ({"camera_motion": "the camera pans right"}, "camera_motion", "not as asked"),
        ({"environment": "a beach"}, "environment", "perhaps not"),
        ({"subjects": ()}, "action", "perhaps not"),
    ],
)
def test_a_difference_counts_as_much_as_the_captioner_is_right(
    change: dict[str, Any], field: str, expected: str
) -> None:
    seen = ShotCaption(**{**SEEN.__dict__, **change})
    checks = compare(ASKED, seen)
    different = [each for each in checks if not each.agrees]
    assert field in {each.field for each in different}
    if len(different) == 1:
        assert verdict(checks) == expected
    assert weight(ACCURACY["shot_type"]) > 6 * weight(ACCURACY["appearance"])


@pytest.mark.parametrize(
    ("text", "moves"),
    [
        ("", {"static"}),
        ("the camera is static", {"static"}),
        ("the camera pans left slowly, then tilts up", {"pan left", "up"}),
        ("use a tracking shot, the camera moves toward zooms in", {"follow", "in"}),
        ("handheld camera", {"handheld"}),
        ("the camera moves backward", {"out"}),
        ("the lens flares", set()),
    ],
)
def test_camera_moves_are_understood(text: str, moves: set[str]) -> None:
    assert camera_moves(text) == moves


def test_words_agree_in_whatever_form() -> None:
    assert shared("a man climbs the stairs", "climbing a stair, the man") == 1.0
    assert shared("waves break", "calm sea") == 0.0
    assert shared("the", "anything") == 1.0


@pytest.mark.parametrize("number", range(12))
def test_a_drawn_scene_is_as_asked_in_the_words_of_its_caption(number: int) -> None:
    scene = scenes.sample(7_100_000 + number)
    clip = world.draw(scene, 97)
    asked = captions.caption(scene, 0, np.random.default_rng(number), full=True)
    checks = toyworld.check(asked, clip)
    assert {each.field for each in checks} >= {"appearance", "environment", "lighting"}
    assert [each for each in checks if not each.agrees] == []


def test_another_scene_is_not_as_asked() -> None:
    figure = world.Figure("star", "blue", 11.0, 60.0, 38.0)
    scene = world.Scene(3, (figure,), (world.Turn(0, ("left",)),), "sea", "night", "static", None)
    clip = world.draw(scene, 97)
    asked = ShotCaption(
        subjects=(Subject(action="a large red ball rolls to the right"),),
        environment="a green meadow",
        lighting="bright daylight",
        camera_motion="the camera pans right",
    )
    found = {
        each.field: (each.asked, each.seen, each.agrees) for each in toyworld.check(asked, clip)
    }
    assert found == {
        "appearance": ("red circle", "blue star", False),
        "action": ("right", "", False),
        "camera_motion": ("pan right", "static", False),
        "environment": ("meadow", "sea", False),
        "lighting": ("day", "night", False),
    }


@pytest.mark.parametrize(
    "asked",
    [
        ShotCaption(subjects=(Subject(action="the keeper wipes the lens"),)),
        ShotCaption(environment="a lighthouse", lighting="warm lamp light"),
        ShotCaption(environment="a desert by the sea"),
        ShotCaption(camera_motion="handheld camera"),
    ],
)
def test_what_the_toybox_has_no_words_for_is_not_judged(asked: ShotCaption) -> None:
    clip = world.draw(scenes.sample(1), 30)
    assert toyworld.check(asked, clip) == []


def test_what_two_in_one_sentence_do_is_not_judged() -> None:
    text = "a red circle bounces while a blue square moves left"
    wanted = [
        each.action for each in toyworld._wanted(ShotCaption(subjects=(Subject(action=text),)))
    ]
    assert wanted == [None, None]


FILM = """\
film: Reading
shots:
- {id: 1A, dur: 4s, size: LS, do: a red circle rolls right}
- id: 1B
  beats:
  - {dur: 5s, do: a blue star hops}
  - {dur: 4s, do: it turns left}
"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    made = Studio(tmp_path_factory.mktemp("qc"), FILM)
    made.render(shots=["1A"])
    return made


def test_a_film_is_measured_beat_by_beat_and_the_report_lies_beside_it(studio: Studio) -> None:
    settings = (*studio.options["settings"], "model.id=toybox")
    report = storyflow.qc_captions(studio.file, **{**studio.options, "settings": settings})
    assert [(b.shot, b.beat, b.verdict) for b in report.beats] == [
        ("1A", 0, "not as asked"), ("1B", 0, "not read"), ("1B", 1, "not read"),
    ]  # fmt: skip
    assert {each.field for each in report.beats[0].checks} == {"appearance", "action"}
    assert report.beats[1].trouble == "it is not rendered yet"
    assert report.beats[0].stop - report.beats[0].start == 96
    written = json.loads((studio.folder / "out" / FILE).read_text())
    assert written == json.loads(json.dumps(report.as_data()))
    assert written["reader"] == "measured"


def test_other_films_are_read_by_the_captioner(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(question: Question) -> str:
        assert question.clip is not None and question.clip.frames.shape == (16, 56, 84, 3)
        assert (question.clip.seconds, question.clip.fps) == (4, Fraction(24 * 15, 95))
        return to_json(
            ShotCaption(subjects=(Subject(action="it rolls right"),), shot_type="close_up")
        )

    model = Scripted(say)
    monkeypatch.setattr(ProfileWriters, "vision", lambda _: nullcontext(model))
    settings = (*studio.options["settings"], "prompts.captioner=vllm")
    report = storyflow.qc_captions(studio.file, **{**studio.options, "settings": settings})
    (first, *_) = report.beats
    assert first.verdict == "not as asked" and report.reader == "Skywork/SkyCaptioner-V1"
    size = next(each for each in first.checks if each.field == "shot_type")
    assert size == Check("shot_type", "long_shot", "close_up", False, weight(0.937))
    assert len(model.asked) == 1, "what is not rendered is not asked about"
    troubled = Scripted(lambda _: Refusal("too long"))
    monkeypatch.setattr(ProfileWriters, "vision", lambda _: nullcontext(troubled))
    report = storyflow.qc_captions(studio.file, **{**studio.options, "settings": settings})
    assert (report.beats[0].verdict, report.beats[0].trouble) == ("not read", "too long")


def test_a_pipeline_without_a_captioner_cannot_read(studio: Studio) -> None:
    with pytest.raises(InputError, match="has no captioner"):
        storyflow.qc_captions(studio.file, **studio.options)


def test_the_command_warns_and_leaves_with_zero(studio: Studio) -> None:
    options = [
        "--out", str(studio.folder / "out"), "--store", str(studio.folder / "store"),
        "--address", "in-process", "-p", "slate", "--set", "model.id=toybox",
    ]  # fmt: skip
    small = [word for text in studio.options["settings"] for word in ("--set", text)]
    told = CliRunner().invoke(app, ["qc", "captions", str(studio.file), *options, *small])
    assert told.exit_code == 0, told.output
    assert "not as asked" in told.output and "it is not rendered yet" in told.output
    assert "1 of 3 beats are not as asked" in told.output
