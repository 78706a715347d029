"""Handed over, edited as an editing program would, brought back: the recut equals the edit."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import opentimelineio as otio
import pytest
from films import Studio

import storyflow
from storyflow.cli import app
from storyflow.cutlist import CutEvent, cut_path, read_cut
from storyflow.errors import Cancelled, InfrastructureError, InputError
from storyflow.ordering import order
from storyflow.storyboard.resolved import Transition
from storyflow.timeline.handed import Handed, read_handed, write_handed
from storyflow.timeline.handover import hand_over

FILM = """\
film: Round trip
handles: 12f
shots:
- {id: 1A, dur: 3s, do: a red circle rolls}
- {id: 1B, dur: 6s, do: a blue star hops, in: dissolve 12f}
- {id: 1C, dur: 3s, do: it rests}
- {id: 2A, dur: 3s, do: =night falls, out: fade 1s}
"""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    studio = Studio(tmp_path_factory.mktemp("film"), FILM)
    studio.render()
    storyflow.handover(studio.file, **studio.options)
    return studio


@pytest.fixture
def studio(rendered: Studio) -> Studio:
    """The rendered film, without a cut list."""
    cut_path(rendered.file).unlink(missing_ok=True)
    return rendered


def handover_folder(studio: Studio) -> Path:
    return studio.folder / "out" / "handover"


def events(studio: Studio) -> list[tuple[str, int, int]]:
    cut = read_cut(cut_path(studio.file))
    assert cut is not None
    return [(e.shot, e.start, e.stop) for e in cut.events]


def trimmed(clip: otio.schema.Clip, head: int, tail: int) -> otio.schema.Clip:
    """The same clip with so many frames less at its ends."""
    made = clip.clone()
    rate = clip.source_range.duration.rate
    made.source_range = otio.opentime.TimeRange(
        clip.source_range.start_time + otio.opentime.RationalTime(head, rate),
        clip.source_range.duration - otio.opentime.RationalTime(head + tail, rate),
    )
    for kind in ("storyflow", "cmx_3600"):
        made.metadata.pop(kind, None)
    return made


def edit(timeline: otio.schema.Timeline) -> otio.schema.Timeline:
    """Two shots trimmed, one dropped, two swapped, no transition left, as Resolve would write it.

    1A without its first 10 frames, 2A, 1C without its last 20; 1B is gone.
    """
    clips = {
        c.name.partition("_")[0]: c for c in timeline.tracks[0] if isinstance(c, otio.schema.Clip)
    }
    track = otio.schema.Track(name="V1", kind="Video")
    track.append(trimmed(clips["1A"], 10, 0))
    track.append(trimmed(clips["2A"], 0, 24))
    track.append(trimmed(clips["1C"], 0, 20))
    made = otio.schema.Timeline(name="Editor's cut")
    made.global_start_time = timeline.global_start_time
    made.tracks.append(track)
    return made


ADAPTERS = {"otio": "otio_json", "xml": "fcp_xml", "edl": "cmx_3600"}


def write(studio: Studio, timeline: otio.schema.Timeline, form: str) -> Path:
    path = handover_folder(studio) / f"edit.{form}"
    path.write_text(otio.adapters.write_to_string(timeline, ADAPTERS[form]))
    return path


def read(studio: Studio, form: str = "otio") -> otio.schema.Timeline:
    text = (handover_folder(studio) / f"film.{form}").read_text()
    return otio.adapters.read_from_string(text, ADAPTERS[form])


@pytest.mark.parametrize("form", ["otio", "xml", "edl"])
def test_the_recut_is_the_edit_and_nothing_is_rendered(studio: Studio, form: str) -> None:
    path = write(studio, edit(read(studio)), form)
    made = storyflow.conform(path, **studio.options)
    assert made.file == studio.folder / "film.cut.yaml"
    # The cut from 1A to 1B was the middle of a dissolve.
    assert events(studio) == [("1A", 10, 72), ("2A", 0, 48), ("1C", 0, 52)]
    recut = studio.render()
    assert recut.names == ()
    shown = [(shot["id"], shot["film"], shot["cut"][0]) for shot in recut.manifest["shots"]]
    assert [(id, film) for id, film, _ in shown] == [
        ("1A", [0, 62]),
        ("2A", [62, 110]),
        ("1C", [110, 162]),
    ]
    assert recut.manifest["frames"] == 162
    assert any("left out by the edit: 1B" in str(notice) for notice in made.plan.notices)


@pytest.mark.parametrize("form", ["otio", "xml", "edl"])
def test_a_timeline_that_nobody_touched_brings_the_same_film_back(
    studio: Studio, form: str
) -> None:
    before = studio.render().manifest
    made = storyflow.conform(handover_folder(studio) / f"film.{form}", **studio.options)
    after = studio.render()
    assert after.names == ()
    assert after.manifest["film"]["frames_sha256"] == before["film"]["frames_sha256"]
    kept = [note for note in made.notes if "fade out of 2A is kept" in note]
    assert len(kept) == (0 if form == "otio" else 1)


def test_the_films_own_timeline_can_be_edited_too(studio: Studio, tmp_path: Path) -> None:
    own = studio.folder / "out" / "film.otio"
    elsewhere = tmp_path / "film.otio"
    elsewhere.write_text(own.read_text())
    with pytest.raises(InputError, match="does not say which film"):
        storyflow.conform(elsewhere)
    storyflow.conform(own, address="in-process")
    cut = read_cut(cut_path(studio.file))
    assert cut is not None
    assert cut.events == (
        CutEvent("1A", 0, 72, 1),
        CutEvent("1B", 0, 144, 1, Transition("dissolve", 12)),
        CutEvent("1C", 0, 72, 1),
        CutEvent("2A", 0, 72, 1, out=Transition("fade", 24)),
    )


def test_frames_beyond_the_file_become_a_planned_extension(studio: Studio) -> None:
    timeline = read(studio)
    clip = next(c for c in timeline.tracks[0] if c.name.startswith("1C"))
    longer = trimmed(clip, 0, -200)
    track = otio.schema.Track(kind="Video")
    track.append(longer)
    made = otio.schema.Timeline("Longer")
    made.tracks.append(track)
    conformed = storyflow.conform(write(studio, made, "otio"), **studio.options)
    assert events(studio) == [("1C", 0, 272)]
    assert any(p.code == "extended" for p in conformed.plan.notices)
    before = storyflow.plan(studio.file, **{**studio.options, "edit": False})
    old = {s.recipe for s in before.segments}
    new = [s.name for s in conformed.plan.segments if s.recipe not in old]
    assert new and all(name.startswith("1C/") for name in new)


def test_pieces_may_repeat_and_dissolves_may_lie_anywhere(studio: Studio) -> None:
    timeline = read(studio)
    clips = {c.name[:2]: c for c in timeline.tracks[0] if isinstance(c, otio.schema.Clip)}
    track = otio.schema.Track(kind="Video")
    track.append(trimmed(clips["1C"], 0, 40))
    track.append(
        otio.schema.Transition(
            name="Cross Dissolve",
            transition_type="SMPTE_Dissolve",
            in_offset=otio.opentime.RationalTime(2, 24),
            out_offset=otio.opentime.RationalTime(8, 24),
        )
    )
    track.append(trimmed(clips["2A"], 20, 10))
    track.append(trimmed(clips["1C"], 30, 0))
    made = otio.schema.Timeline("Repeats")
    made.tracks.append(track)
    storyflow.conform(write(studio, made, "otio"), **studio.options)
    cut = read_cut(cut_path(studio.file))
    assert cut is not None
    assert cut.events == (
        CutEvent("1C", 0, 35, 1),
        CutEvent("2A", 23, 62, 1, Transition("dissolve", 10)),
        CutEvent("1C", 30, 72, 1),
    )


def test_every_take_is_one_file_with_handles_timecode_and_reel(studio: Studio) -> None:
    folder = handover_folder(studio)
    handed = read_handed(folder)
    assert handed is not None
    assert sorted(p.name for p in (folder / "media").iterdir()) == [
        f"{id}_t1_v001.mov" for id in ("1A", "1B", "1C", "2A")
    ]
    starts = set()
    for media in handed.media():
        with av.open(str(folder / media.url)) as container:
            video = container.streams.video[0]
            context = video.codec_context
            assert context.codec.canonical_name == "prores"
            assert context.profile == "HQ"
            assert [context.color_primaries, context.color_trc, context.colorspace] == [1, 1, 1]
            frames = sum(1 for _ in container.decode(video))
            labels = {k: v for s in container.streams for k, v in s.metadata.items()}
        assert frames == media.frames == -media.first + media.frames + media.first
        assert media.first == -12
        assert labels["reel_name"] == media.reel and len(media.reel) <= 8
        starts.add(labels["timecode"])
    assert starts == {f"01:0{n}:09:12" for n in range(4)}


def test_the_files_show_the_frames_that_were_rendered(studio: Studio) -> None:
    with av.open(str(studio.folder / "out" / "shots" / "1A.mov")) as container:
        master = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    with av.open(str(handover_folder(studio) / "media" / "1A_t1_v001.mov")) as container:
        frames = list(container.decode(video=0))
        handed = [f.to_ndarray(format="rgb24") for f in frames]
    assert len(handed) == len(master)
    error = np.abs(np.stack(handed).astype(int) - np.stack(master).astype(int))
    assert error.mean() < 3  # chroma is sampled at every second pixel


def test_an_unchanged_shot_keeps_its_version_and_a_changed_one_gets_the_next(
    tmp_path: Path,
) -> None:
    studio = Studio(tmp_path, FILM.replace("6s", "3s"))
    studio.render()
    first = storyflow.handover(studio.file, **studio.options)
    assert first.written == 4
    assert storyflow.handover(studio.file, **studio.options).written == 0
    studio.edit("it rests", "it sleeps")
    studio.render()
    again = storyflow.handover(studio.file, **studio.options)
    names = sorted(path.name for path in again.files)
    assert names == ["1A_t1_v001.mov", "1B_t1_v001.mov", "1C_t1_v002.mov", "2A_t1_v001.mov"]
    assert (tmp_path / "out/handover/media/1C_t1_v001.mov").is_file()
    studio.edit("it sleeps", "it rests")
    studio.render()
    back = storyflow.handover(studio.file, **studio.options)
    assert back.written == 0
    assert "1C_t1_v001.mov" in [path.name for path in back.files]
    # An edit of the older version is an edit of the shot.
    made = storyflow.conform(studio.folder / "out/handover/film.edl", **studio.options)
    assert [event.shot for event in made.cut.events] == ["1A", "1B", "1C", "2A"]


def test_a_trimmed_shot_keeps_its_version(studio: Studio) -> None:
    storyflow.conform(write(studio, edit(read(studio)), "otio"), **studio.options)
    made = storyflow.handover(studio.file, **studio.options)
    assert made.written == 0
    assert len(made.files) == 4
    timeline = read(studio)
    pieces = [c.name for c in timeline.tracks[0]]
    assert pieces == ["1A_t1_v001", "2A_t1_v001", "1C_t1_v001"]
    cut_path(studio.file).unlink()
    storyflow.handover(studio.file, **studio.options)


def test_the_shot_list_is_safe_and_whole(studio: Studio) -> None:
    text = (handover_folder(studio) / "shots.csv").read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(r["shot"], r["file"], r["film in"]) for r in rows][1] == (
        "1B", "1B_t1_v001.mov", "01:00:03:00"
    )  # fmt: skip
    assert rows[3]["do"] == "'=night falls"
    assert rows[1]["in"] == "dissolve 12f"
    stills = sorted(p.name for p in (handover_folder(studio) / "stills").iterdir())
    assert stills == [f"{id}_t1_v001.png" for id in ("1A", "1B", "1C", "2A")]


def test_timelines_of_a_hand_over_name_its_files_relatively(studio: Studio) -> None:
    for form in ("otio", "xml", "edl"):
        text = (handover_folder(studio) / f"film.{form}").read_text()
        assert "media/1C_t1_v001.mov" in text
        assert str(studio.folder) not in text
    assert re.search(r"\b1CT1\b", (handover_folder(studio) / "film.edl").read_text())


def spoilt(change: Callable[[str], str], form: str = "otio") -> Callable[[Studio], Path]:
    def make(studio: Studio) -> Path:
        path = handover_folder(studio) / f"broken.{form}"
        path.write_text(change((handover_folder(studio) / f"film.{form}").read_text()))
        return path

    return make


def nested(studio: Studio) -> Path:
    timeline = read(studio)
    stack = otio.schema.Stack("scene 1", children=[timeline.tracks[0].clone()])
    track = otio.schema.Track(kind="Video", children=[stack])
    made = otio.schema.Timeline("nested")
    made.tracks.append(track)
    return write(studio, made, "otio")


def named(name: str) -> Callable[[Studio], Path]:
    def make(studio: Studio) -> Path:
        path = handover_folder(studio) / name
        path.write_text("x")
        return path

    return make


BOMB = '<!DOCTYPE xmeml [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><xmeml version="4">&b;</xmeml>'


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (spoilt(lambda t: re.sub(r"(1A|1B|1C|2A)(_t|T)1", r"X\1", t)), "an edit of another film"),
        (spoilt(lambda t: re.sub("1C_t1_v001|1CT1", "LOGO", t)), "'LOGO' at 01:00:09:00"),
        (spoilt(lambda t: re.sub(r'"rate": ?24\.0', '"rate": 25.0', t)), "counts 25 frames"),
        (spoilt(lambda t: t[:5000]), "can't be read as OpenTimelineIO"),
        (spoilt(lambda t: "[" * 5000 + "]" * 5000), "can't be read|levels deep"),
        (spoilt(lambda t: '{"OTIO_SCHEMA": "Clip.1", "name": "x"}'), "holds no timeline"),
        (spoilt(lambda t: "[1, 2]"), "can't be read as OpenTimelineIO|no timeline"),
        (nested, "a sequence of its own, 'scene 1'"),
        (spoilt(lambda t: t[: len(t) // 2], "xml"), "can't be read as FCP7 XML"),
        (spoilt(lambda t: BOMB, "xml"), "entities of its own"),
        (spoilt(lambda t: "<fcpxml/>", "xml"), "no FCP7 XML, it begins with <fcpxml>"),
        (spoilt(lambda t: t.replace("<timebase>24<", "<timebase>25<"), "xml"), "counts 25 frames"),
        (spoilt(lambda t: "lorem ipsum", "edl"), "no event in this EDL"),
        (spoilt(lambda t: t.replace(" C ", " Q "), "edl"), "can't be read as CMX 3600"),
        (named("edit.fcpxml"), "no edit that can be read"),
        (lambda studio: studio.folder / "none.otio", "can't read"),
    ],
)  # fmt: skip
def test_what_cant_be_conformed_is_one_clear_error(
    studio: Studio, make: Callable[[Studio], Path], what: str
) -> None:
    with pytest.raises(InputError, match=what) as caught:
        storyflow.conform(make(studio), studio.file, **studio.options)
    assert "\n" not in str(caught.value)
    assert not cut_path(studio.file).exists()


def test_media_of_other_films_can_be_left_out(studio: Studio) -> None:
    path = spoilt(lambda t: re.sub("1C_t1_v001|1CT1", "LOGO", t))(studio)
    made = storyflow.conform(path, skip_unknown=True, **studio.options)
    assert [event.shot for event in made.cut.events] == ["1A", "1B", "2A"]
    assert any("'LOGO' is not of this film, and left out" in note for note in made.notes)


def test_what_a_film_cant_show_is_told_line_by_line(studio: Studio) -> None:
    timeline = read(studio)
    clips = [trimmed(c, 0, 0) for c in timeline.tracks[0] if isinstance(c, otio.schema.Clip)]
    clips[0].effects.append(otio.schema.LinearTimeWarp(time_scalar=2.0))
    clips[1].effects.append(otio.schema.Effect(effect_name="Gaussian Blur"))
    rate = otio.opentime.RationalTime
    gap = otio.schema.Gap(source_range=otio.opentime.TimeRange(rate(0, 24), rate(24, 24)))
    push = otio.schema.Transition(
        name="Push",
        transition_type="Custom_Transition",
        in_offset=rate(6, 24),
        out_offset=rate(6, 24),
    )
    made = otio.schema.Timeline("Much")
    made.global_start_time = rate(86400, 24)
    pictures = otio.schema.Track("V1", children=[clips[0], push, clips[1], gap, clips[2]])
    sound = otio.schema.Track("A1", kind="Audio", children=[clips[3]])
    made.tracks.extend([pictures, sound])
    told = "\n".join(storyflow.conform(write(studio, made, "otio"), **studio.options).notes)
    for line in (
        "01:00:00:00: the speed change '",
        "01:00:03:00: the effect 'Gaussian Blur'",
        "the transition 'Push' becomes a cut",
        "01:00:09:00: 24 frames of black are left out",
        "1 clips of sound are left out",
    ):
        assert line in told
    assert events(studio) == [("1A", 0, 72), ("1B", 0, 144), ("1C", 0, 72)]


def test_the_commands_say_what_they_wrote(
    studio: Studio, capsys: pytest.CaptureFixture[str]
) -> None:
    app(["handover", str(studio.folder / "out")], standalone_mode=False)
    assert "0 takes written, 4 unchanged" in capsys.readouterr().out
    path = write(studio, edit(read(studio)), "xml")
    app(["conform", str(path)], standalone_mode=False)
    told = capsys.readouterr().out
    assert "not in cut, left out by the edit: 1B" in told
    assert "film.cut.yaml: 3 pieces, 162 frames" in told
    app(["plan", str(studio.file), "--pipeline", "slate"], standalone_mode=False)
    assert "follows this cut list" in " ".join(capsys.readouterr().out.split())


def test_what_is_cut_off_leaves_the_folder_as_it_was_and_goes_on(studio: Studio) -> None:
    folder = handover_folder(studio)
    storyflow.handover(studio.file, **studio.options)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    frames = iter(range(150))

    def check() -> None:
        if next(frames, None) is None:
            raise Cancelled("stopped")

    larger = {**studio.options, "settings": (*studio.options["settings"], "deliver.scale=2")}
    with pytest.raises(Cancelled):
        hand_over(order(studio.file, **larger), folder, check=check)
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    new = {path.name for path in after.keys() - before.keys()}
    assert new == {"1A_t1_v002.mov"}
    same = {path for path in before if path.name != "handover.json"}
    assert all(after[path] == before[path] for path in same)
    assert hand_over(order(studio.file, **larger), folder).written == 3
    assert storyflow.handover(studio.file, **studio.options).written == 0


def test_a_folder_of_another_film_or_without_room_is_refused(
    studio: Studio, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match="can't write to the folder"):
        storyflow.handover(studio.file, to=tmp_path / "file" / "x", **studio.options)
    write_handed(tmp_path, Handed("Another", "24"))
    with pytest.raises(InputError, match="holds the film 'Another'"):
        storyflow.handover(studio.file, to=tmp_path, **studio.options)
    with pytest.raises(InputError, match="dnxhr holds no pictures of 96x64"):
        storyflow.handover(studio.file, to=tmp_path / "new", format="dnxhr", **studio.options)
