"""From master to delivered picture: enlarged, letterboxed, cropped, stretched, never odd."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from cutting import drawn
from pydantic import ValidationError

from storyflow.cutting.geometry import Box, geometry
from storyflow.pipeline import DeliverSection
from storyflow.timing import Size

MASTER = Size(48, 32)


def section(**fields: object) -> DeliverSection:
    return DeliverSection.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "delivered", "shown", "picture"),
    [
        ({}, (48, 32), (0, 0, 48, 32), (0, 0, 48, 32)),
        ({"scale": 3}, (144, 96), (0, 0, 144, 96), (0, 0, 144, 96)),
        ({"size": "96x64"}, (96, 64), (0, 0, 48, 32), (0, 0, 96, 64)),
        ({"size": "128x64"}, (128, 64), (0, 0, 48, 32), (16, 0, 96, 64)),
        ({"size": "96x96"}, (96, 96), (0, 0, 48, 32), (0, 16, 96, 64)),
        ({"size": "128x64", "fit": "crop"}, (128, 64), (0, 4, 48, 24), (0, 0, 128, 64)),
        ({"size": "64x64", "fit": "crop"}, (64, 64), (8, 0, 32, 32), (0, 0, 64, 64)),
        ({"size": "64x64", "fit": "stretch"}, (64, 64), (0, 0, 48, 32), (0, 0, 64, 64)),
        ({"size": "24x16"}, (24, 16), (0, 0, 48, 32), (0, 0, 24, 16)),
        # A whole number of times, so that pixels stay squares; cropped or framed to fit.
        ({"size": "128x72", "filter": "nearest"}, (128, 72), (0, 0, 96, 64), (16, 4, 96, 64)),
        (
            {"size": "128x72", "filter": "nearest", "fit": "crop"},
            (128, 72), (8, 12, 128, 72), (0, 0, 128, 72),
        ),
    ],
    ids=str,
)  # fmt: skip
def test_a_picture_comes_to_the_delivered_size(
    fields: dict[str, object],
    delivered: tuple[int, int],
    shown: tuple[int, int, int, int],
    picture: tuple[int, int, int, int],
) -> None:
    made = geometry(MASTER, section(**fields))
    assert (made.delivered, made.shown, made.picture) == (
        Size(*delivered), Box(*shown), Box(*picture)
    )  # fmt: skip
    frame = np.full((32, 48, 3), 200, np.uint8)
    out = made.apply(frame)
    assert out.shape == (delivered[1], delivered[0], 3)
    assert np.abs(made.picture.of(out).astype(int) - 200).max() <= 1
    bars = out.astype(int).sum() - made.picture.of(out).astype(int).sum()
    assert bars == 0, "what is no picture is black"


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_scaling_repeats_pixels_and_pads_odd_sizes_by_their_edge(scale: int) -> None:
    frame = drawn(1, 1, Size(33, 17))[0]
    large = geometry(Size(33, 17), section(scale=scale)).apply(frame)
    height, width = 17 * scale, 33 * scale
    assert large.shape == (height + height % 2, width + width % 2, 3)
    assert np.array_equal(large[:height:scale, :width:scale], frame)
    assert np.array_equal(large[scale - 1 : height : scale, scale - 1 : width : scale], frame)
    assert np.array_equal(large[-1, :width], np.repeat(frame[-1], scale, axis=0))


def test_nearest_keeps_every_pixel_a_square() -> None:
    frame = drawn(1, 2)[0]
    made = geometry(MASTER, section(size="160x100", filter="nearest"))
    assert np.array_equal(made.picture.of(made.apply(frame))[::3, ::3], frame)


def test_nothing_is_done_where_nothing_is_asked() -> None:
    frame = drawn(1, 3)[0]
    assert np.shares_memory(geometry(MASTER, section()).apply(frame), frame)


@pytest.mark.parametrize("size", ["96x64", "32x24"])
def test_lanczos_neither_shifts_nor_tints(size: str) -> None:
    from PIL import Image

    frame = drawn(1, 4)[0]
    made = geometry(MASTER, section(size=size, fit="stretch"))
    again = Image.fromarray(frame).resize(
        (made.delivered.width, made.delivered.height), Image.Resampling.LANCZOS
    )
    apart = made.apply(frame).astype(int) - np.asarray(again)
    assert np.abs(apart).mean() < 1.5
    assert np.abs(apart.mean((0, 1))).max() < 0.5


@pytest.mark.parametrize("size", ["1279x720", "1280x719", "big", "8x8"])
def test_a_delivered_size_is_two_even_numbers(size: str) -> None:
    with pytest.raises(ValidationError):
        section(size=size)


def test_a_frame_of_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"48x32 is expected"):
        geometry(MASTER, section()).apply(np.zeros((32, 50, 3), np.uint8))


@pytest.mark.parametrize("aspect", [Fraction(16, 9), Fraction(9, 16), Fraction(4, 3), Fraction(1)])
@pytest.mark.parametrize("fit", ["letterbox", "crop", "stretch"])
@pytest.mark.parametrize("filter", ["lanczos", "nearest"])
def test_every_way_of_fitting_fills_its_frame(aspect: Fraction, fit: str, filter: str) -> None:
    width = 2 * round(40 * aspect)
    made = geometry(Size(33, 17), section(size=f"{width}x80", fit=fit, filter=filter))
    out = made.apply(drawn(1, 5, Size(33, 17))[0])
    assert out.shape == (80, width, 3) and out.dtype == np.uint8
    box = made.picture
    assert box.left >= 0 and box.top >= 0
    assert box.left + box.width <= width and box.top + box.height <= 80
    assert box.left % 2 == box.top % 2 == 0
