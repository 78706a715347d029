"""What is measured of frames, and how it is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from storyflow.errors import DamagedError
from storyflow.media.lab import from_lab, to_lab
from storyflow.qc.filed import read_series, write_series
from storyflow.qc.measure import measure
from storyflow.qc.series import NAMES
from storyflow.toybox import scenes, world


def plain(*rgb: int, size: tuple[int, int] = (32, 48)) -> NDArray[np.uint8]:
    return np.broadcast_to(np.array(rgb, np.uint8), (*size, 3)).copy()


@pytest.mark.parametrize(
    ("rgb", "lab", "chroma", "dark"),
    [
        ((255, 255, 255), (100, 0, 0), 0, 0),
        ((0, 0, 0), (0, 0, 0), 0, 1),
        ((128, 128, 128), (53.59, 0, 0), 0, 0),
        ((255, 0, 0), (53.24, 80.09, 67.20), 104.55, 0),
    ],
)
def test_a_plain_frame_measures_as_its_colour(
    rgb: tuple[int, int, int], lab: tuple[float, float, float], chroma: float, dark: float
) -> None:
    series = measure([plain(*rgb)])
    found = [series.luma[0], series.a[0], series.b[0], series.chroma[0]]
    assert found == pytest.approx([*lab, chroma], abs=0.1)
    assert (series.sharpness[0], series.dark[0]) == (0, dark)
    assert [getattr(series, name)[0] for name in ("motion", "warp", "change", "repeats")] == [0] * 4


def test_motion_is_what_luma_changes_and_warp_what_flow_leaves_of_it() -> None:
    import cv2

    noise = np.random.default_rng(0).integers(0, 255, (64, 120, 3)).astype(np.float32)
    soft = np.asarray(cv2.GaussianBlur(noise, (0, 0), 3))
    wide = ((soft - soft.min()) / np.ptp(soft) * 255).astype(np.uint8)
    clip = [wide[:, x : x + 96].copy() for x in range(0, 12, 2)]
    series = measure(clip)
    assert (series.motion[1:] > 5).all()
    assert (series.warp[1:] < 0.4 * series.motion[1:]).all()
    brighter = measure([clip[0], clip[0] // 2 + 100])
    assert brighter.warp[1] > 0.7 * brighter.motion[1], "no motion explains a change of light"


def test_only_equal_bytes_repeat() -> None:
    first, other = plain(90, 90, 90), plain(90, 90, 90)
    other[0, 0, 0] += 1
    series = measure([first, first.copy(), other, other.copy()])
    assert series.repeats.tolist() == [0, 1, 0, 1]


def test_large_pictures_are_measured_small_and_mean_the_same() -> None:
    small = world.draw(scenes.sample(8_100_000), 3)
    large = small.repeat(10, axis=1).repeat(10, axis=2)
    one, other = measure(small), measure(large)
    for name in ("luma", "a", "b", "chroma", "motion"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=0.05, abs=0.05), name


def test_frames_of_two_sizes_are_refused() -> None:
    with pytest.raises(DamagedError, match="48x32 after one of 96x64"):
        measure([plain(0, 0, 0, size=(64, 96)), plain(0, 0, 0)])


def test_no_frames_are_an_empty_series() -> None:
    assert measure([]).frames == 0


def test_series_are_kept_with_the_tag_of_their_master(tmp_path: Path) -> None:
    series = measure([plain(10, 20, 30), plain(40, 50, 60)])
    path = write_series(tmp_path / "qc" / "1A.safetensors", series, "tag")
    back = read_series(path, "tag")
    assert back is not None
    assert all((getattr(back, n) == getattr(series, n)).all() for n in NAMES)
    assert read_series(path, "another") is None
    path.write_bytes(path.read_bytes()[:100])
    assert read_series(path, "tag") is None
    assert read_series(tmp_path / "none", "tag") is None


def test_lab_goes_there_and_back() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    back = from_lab(to_lab(frame)).astype(np.int16)
    assert np.abs(back - frame).max() <= 1
