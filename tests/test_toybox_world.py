"""The toy world: drawn from a description, without assets, the same every time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from storyflow.toybox import captions, scenes, world
from storyflow.toybox.exam import question
from storyflow.toybox.places import PLACES
from storyflow.toybox.shapes import SHAPES
from storyflow.toybox.windows import SHORT
from storyflow.toybox.words import WORDS
from storyflow.toybox.world import COLOURS, Figure, Scene, Turn


def one(action: str = "rest", camera: str = "static", **changes: object) -> Scene:
    scene = Scene(
        seed=4,
        figures=(Figure("circle", "red", 10.0, 48.0, 36.0),),
        turns=(Turn(0, (action,)),),
        place="meadow",
        light="day",
        camera=camera,
    )
    return replace(scene, **changes)  # type: ignore[arg-type]


def test_a_scene_is_drawn_the_same_every_time() -> None:
    scene = scenes.sample(5)
    first, second = world.draw(scene, 5), world.draw(scene, 5)
    assert first.dtype == np.uint8
    assert first.shape == (5, 64, 96, 3)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("seed", range(6))
def test_a_window_from_the_middle_equals_the_same_frames_of_the_whole(seed: int) -> None:
    scene = scenes.sample(seed, turn_at=20)
    whole, part = world.draw(scene, 30)[18:], world.draw(scene, 12, 18)
    assert np.abs(whole.astype(int) - part).max() <= 1  # vector units round by array length


@pytest.mark.parametrize(
    ("action", "x", "y"),
    [("left", -1, 0), ("right", 1, 0), ("up", 0, -1), ("down", 0, 1), ("rest", 0, 0)],
)
def test_a_figure_goes_where_it_is_sent(action: str, x: int, y: int) -> None:
    where = world.tracks(one(action), 25)
    assert np.sign(where.x[0, -1] - where.x[0, 0]) == x
    assert np.sign(where.y[0, -1] - where.y[0, 0]) == y


@pytest.mark.parametrize("first", ["left", "bounce", "circle", "swap", "up"])
@pytest.mark.parametrize("second", ["right", "bounce", "rest"])
def test_no_figure_jumps_when_the_action_turns(first: str, second: str) -> None:
    figures = (Figure("circle", "red", 9.0, 34.0, 36.0), Figure("star", "blue", 9.0, 62.0, 36.0))
    turns = (Turn(0, (first, first)), Turn(31, (second, "rest")))
    where = world.tracks(one(figures=figures, turns=turns), 60)
    assert np.abs(np.diff(where.x)).max() < 3.5
    assert np.abs(np.diff(where.y)).max() < 3.5


@pytest.mark.parametrize("camera", world.CAMERAS)
def test_only_a_moving_camera_changes_what_is_behind(camera: str) -> None:
    clip = world.draw(one(camera=camera), 40).astype(int)
    moved = np.abs(clip[0, :20] - clip[-1, :20]).max() > 20
    assert moved == (camera != "static")


def test_held_out_combinations_are_never_trained_on() -> None:
    assert not any(scenes.held_out(scenes.sample(seed)) for seed in range(300))
    assert all(scenes.held_out(scenes.sample(seed, test=True)) for seed in range(100))


def test_the_questions_cover_every_attribute() -> None:
    asked = [question(number).scene for number in range(200)]
    assert {scene.figures[0].shape for scene in asked} == set(SHAPES)
    assert {scene.figures[0].colour for scene in asked} == set(COLOURS)
    assert {scene.place for scene in asked} == set(PLACES)
    assert {scene.light for scene in asked} == set(world.LIGHTS)
    assert {scene.camera for scene in asked} == set(world.CAMERAS)
    assert {scene.turns[0].actions[0] for scene in asked} == set(world.ACTIONS)
    assert sum(len(scene.figures) == 2 for scene in asked) >= 60


def test_the_questions_stay_the_same() -> None:
    assert [question(number).prompt for number in (0, 2)] == [
        "A long shot. A bright pink block and a blue heart bounce in place. The setting is a calm "
        "ocean with boats at night. The camera tilts up.",
        "A medium shot. A green triangle falls down. The setting is a meadow with round trees and "
        "flowers. The lighting is night.",
    ]


def test_captions_vary_but_keep_to_known_words() -> None:
    rng = np.random.default_rng(0)
    texts = [captions.prompt(scenes.sample(7), 0, rng) for _ in range(30)]
    assert len(set(texts)) > 20
    known = {*WORDS, "brave", "cheerful", "weary"}
    seen: Counter[str] = Counter()
    for seed in range(300):
        text = captions.prompt(scenes.sample(seed), 0, rng).lower().replace("-", " ")
        seen.update(word.strip(".,") for word in text.split())
    assert not {word for word in seen if word and word not in known}


def test_a_full_caption_names_colour_place_and_camera() -> None:
    scene = one("right", "pan left")
    for seed in range(20):
        text = captions.prompt(scene, 0, np.random.default_rng(seed), full=True)
        assert any(word in text for word in ("red", "scarlet"))
        assert any(word in text for word in ("meadow", "grassy", "hills"))
        assert "left" in text.split(". ")[-1]


def test_turning_stretches_turn_right_after_some_windows_history() -> None:
    turning = [each for each in SHORT.stretches(1) if each.kind == "turn"][:40]
    assert turning
    for each in turning:
        assert each.turns_in is not None and each.turns_in >= 0
        assert each.turn_at == each.start + 4 * each.turns_in + 17
        assert 4 * each.turns_in + 25 <= each.frames


def test_views_of_a_place_differ_and_return() -> None:
    first, other = (world.draw(one(seed=seed), 1) for seed in (4, 5))
    assert not np.array_equal(first, other)
    assert np.array_equal(first, world.draw(one(seed=4 + world.VIEWS), 1))
