"""Verdicts: what is found of defects, and what is not found where there are none."""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from storyflow.errors import ProfileError
from storyflow.qc.faults import frozen, trend
from storyflow.qc.judge import Joint, Subject, judge, judge_cut
from storyflow.qc.limits import load_limits
from storyflow.qc.measure import measure
from storyflow.qc.seams import drift, rhythm
from storyflow.qc.series import NAMES, Series
from storyflow.qc.verdicts import TakeQuality, worst
from storyflow.toybox import scenes, world

sys.path.append(str(Path(__file__).parent / "bench"))
from qc_defects import defects

LIMITS = load_limits()
AT = 24


def series_of(frames: int, **given: NDArray[np.floating] | float) -> Series:
    """Quiet noise, and what is given in its place."""
    random = np.random.default_rng(0)
    usual = {
        "luma": 50, "a": 5, "b": 5, "chroma": 20, "sharpness": 100, "motion": 3, "warp": 2,
        "change": 5, "dark": 0, "repeats": 0,
    }  # fmt: skip
    values = {}
    for name in NAMES:
        level = given.get(name, usual[name] + random.normal(0, 0.002 * usual[name], frames))
        values[name] = np.broadcast_to(np.asarray(level, np.float32), (frames,)).copy()
    return Series(**values)


def subject(frames: int, *seams: int, shown: tuple[int, int] | None = None) -> Subject:
    joints = tuple(Joint(frame, "segment", f"1A/{n + 2}") for n, frame in enumerate(seams))
    return Subject("1A", 1, "tag", (shown or (0, frames),), joints, Fraction(24))


def measures(found: TakeQuality) -> set[str]:
    return {verdict.measure for verdict in found.verdicts}


def test_a_quiet_take_passes() -> None:
    found = judge(subject(200, 97, 177), series_of(200), LIMITS)
    assert (found.level, found.verdicts) == ("pass", ())
    assert [(seam.frame, seam.level) for seam in found.seams] == [(97, "pass"), (177, "pass")]
    assert found.drift is None, "two seams have nothing in common yet"


@pytest.mark.parametrize(
    ("series", "measure_name", "level", "frame", "stop"),
    [
        ({"motion": (97, 12.0)}, "seam_ratio", "warn", 97, None),
        ({"motion": (97, 30.0)}, "seam_ratio", "fail", 97, None),
        ({"warp": (97, 8.0)}, "warp_ratio", "warn", 97, None),
        ({"warp": (60, 16.0)}, "jump", "warn", 60, None),
        ({"change": (60, 80.0)}, "cut", "fail", 60, None),
        ({"change": (97, 80.0)}, "cut", "fail", 97, None),
        ({"repeats": (60, 1.0)}, "repeats", "warn", 60, 61),
    ],
)
def test_one_odd_frame_is_one_verdict(
    series: dict[str, tuple[int, float]],
    measure_name: str,
    level: str,
    frame: int,
    stop: int | None,
) -> None:
    made = series_of(200)
    for name, (at, value) in series.items():
        getattr(made, name)[at] = value
    found = judge(subject(200, 97, 177), made, LIMITS)
    assert [(v.measure, v.level, v.frame, v.stop) for v in found.verdicts] == [
        (measure_name, level, frame, stop)
    ]
    assert found.level == level


def test_what_the_film_does_not_show_is_not_told() -> None:
    made = series_of(200)
    for name, at, value in (("motion", 177, 40.0), ("change", 190, 80.0), ("repeats", 3, 1.0)):
        getattr(made, name)[at] = value
    found = judge(subject(200, 97, 177, shown=(10, 150)), made, LIMITS)
    assert found.level == "pass"
    assert [seam.shown for seam in found.seams] == [True, False]
    assert found.seams[1].ratio > 7, "it is read all the same"


def test_stretches_are_told_with_their_length() -> None:
    made = series_of(200)
    made.motion[50:70] = 0.1
    made.dark[100:110] = 1.0
    found = judge(subject(200), made, LIMITS)
    told = {v.measure: (v.frame, v.stop, round(24 * v.value)) for v in found.verdicts}
    assert told == {"freeze": (49, 70, 21), "black": (100, 110, 10)}


def test_a_freeze_to_the_end_has_an_end() -> None:
    made = series_of(50)
    made.motion[40:] = 0.0
    assert [(s.start, s.stop) for s in frozen(made)] == [(39, 50)]


@pytest.mark.parametrize("step", [0.0, 0.2, -0.6])
def test_a_step_that_all_seams_share_is_drift(step: float) -> None:
    seams = list(range(97, 660, 80))
    after = np.searchsorted(seams, np.arange(700), side="right")
    noise = np.random.default_rng(1).normal(0, 0.1, 700).cumsum()
    made = series_of(700, luma=50 + noise + step * after)
    found = drift(made, seams)
    assert found.light == pytest.approx(step, abs=0.1)
    assert (found.light_chance < 0.01) == (step != 0)
    told = measures(judge(subject(700, *seams), made, LIMITS))
    assert ("light_drift" in told) == (step != 0)
    assert found == drift(made, seams), "the same every time"


def test_a_pulse_that_groups_of_frames_have_is_no_drift() -> None:
    seams = list(range(97, 660, 80))
    noise = np.random.default_rng(5).normal(0, 0.05, 700).cumsum()
    pulse = np.where(np.arange(700) % 4 == 1, 0.5, 0.0)
    after = np.searchsorted(seams, np.arange(700), side="right")
    without = drift(series_of(700, luma=50 + noise + pulse), seams)
    assert without.light_chance > 0.01 and abs(without.light) < 0.1
    assert drift(series_of(700, luma=50 + noise + pulse + 0.3 * after), seams).light_chance < 0.01


def test_saturation_drift_is_in_per_cent() -> None:
    seams = list(range(97, 660, 80))
    after = np.searchsorted(seams, np.arange(700), side="right")
    noise = np.random.default_rng(2).normal(0, 0.05, 700).cumsum()
    found = drift(series_of(700, chroma=(30 + noise) * 1.02**after), seams)
    assert found.saturation == pytest.approx(2.0, abs=0.3) and found.saturation_chance < 0.01


def test_a_pulse_every_four_frames_is_a_rhythm() -> None:
    noise = np.random.default_rng(3).normal(0, 0.05, 200).cumsum()
    pulse = 0.4 * (np.arange(200) // 4 % 2)
    assert (rhythm(series_of(200, luma=50 + noise)) or 0) < 1.5
    assert (rhythm(series_of(200, luma=50 + noise + pulse)) or 0) > 3
    assert rhythm(series_of(40)) is None


def test_a_trend_rises_or_falls_all_the_way() -> None:
    time = np.linspace(0, 1, 240, dtype=np.float32)
    assert trend(20 + 8 * time) == pytest.approx(1.33, abs=0.03)
    assert trend(20 + 8 * np.sin(6 * time)) is None
    assert trend(time[:20]) is None
    made = series_of(240, chroma=20 + 8 * time, sharpness=200 - 130 * time)
    assert measures(judge(subject(240), made, LIMITS)) == {"chroma_trend", "detail_trend"}


@pytest.fixture(scope="module")
def clip() -> NDArray[np.uint8]:
    return world.draw(scenes.sample(8_400_000), 2 * AT + 20)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", set()),
        ("brightness +4 levels", {"colour_step"}),
        ("chroma +6 %", {"colour_step"}),
        ("17 frames dropped", {"seam_ratio"}),
        ("1 frame doubled", {"repeats"}),
        ("12 frames frozen", {"repeats", "freeze"}),
        ("hidden cut", {"cut", "seam_ratio", "colour_step"}),
    ],
)
def test_a_defect_at_a_seam_is_found(
    clip: NDArray[np.uint8], name: str, expected: set[str]
) -> None:
    other = world.draw(scenes.sample(8_400_001), len(clip))
    put = {"none": lambda c, _: c, **defects(other)}[name]
    made = put(clip, AT)[: 2 * AT + 1]
    found = judge(subject(len(made), AT), measure(made), LIMITS)
    assert measures(found) >= expected
    if not expected:
        assert found.verdicts == ()


def test_a_cut_is_seen_on_the_frame_or_beside_it(clip: NDArray[np.uint8]) -> None:
    other = world.draw(scenes.sample(8_400_001), 14)
    joined = measure(np.concatenate([clip[:14], other]))
    assert [judge_cut(joined, at, LIMITS) for at in (12, 13, 14, 15, 16)] == [
        False, True, True, True, False,
    ]  # fmt: skip
    assert not judge_cut(measure(clip[:28]), 14, LIMITS)


def test_limits_can_be_changed_in_part(tmp_path: Path) -> None:
    file = tmp_path / "limits.yaml"
    file.write_text("about: mine\nseam_ratio: {warn: 2}\n")
    mine = load_limits(file, ["colour_step.fail=null", "colour_step.warn=0.2"])
    assert (mine.about, mine.seam_ratio.warn, mine.seam_ratio.fail) == ("mine", 2, None)
    assert (mine.colour_step.warn, mine.colour_step.fail) == (0.2, None)
    assert mine.ssim == LIMITS.ssim
    assert all(getattr(LIMITS, n).source for n in type(LIMITS).model_fields if n in dir(mine)
               and hasattr(getattr(LIMITS, n), "source"))  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seam_ration.warn=2"], "seam_ratio"),
        (["seam_ratio.warn=much"], "number"),
        (["ssim.fail=-1"], "greater"),
    ],
)
def test_limits_that_make_no_sense_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        load_limits(None, overrides)


def test_the_worst_level_counts() -> None:
    assert [worst([]), worst(["pass", "warn"]), worst(["fail", "warn"])] == ["pass", "warn", "fail"]
    made = series_of(200)
    made.motion[97] = 12.0
    found = judge(subject(200, 97), made, LIMITS)
    assert replace(found, level="pass") != found
