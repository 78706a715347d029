"""Colour match: what a segment's model changed is measured and undone, in the cut alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from cutting import Sketch, plan_of, render

from storyflow.cutting.colourmatch import Correction, colour_match, unmatched
from storyflow.cutting.cut import cut_film
from storyflow.cutting.manifest import make_manifest, read_manifest, write_manifest
from storyflow.farm.comparison import Comparison
from storyflow.farm.jobs import SegmentJob
from storyflow.farm.recorder import Recorder
from storyflow.kinds import kind_of
from storyflow.media.lab import from_lab
from storyflow.pipeline import DeliverSection, load_profile
from storyflow.planning.nodes import Plan, Span
from storyflow.renderer import History, SegmentSpec
from storyflow.store.artifacts import FRAMES, Artifact, Regained
from storyflow.store.store import Store

YELLOWER = Regained((1.0, 1.0, 1.0), (0.0, 0.0, -4.0), 30.0)
"""The model gives its history back with 4 b* too much."""


def chained(plan: Plan) -> Plan:
    """With each segment continuing the one before it."""
    takes = []
    for take in plan.takes:
        segments = list(take.segments)
        for n in range(1, len(segments)):
            before = segments[n - 1]
            span = Span(before.recipe, 0, before.inputs.spec.new)
            segments[n] = replace(segments[n], history=(span,))
        takes.append(replace(take, segments=tuple(segments)))
    return replace(plan, takes=tuple(takes))


def film(tmp_path: Path) -> tuple[Plan, Store, dict[str, Artifact]]:
    plan = chained(plan_of([Sketch("1A", (9, 8, 8), (0, 25))]))
    store = Store(tmp_path / "store")
    found = render(store, plan, tmp_path / "scratch")
    for segment in plan.segments[1:]:
        found[segment.recipe] = replace(found[segment.recipe], regained=YELLOWER)
    return plan, store, found


@pytest.mark.parametrize(
    ("gain", "offset"),
    [((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), ((1.02, 1.05, 0.97), (-1.0, 2.0, 0.5))],
)
def test_the_change_of_a_history_is_recovered(
    gain: tuple[float, float, float], offset: tuple[float, float, float]
) -> None:
    lab = np.random.default_rng(0).normal((50, 5, -5), 6, (5, 24, 32, 3))
    back = np.stack([from_lab(frame.astype(np.float32)) for frame in lab])
    change = Correction(gain, offset)
    given = np.stack([change.apply(frame) for frame in back])
    compared = Comparison(given)
    assert compared.result() is None
    compared.add(back[:1])
    compared.add(back[1:])
    found = compared.result()
    assert found is not None
    assert found.gain == pytest.approx(gain, abs=0.02)
    middle = np.array([50, 5, -5])
    there = middle * found.gain + found.offset
    assert there == pytest.approx(middle * gain + offset, abs=0.2)
    assert (found.psnr is None) == (given == back).all()


def test_a_plain_history_has_no_gain() -> None:
    grey = np.full((1, 8, 8, 3), 100, np.uint8)
    compared = Comparison(grey + np.uint8(10))
    compared.add(grey)
    found = compared.result()
    assert found is not None and found.gain == (1, 1, 1)
    assert found.offset[0] == pytest.approx(3.9, abs=0.3)


def test_corrections_follow_each_other() -> None:
    one = Correction((2.0, 1.0, 1.0), (1.0, 0.0, 0.0))
    other = Correction((3.0, 1.0, 1.0), (5.0, 0.0, 0.0))
    assert one.after(other) == Correction((6.0, 1.0, 1.0), (11.0, 0.0, 0.0))
    assert one.part(0.5) == Correction((1.5, 1.0, 1.0), (0.5, 0.0, 0.0))
    frame = np.full((4, 4, 3), 90, np.uint8)
    assert Correction().apply(frame) is frame


def test_first_adds_up_and_seams_lets_go(tmp_path: Path) -> None:
    plan, _, found = film(tmp_path)
    take = plan.takes[0]

    def offsets(mode: str) -> list[float]:
        match = colour_match(plan, take, found, mode)  # type: ignore[arg-type]
        assert match is not None
        return [round(match.at(frame).offset[2], 3) for frame in (0, 8, 9, 13, 16, 17, 24)]

    assert colour_match(plan, take, found, "none") is None
    assert offsets("first") == [0, 0, -4, -4, -4, -8, -8]
    assert offsets("seams") == [0, 0, -4, -2, -0.5, -4, -0.5]
    first = plan.segments[1].recipe
    found[first] = replace(found[first], regained=None)
    assert offsets("first") == [0, 0, 0, 0, 0, -4, -4]
    assert unmatched(plan, found, "seams").startswith("colours are not matched at 1A/2: nothing")
    assert unmatched(plan, found, "none") == ""


def test_the_cut_alone_is_changed_and_says_so(tmp_path: Path) -> None:
    plan, store, found = film(tmp_path)
    reports = {}
    for mode in ("none", "seams"):
        deliver = DeliverSection(preset="ultrafast", colour_match=mode)
        report = cut_film(plan, found, store, tmp_path / mode, deliver, {})
        manifest = make_manifest(plan, found, frozenset(), (), report)
        path = write_manifest(tmp_path / mode / "film.json", manifest)
        reports[mode] = report, read_manifest(path)
    (plain, of_plain), (matched, of_matched) = reports["none"], reports["seams"]
    assert plain.frames_sha256 != matched.frames_sha256
    one, other = ((tmp_path / mode / "shots" / "1A.mov").read_bytes() for mode in reports)
    assert one == other, "masters stay as they were rendered"
    assert of_plain.shots[0].match is None
    assert of_matched.shots[0].match == colour_match(plan, plan.takes[0], found, "seams")
    assert of_matched.shots[0].segments[1].regained == YELLOWER


def test_no_key_depends_on_it() -> None:
    plain, matched = (
        kind_of(load_profile("toybox", (f"deliver.colour_match={mode}",))[1])
        for mode in ("none", "first")
    )
    assert plain.pixel_fields == matched.pixel_fields
    assert plain.identity == matched.identity


def test_a_worker_stores_how_the_history_came_back(tmp_path: Path) -> None:
    given = np.random.default_rng(0).integers(60, 190, (5, 32, 48, 3)).astype(np.uint8)
    spec = SegmentSpec(48, 32, 9, 5, seed=1)
    job = SegmentJob("1A/2", "k" * 8, "r" * 8, spec, Fraction(24), "{}")
    found = {}
    with ThreadPoolExecutor(1) as encoder:
        for name, history in (("continuing", History(given)), ("fresh", None)):
            folder = tmp_path / name
            folder.mkdir()
            with Recorder(job, folder, encoder, lambda _: None, history) as recorder:
                recorder.regained(given - np.uint8(3))
                recorder.frames(given[:4])
                files = recorder.finish()
            found[name] = recorder.comparison
            assert list(files) == [FRAMES]
    assert found["fresh"] is None
    assert found["continuing"] is not None
    assert found["continuing"].psnr == pytest.approx(38.6, abs=0.1)
    store = Store(tmp_path / "store")
    kept = store.commit(
        key=job.key, recipe=job.recipe, kind="segment", digest="d", inputs="{}", files={},
        regained=found["continuing"],
    )  # fmt: skip
    again = Store(tmp_path / "store").find(job.key)
    assert again == kept and again.regained == found["continuing"]
