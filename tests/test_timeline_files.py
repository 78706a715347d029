"""Timelines for editing programs: written, read back, and equal to the plan in every form."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
import pytest
from cutting import Sketch, plan_of

from storyflow.errors import CutError
from storyflow.planning.nodes import Plan
from storyflow.storyboard.resolved import Transition
from storyflow.timeline.build import Contents
from storyflow.timeline.files import check_timeline, timeline_text, write_timelines
from storyflow.timeline.media import masters
from storyflow.timing import Size

START = 24 * 3600
SHOTS = (
    Sketch("1A", (49, 48), (12, 84)),
    Sketch("1B", (49,), (4, 40)),
    Sketch("1C", (49, 48), (20, 90)),
    Sketch("2A", (49,), (8, 44)),
)
DISSOLVE = Transition("dissolve", 13)
WIPE = Transition("wipe", 8, way="left")


def joined(plan: Plan, *joints: Transition) -> Plan:
    """The plan with these transitions between its shots."""
    cut = list(plan.cut)
    for index, joint in enumerate(joints):
        cut[index] = replace(cut[index], out=joint)
        held = max(0, joint.before - cut[index + 1].start)
        cut[index + 1] = replace(cut[index + 1], into=joint, hold=held)
    return replace(plan, cut=tuple(cut))


def contents(plan: Plan, without: str = "") -> Contents:
    media = {name: each for name, each in masters(plan).items() if each.shot != without}
    missing = {without: "segment 1B/1 failed"} if without else {}
    return Contents(plan, media, missing, START, {})


PLANS = {
    "cuts": plan_of(SHOTS),
    "transitions": joined(plan_of(SHOTS), DISSOLVE, Transition(), WIPE),
    "chained": joined(plan_of(SHOTS), DISSOLVE, DISSOLVE, DISSOLVE),
    "23.976": joined(plan_of(SHOTS, Fraction(24000, 1001)), DISSOLVE),
    "25": joined(plan_of(SHOTS, Fraction(25)), DISSOLVE),
    "repeats": replace(
        plan_of(SHOTS), cut=(*plan_of(SHOTS).cut, plan_of(SHOTS).cut[0], plan_of(SHOTS).cut[0])
    ),
}


@pytest.mark.parametrize("form", ["otio", "xml", "edl"])
@pytest.mark.parametrize("name", PLANS)
def test_every_form_reads_back_with_the_films_frames(name: str, form: str) -> None:
    film = contents(PLANS[name])
    text = timeline_text(film, form)  # type: ignore[arg-type]
    check_timeline(text, film, form)  # type: ignore[arg-type]
    options = {"rate": float(film.plan.fps)} if form == "edl" else {}
    adapter = {"otio": "otio_json", "xml": "fcp_xml", "edl": "cmx_3600"}[form]
    track = otio.adapters.read_from_string(text, adapter, **options).tracks[0]
    frames = sum(round(i.duration().value) for i in track if isinstance(i, otio.core.Item))
    assert frames == film.plan.frames


@pytest.mark.parametrize("missing", ["1A", "1B", "2A"])
@pytest.mark.parametrize("form", ["otio", "xml", "edl"])
def test_a_missing_shot_is_a_gap_of_its_length(missing: str, form: str) -> None:
    film = contents(PLANS["cuts"], missing)
    check_timeline(timeline_text(film, form), film, form)  # type: ignore[arg-type]


def test_otio_has_handles_markers_transitions_and_what_each_clip_was_made_from() -> None:
    plan = PLANS["transitions"]
    recipe = plan.take("1A", 1).segments[0].recipe
    film = replace(contents(plan), keys={recipe: "k1"})
    timeline = otio.adapters.read_from_string(timeline_text(film, "otio"), "otio_json")
    assert timeline.global_start_time.value == START
    clip, dissolve, *_ = timeline.tracks[0]
    assert clip.media_reference.target_url == "shots/1A.mov"
    assert clip.available_range().duration.value == 97
    assert (clip.source_range.start_time.value, clip.source_range.duration.value) == (12, 72)
    assert [m.name for m in clip.markers] == ["1: a swan"]
    assert clip.metadata["storyflow"]["shot"] == "1A"
    assert list(clip.metadata["storyflow"]["keys"]) == ["k1"]
    assert list(clip.metadata["storyflow"]["prompts"]) == ["a swan, 1A"]
    assert (dissolve.in_offset.value, dissolve.out_offset.value) == (6, 7)
    wipe = timeline.tracks[0][-2]
    assert (wipe.name, wipe.transition_type) == ("Wipe left", "Custom_Transition")


def test_fades_are_transitions_in_otio_and_markers_elsewhere() -> None:
    plan = PLANS["cuts"]
    first, *rest, last = plan.cut
    first = replace(first, into=Transition("fade", 24), out=Transition("fade", 12, "white"))
    plan = replace(plan, cut=(first, *rest, replace(last, out=Transition("fade", 20))))
    film = contents(plan)
    track = otio.adapters.read_from_string(timeline_text(film, "otio"), "otio_json").tracks[0]
    fades = [i for i in track if isinstance(i, otio.schema.Transition)]
    assert [(f.name, f.in_offset.value, f.out_offset.value) for f in fades] == [
        ("Fade in black", 0, 24),
        ("Fade out white", 12, 0),
        ("Fade out black", 20, 0),
    ]
    assert "fade in black" in timeline_text(film, "xml")
    assert "FADE OUT WHITE" in timeline_text(film, "edl")
    for form in ("otio", "xml", "edl"):
        check_timeline(timeline_text(film, form), film, form)  # type: ignore[arg-type]


def test_the_edl_counts_from_the_films_timecode() -> None:
    text = timeline_text(contents(PLANS["cuts"]), "edl")
    assert "00:00:00:12 00:00:03:12 01:00:00:00 01:00:03:00" in text


def test_a_timeline_that_reads_back_differently_is_refused() -> None:
    film = contents(PLANS["cuts"])
    text = timeline_text(contents(plan_of(SHOTS[:3])), "xml")
    with pytest.raises(CutError, match="nothing as piece 4"):
        check_timeline(text, film, "xml")


def test_three_files_lie_beside_the_film(tmp_path: Path) -> None:
    written = write_timelines(tmp_path, "film", contents(PLANS["transitions"]))
    assert [path.name for path in written] == ["film.otio", "film.xml", "film.edl"]
    assert sorted(tmp_path.iterdir()) == sorted(written)


def test_a_film_of_a_thousand_pieces_has_no_edl(tmp_path: Path) -> None:
    (tmp_path / "film.edl").write_text("another film")
    one = plan_of(SHOTS[:1])
    many = replace(one, cut=one.cut * 1000)
    written = write_timelines(tmp_path, "film", contents(many))
    assert [path.name for path in written] == ["film.otio", "film.xml"]
    assert not (tmp_path / "film.edl").exists()


def test_the_xml_sequence_has_the_pictures_size() -> None:
    from xml.etree import ElementTree

    film = contents(PLANS["cuts"])
    for size, found in ((None, "48x32"), (Size(1920, 1080), "1920x1080")):
        root = ElementTree.fromstring(timeline_text(replace(film, size=size), "xml"))
        (video,) = root.findall(".//sequence/media/video")
        picture = video.find("format/samplecharacteristics")
        assert picture is not None
        assert f"{picture.findtext('width')}x{picture.findtext('height')}" == found
        assert len(video.findall("format")) == 1
