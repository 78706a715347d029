"""What is drawn is read back: every attribute, on clips that were never looked at before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from storyflow.toybox import measure, scenes, world
from storyflow.toybox.measure import Reading
from storyflow.toybox.shapes import SHAPES
from storyflow.toybox.world import Scene

CLIPS = 14


@dataclass(frozen=True)
class Pair:
    scene: Scene
    seen: Reading


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    drawn = [scenes.sample(880_000 + number, test=number % 2 == 0) for number in range(CLIPS)]
    return [Pair(scene, measure.read(world.draw(scene, 97))) for scene in drawn]


def test_place_and_light_are_read(pairs: list[Pair]) -> None:
    for pair in pairs:
        assert (pair.seen.place, pair.seen.light) == (pair.scene.place, pair.scene.light)


def test_camera_moves_are_read(pairs: list[Pair]) -> None:
    assert [pair.seen.camera for pair in pairs] == [pair.scene.camera for pair in pairs]


def test_figures_are_read(pairs: list[Pair]) -> None:
    for pair in pairs:
        wanted = {figure.colour: figure.shape for figure in pair.scene.figures}
        assert {figure.colour: figure.shape for figure in pair.seen.figures} == wanted


def test_actions_are_read(pairs: list[Pair]) -> None:
    for pair in pairs:
        for figure, action in zip(pair.scene.figures, pair.scene.actions(0), strict=True):
            found = pair.seen.of(figure.colour)
            assert found is not None
            assert found.action == action


def action_where(
    scene: Scene, moved: Callable[[world.Tracks], world.Tracks], monkeypatch: pytest.MonkeyPatch
) -> str | None:
    """What the first figure is read to do, in a clip whose tracks are changed before drawing."""
    steady = world.tracks
    with monkeypatch.context() as patch:
        patch.setattr(world, "tracks", lambda scene, frames: moved(steady(scene, frames)))
        clip = world.draw(scene, 97)
    found = measure.read(clip).of(scene.figures[0].colour)
    return None if found is None else found.action


@pytest.mark.parametrize("number", [5, 29, 46, 53, 63, 74])
def test_the_action_of_a_trembling_figure_is_read(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pixels back and forth every four frames, as a model's figures may do."""
    scene, source = scenes.sample(7_000_000 + number), np.random.default_rng(number)

    def trembling(where: world.Tracks) -> world.Tracks:
        figures, frames = where.x.shape
        noise = source.standard_normal((2, figures, frames // 4 + 2)) * 2
        x, y = noise.repeat(4, axis=2)[..., :frames]
        return replace(where, x=where.x + x, y=where.y + y)

    assert action_where(scene, trembling, monkeypatch) == scene.actions(0)[0]


@pytest.mark.parametrize("times", [0.8, 1.25])
@pytest.mark.parametrize("number", [3, 9, 22, 45, 59])
def test_a_figure_that_changes_size_on_its_way_is_on_its_way(
    number: int, times: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model's figures swell and dwindle; who goes up and shrinks by a fifth goes up."""
    scene = scenes.sample(7_000_000 + number)

    def swelling(where: world.Tracks) -> world.Tracks:
        size = np.geomspace(1, times, where.radius.shape[1])
        return replace(where, radius=where.radius * size)

    assert action_where(scene, swelling, monkeypatch) == scene.actions(0)[0]


def test_a_figure_that_grows_beside_another_grows() -> None:
    """They are 35 pixels apart and would touch at 28, so none hides the other."""
    growing = world.Figure("circle", "orange", 8.0, 67.0, 37.0)
    beside = world.Figure("circle", "yellow", 7.0, 32.0, 38.0)
    turn = world.Turn(0, ("grow", "rest"))
    scene = Scene(1, (growing, beside), (turn,), "snow", "night", "static")
    seen = measure.read(world.draw(scene, 97))
    assert {each.colour: each.action for each in seen.figures} == {
        "orange": "grow",
        "yellow": "rest",
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("wide, high, spur", [(1.35, 1, 0), (1, 1.25, 0), (0.8, 1, 0), (1, 1, 5)])
def test_an_oblong_figure_or_one_with_a_spur_keeps_its_shape(
    shape: str, wide: float, high: float, spur: int
) -> None:
    """As a model may paint it: nobody takes an oblong square for a circle."""
    figure = world.Figure(shape, "red", 11.0, 40.2, 30.3)
    still = Scene(1, (figure,), (world.Turn(0, ("rest",)),), "snow", "day", "static")
    drawn = measure.colours_of(world.draw(still, 1))[0] == tuple(world.COLOURS).index("red")
    stretch = np.float32([[wide, 0, 40 - 40 * wide], [0, high, 30 - 30 * high]])
    mask = cv2.warpAffine(drawn.astype(np.float32), stretch, (world.WIDTH, world.HEIGHT)) > 0.5
    rows, columns = np.nonzero(mask)
    mask[int(rows.mean()), columns.max() : columns.max() + spur] = True
    assert measure.shape_of(mask[None]) == shape


@pytest.mark.parametrize("stain", ["rim", "specks", "band"])
def test_a_stain_in_a_figure_s_colour_is_no_figure(stain: str) -> None:
    """A model's orange figure may have a yellow rim, its dusk purple in it."""
    figure = world.Figure("circle", "orange", 12.0, 48.0, 36.0)
    still = Scene(1, (figure,), (world.Turn(0, ("rest",)),), "snow", "day", "static")
    clip = world.draw(still, 25)
    rows, columns = np.mgrid[: world.HEIGHT, : world.WIDTH]
    away = np.hypot(rows - 35.5, columns - 47.5)
    stained = {
        "rim": (away > 13) & (away < 14.5) & (columns < 48),
        "specks": (rows < 24) & (rows % 6 < 2) & (columns % 6 < 2),
        "band": (rows < 4) & (columns < 60),
    }[stain]
    clip[:, stained] = world.COLOURS["yellow"]
    seen = measure.read(clip)
    assert [(each.colour, each.shape, each.action) for each in seen.figures] == [
        ("orange", "circle", "rest")
    ]


@pytest.mark.filterwarnings("error")
def test_figures_that_follow_each_other_are_read_apart() -> None:
    one = scenes.sample(880_000)
    figure = replace(one.figures[0], x=48.0, y=36.0, radius=10.0)
    halves = [
        replace(one, figures=(replace(figure, colour=colour),), turns=(world.Turn(0, ("circle",)),))
        for colour in ("red", "blue")
    ]
    seen = measure.read(np.concatenate([world.draw(half, 48) for half in halves]))
    assert {(each.colour, each.action) for each in seen.figures} == {
        ("red", "circle"),
        ("blue", "circle"),
    }


def test_noise_and_blank_pictures_have_no_figure() -> None:
    grey = np.full((25, 64, 96, 3), 128, np.uint8)
    assert measure.read(grey).figures == ()


def test_psnr_is_in_decibels() -> None:
    black = np.zeros((2, 4, 4, 3), np.uint8)
    assert measure.psnr(black, black + 255) == pytest.approx(0.0)
