"""A few frames of a clip: the first, the last and those between, in their own shape and time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_files import clip_file, counting, numbers, picture_file, quadrants

from storyflow.media.reading import BadMedia
from storyflow.media.spread import Sight, fitted, places, read_spread, read_still, spread_of

SIGHT = Sight(frames=5, area=96 * 64, grid=4)
EVENLY = [0, 24, 48, 72, 96]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("keys.mp4", {"options": {"crf": "1", "x264-params": "keyint=10:open-gop=1:bframes=3"}}),
        ("a.mkv", {"options": {"g": "12"}}),
        ("a.avi", {}),
        ("rgb.mov", {"codec": "libx264rgb", "pix_fmt": "rgb24", "options": {"qp": "0"}}),
    ],
)
def test_the_first_and_the_last_frame_and_those_between_are_seen(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    seen = read_spread(clip_file(tmp_path / name, counting(97), **options), SIGHT)
    assert seen.frames.shape == (5, 64, 96, 3)
    found = numbers(seen.frames)
    assert all(abs(a - b) <= 1 for a, b in zip(found, EVENLY, strict=True)), found
    # Matroska counts in milliseconds.
    assert abs(seen.seconds - Fraction(97, 24)) < Fraction(1, 500)
    assert abs(seen.fps - 1) < Fraction(1, 500)


def test_a_clip_of_another_rate_is_seen_at_its_own(tmp_path: Path) -> None:
    seen = read_spread(clip_file(tmp_path / "a.mp4", counting(61), fps=Fraction(15)), SIGHT)
    assert (seen.fps, seen.seconds) == (1, Fraction(61, 15))


def test_a_short_clip_is_seen_whole(tmp_path: Path) -> None:
    seen = read_spread(clip_file(tmp_path / "a.mp4", counting(3)), SIGHT)
    assert numbers(seen.frames) == [0, 1, 2] and seen.fps == 24


def test_a_stream_is_seen_like_the_file_that_it_would_be() -> None:
    frames = counting(97)
    seen = spread_of(iter(frames), len(frames), Fraction(24), SIGHT)
    assert numbers(seen.frames) == EVENLY
    assert (seen.fps, seen.seconds) == (1, Fraction(97, 24))


def test_a_picture_is_a_single_frame(tmp_path: Path) -> None:
    seen = read_still(picture_file(tmp_path / "a.png"), SIGHT)
    assert np.array_equal(seen.frames, quadrants()[None])
    assert (seen.fps, seen.seconds) == (0, 0)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1920, 1080), (532, 280)),
        ((1080, 1920), (280, 532)),
        ((360, 420), (364, 392)),
        ((96, 64), (84, 56)),
        ((10, 10), (28, 28)),
        ((8000, 20), (5376, 28)),
    ],
)
def test_frames_keep_their_shape_within_the_area(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    found = fitted(*shape, Sight())
    assert found.width * found.height <= 360 * 420
    assert (found.width, found.height) == size
    assert found.width % 28 == found.height % 28 == 0


def test_places_are_even_and_never_beyond_the_end() -> None:
    for count in range(1, 120):
        for wanted in range(1, 20):
            found = places(count, wanted)
            assert found == sorted(set(found)) and found[0] == 0 and found[-1] < count
            assert len(found) == min(count, wanted)
            assert wanted == 1 or found[-1] == count - 1


def test_what_is_no_clip_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "a.mp4"
    broken.write_bytes(b"no clip at all" * 50)
    with pytest.raises(BadMedia, match="be read as a clip"):
        read_spread(broken, SIGHT)
    with pytest.raises(FileNotFoundError):
        read_spread(tmp_path / "none.mp4", SIGHT)
