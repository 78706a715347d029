"""What a scene map says is what the world draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from storyflow.toybox import measure, world
from storyflow.toybox.auxiliary import Head
from storyflow.toybox.scene_map import COLUMNS, NUMBERS, ROWS, TOKENS, scene_map
from storyflow.toybox.shapes import SHAPES
from storyflow.toybox.world import COLOURS, Figure, Scene, Turn

COVER = slice(0, 32)
"""Two numbers for each of a token's 16 squares."""
FIRST = 32
RIGHT, DOWN, GROWTH = FIRST + 11, FIRST + 12, FIRST + 13
BEHIND = slice(60, 62)


def scene(action: str = "rest", camera: str = "static", two: bool = False) -> Scene:
    figures = (Figure("heart", "red", 9.0, 40.0, 36.0), Figure("star", "blue", 10.0, 64.0, 40.0))
    return Scene(
        seed=4,
        figures=figures[: 1 + two],
        turns=(Turn(0, (action, "rest")[: 1 + two]),),
        place="meadow",
        light="day",
        camera=camera,
    )


def near(found: np.ndarray) -> np.ndarray:
    """The rows of tokens that the first figure is near."""
    rows: np.ndarray = found[found[:, FIRST + 2] > 0].astype(np.float32)
    return rows


def test_cover_is_where_the_figure_is_seen() -> None:
    drawn = scene()
    found = scene_map(drawn, np.array([5]))[0].astype(np.float32)
    assert found.shape == (TOKENS, NUMBERS)
    squares = found[:, COVER].reshape(ROWS, COLUMNS, 4, 4, 2)[..., 0].swapaxes(1, 2)
    labels = measure.colours_of(world.draw(drawn, 1, 5))[0]
    seen = labels == tuple(COLOURS).index(drawn.figures[0].colour)
    seen = seen.reshape(16, 4, 24, 4).mean(axis=(1, 3))
    assert np.abs(squares.reshape(16, 24) - seen).mean() < 0.02


@pytest.mark.parametrize(
    ("action", "number", "sign"),
    [("right", RIGHT, 1), ("left", RIGHT, -1), ("down", DOWN, 1), ("up", DOWN, -1)],
)
def test_speed_has_the_direction_of_the_action(action: str, number: int, sign: int) -> None:
    rows = near(scene_map(scene(action), np.array([3]))[0])
    assert len(rows)
    assert (rows[:, number] * sign > 0.1).all()


def test_who_grows_grows() -> None:
    rows = near(scene_map(scene("grow"), np.array([1]))[0])
    assert (rows[:, GROWTH] > 0).all()


def test_shape_and_colour_are_told_of_both_figures() -> None:
    drawn = scene(two=True)
    found = scene_map(drawn, np.array([0]))[0].astype(np.float32)
    for which, figure in enumerate(drawn.figures):
        start = FIRST + 14 * which
        rows = found[found[:, start + 2] > 0]
        assert len(rows)
        shapes = rows[:, start + 3 : start + 8]
        assert (shapes.argmax(axis=1) == list(SHAPES).index(figure.shape)).all()
        colour = np.asarray(COLOURS[figure.colour]) / 255
        np.testing.assert_allclose(rows[:, start + 8 : start + 11] - colour, 0, atol=1e-3)


@pytest.mark.parametrize(
    ("camera", "column", "sign"),
    [("pan left", 0, 1), ("pan right", 0, -1), ("tilt up", 1, 1), ("tilt down", 1, -1)],
)
def test_what_is_behind_moves_against_the_camera(camera: str, column: int, sign: int) -> None:
    moves = scene_map(scene(camera=camera), np.array([9]))[0, :, BEHIND]
    assert (moves[:, column] * sign > 0.1).all()
    assert not moves[:, 1 - column].any()


def test_a_zoom_moves_the_sides_apart() -> None:
    moves = scene_map(scene(camera="zoom in"), np.array([9]))[0, :, BEHIND]
    moves = moves.reshape(ROWS, COLUMNS, 2)
    assert (moves[:, 0, 0] < 0).all()
    assert (moves[:, -1, 0] > 0).all()


def test_a_map_is_a_function_of_the_frame_alone() -> None:
    drawn = scene("circle")
    together = scene_map(drawn, np.array([2, 40]))
    assert np.array_equal(together[1], scene_map(drawn, np.array([40]))[0])
    assert scene_map(drawn, np.array([], int)).shape == (0, TOKENS, NUMBERS)


def test_the_head_is_right_where_it_says_what_is_shown() -> None:
    head = Head(8)
    shown = torch.randn(1, 2, TOKENS, NUMBERS)
    head.sizes.fill_(2.0)
    for weight in head.parameters():
        torch.nn.init.zeros_(weight)
    hidden = torch.randn(1, 2, TOKENS, 8)
    assert head.error(hidden, torch.zeros_like(shown)).item() == 0
    expected = float((shown / 2).square().mean())
    assert head.error(hidden, shown).item() == pytest.approx(expected)
