"""What lies in the folder after a cut: formats, labels, chapters, poster; what is refused."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from cutting import SIZE, Sketch, plan_of
from numpy.typing import NDArray
from PIL import Image
from test_cut_film import Film

from storyflow.cutting import hls
from storyflow.cutting.assemble import CutReport
from storyflow.cutting.check import check_film
from storyflow.cutting.coding import further_codings
from storyflow.cutting.deliverable import refuse_delivery
from storyflow.cutting.label import Chapter, label_of
from storyflow.cutting.manifest import make_manifest
from storyflow.errors import CutError, ProfileError
from storyflow.pipeline import DeliverSection
from storyflow.planning.nodes import Plan
from storyflow.store.clip import iter_clip
from storyflow.timing import Size, parse_duration

SHOTS = (Sketch("1A"), Sketch("1B", (9,), (2, 9)), Sketch("2A", (9, 8, 4), (3, 20)))
FRAMES = 14 + 7 + 17


def scened(plan: Plan, scenes: tuple[int, ...], headings: tuple[str | None, ...]) -> Plan:
    takes = tuple(
        replace(take, shot=replace(take.shot, scene=scene))
        for take, scene in zip(plan.takes, scenes, strict=True)
    )
    return replace(plan, takes=takes, scenes=headings, about="A swan, twice.")


def section(**fields: object) -> DeliverSection:
    return DeliverSection.model_validate({"preset": "ultrafast", **fields})


EVERY = ("h265", "prores", "dnxhr", "ffv1", "hls")


@dataclass(frozen=True)
class Made:
    film: Film
    report: CutReport

    @property
    def folder(self) -> Path:
        return self.film.folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A film with two scenes at 23.976, delivered in every format there is."""
    plan = scened(plan_of(SHOTS, Fraction(24000, 1001)), (0, 0, 1), ("INT. LAKE - DAY", None))
    film = Film(tmp_path_factory.mktemp("film"), plan)
    # The smallest that DNxHR takes.
    return Made(film, film.cut(section(size="256x120", crf=4, formats=EVERY)))


FILES = [
    ("film.mp4", "h264", "avc1", "yuv420p", 24),
    ("film.h265.mp4", "hevc", "hvc1", "yuv420p", 24),
    ("film.prores.mov", "prores", "apch", "yuv422p10le", 6),
    ("film.dnxhr.mov", "dnxhd", "AVdh", "yuv422p", 6),
    ("film.ffv1.mkv", "ffv1", None, "yuv444p10le", 0),
]


@pytest.mark.parametrize("row", FILES, ids=lambda row: row[0])
def test_every_file_holds_the_film_in_bt709_at_the_exact_rate(
    made: Made, row: tuple[str, str, str | None, str, int]
) -> None:
    name, codec, tag, pixels, _ = row
    path = made.folder / name
    check_film(path, FRAMES, Fraction(24000, 1001), Size(256, 120), codec=codec)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert context.pix_fmt == pixels
        assert tag is None or context.codec_tag == tag
        assert stream.average_rate == Fraction(24000, 1001)
        assert sum(1 for _ in container.decode(stream)) == FRAMES
        assert container.metadata["title"] == "Test film"


@pytest.mark.parametrize("row", FILES, ids=lambda row: row[0])
def test_every_file_shows_the_colours_that_were_rendered(
    made: Made, row: tuple[str, str, str | None, str, int]
) -> None:
    shown, truth = stored(made.folder / row[0]), stored(made.folder / "film.ffv1.mkv")
    # Ten bits: four steps are one of eight.
    assert np.abs(shown.mean((0, 1)) - truth.mean((0, 1))).max() < 2
    assert np.abs(shown - truth).mean() <= row[4]


def stored(path: Path) -> NDArray[np.float64]:
    """The first picture's Y, Cb and Cr as they are in the file, in ten bits and at full size.

    Not as RGB: ffmpeg's quick way from ten bits of 4:2:2 to that is up to two levels too dark.
    """
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0)).reformat(format="yuv444p16le")
        return frame.to_ndarray().astype(np.float64) / 64


def test_the_archive_gives_back_every_picture_bit_for_bit(tmp_path: Path) -> None:
    film = Film(tmp_path, plan_of([Sketch("1A", (9,), (0, 9))]))
    film.cut(section(formats=["ffv1"]))
    with av.open(str(film.folder / "film.ffv1.mkv")) as container:
        shown = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert np.array_equal(np.stack(shown), np.stack(list(iter_clip(film.master("1A")))))


def test_ten_bits_of_yuv_hold_every_colour_of_eight_bits_of_rgb(tmp_path: Path) -> None:
    """Corners and a random sample; the exactness that the archive rests on."""
    from storyflow.cutting.encoders import _Bt709

    colours = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    colours[0, :8] = [[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)]
    frame = _Bt709("yuv444p10le").frame(colours)
    assert np.array_equal(frame.to_ndarray(format="rgb24"), colours)


def test_hls_is_the_film_in_pieces_named_relatively(made: Made) -> None:
    playlist = made.folder / "film.hls" / "film.m3u8"
    lines = playlist.read_text().splitlines()
    assert lines[0] == "#EXTM3U" and lines[-1] == "#EXT-X-ENDLIST"
    names = [line for line in lines if not line.startswith("#")]
    assert all((playlist.parent / name).is_file() and "/" not in name for name in names)
    length = sum(float(line[8:-1]) for line in lines if line.startswith("#EXTINF:"))
    assert abs(length - FRAMES * 1001 / 24000) < 1e-3
    with av.open(str(playlist)) as pieces, av.open(str(made.folder / "film.mp4")) as film:
        shown = [f.to_ndarray() for f in pieces.decode(video=0)]
        whole = [f.to_ndarray() for f in film.decode(video=0)]
    assert np.array_equal(np.stack(shown), np.stack(whole))


def test_a_film_longer_than_a_piece_has_several(tmp_path: Path) -> None:
    film = Film(tmp_path, plan_of([Sketch("1A", (121,), (0, 121)), Sketch("1B", (121,), (0, 121))]))
    report = film.cut(section(formats=["hls"]))
    assert [other.path for other in report.others] == [film.folder / "film.hls" / "film.m3u8"]
    assert len(list((film.folder / "film.hls").glob("*.m4s"))) >= 2
    film.cut(section(formats=["hls"]))
    assert not list(film.folder.glob(".*")), "the older folder is replaced, nothing is left over"


@pytest.mark.parametrize("name", ["film.mp4", "film.h265.mp4", "film.prores.mov", "film.dnxhr.mov"])
def test_chapters_are_scenes_to_the_frame(made: Made, name: str) -> None:
    with av.open(str(made.folder / name)) as container:
        chapters = container.chapters()
        assert [c["metadata"]["title"] for c in chapters] == ["INT. LAKE - DAY", "Scene 2"]
        text = next(s for s in container.streams if s.type == "subtitle")
        spans = [(p.pts, p.duration) for p in container.demux(text) if p.size]
        assert text.time_base == Fraction(1, 24000)
    assert spans == [(0, 21 * 1001), (21 * 1001, 17 * 1001)]


@pytest.mark.parametrize("name", ["film.mp4", "film.prores.mov", "film.dnxhr.mov"])
def test_films_begin_at_hour_one(made: Made, name: str) -> None:
    with av.open(str(made.folder / name)) as container:
        assert container.streams.video[0].metadata["timecode"] == "01:00:00:00"


def test_what_the_film_is_about_is_its_description(made: Made) -> None:
    with av.open(str(made.folder / "film.mp4")) as container:
        assert container.metadata["description"] == "A swan, twice."


def test_the_films_index_comes_before_its_pictures(made: Made) -> None:
    data = (made.folder / "film.mp4").read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


def test_the_manifest_names_what_was_delivered(made: Made) -> None:
    manifest = make_manifest(made.film.plan, made.film.artifacts, frozenset(), (), made.report)
    assert manifest.film is not None
    assert manifest.film.poster == "film.jpg"
    assert manifest.film.timecode == "01:00:00:00"
    assert {other.format: other.file for other in manifest.film.others} == {
        "h265": "film.h265.mp4",
        "prores": "film.prores.mov",
        "dnxhr": "film.dnxhr.mov",
        "ffv1": "film.ffv1.mkv",
        "hls": "film.hls/film.m3u8",
    }


def test_a_film_of_one_scene_has_no_chapters() -> None:
    assert label_of(plan_of(SHOTS), section()).chapters == ()


def test_a_scene_that_the_cut_comes_back_to_has_a_chapter_each_time() -> None:
    plan = scened(plan_of(SHOTS), (0, 1, 0), ("EXT. A", "EXT. B"))
    assert label_of(plan, section()).chapters == (
        Chapter("EXT. A", 0, 14), Chapter("EXT. B", 14, 21), Chapter("EXT. A", 21, 38)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("poster", "frame"), [(None, 7), ("0f", 0), ("1s", 24), ("37f", 37)], ids=str
)
def test_the_poster_is_the_middle_of_the_first_shot_or_the_time_that_is_named(
    tmp_path: Path, poster: str | None, frame: int
) -> None:
    film = Film(tmp_path, plan_of(SHOTS))
    report = film.cut(section(poster=poster))
    shown = [
        picture
        for shot, (start, stop) in (("1A", (0, 14)), ("1B", (2, 9)), ("2A", (3, 20)))
        for picture in list(iter_clip(film.master(shot)))[start:stop]
    ]
    assert report.poster == film.folder / "film.jpg"
    seen = np.asarray(Image.open(report.poster)).astype(int)
    apart = [np.abs(seen - picture).mean() for picture in shown]
    assert int(np.argmin(apart)) == frame


def test_a_partial_film_is_delivered_as_h264_alone(tmp_path: Path) -> None:
    film = Film(tmp_path, plan_of(SHOTS), without=frozenset({"1B"}))
    report = film.cut(section(formats=["prores", "hls"]), _1B="lost")
    assert report.others == ()
    names = {path.name for path in film.folder.iterdir()}
    assert names == {"film.partial.mp4", "film.partial.jpg", "shots"}


def test_a_film_cut_twice_has_equal_bytes_in_every_format(tmp_path: Path) -> None:
    film = Film(tmp_path, plan_of([Sketch("1A", (9,), (0, 9))], size=Size(64, 32)))
    deliver = section(formats=["h265", "prores", "ffv1"])

    def files() -> dict[str, bytes]:
        film.cut(deliver)
        # Matroska files carry a random number as their name.
        kept = (path for path in film.folder.glob("film.*") if path.suffix != ".mkv")
        return {path.name: path.read_bytes() for path in kept}

    first = files()
    assert set(first) == {"film.mp4", "film.jpg", "film.h265.mp4", "film.prores.mov"}
    assert files() == first


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"formats": ["dnxhr"]}, "deliver.formats: dnxhr takes pictures of 256x120 or more"),
        ({"timecode": "24:00:00:00"}, "deliver.timecode: no timecode of 24 frames a second"),
        ({"timecode": "01:00:00:24"}, "frames to 23"),
        ({"poster": "2s"}, "deliver.poster: the film ends at 00:00:01:14"),
    ],
    ids=["too small", "too late a day", "too many frames", "poster after the end"],
)
def test_what_can_not_be_delivered_is_refused_before_anything_is_rendered(
    fields: dict[str, object], said: str
) -> None:
    with pytest.raises(ProfileError) as refused:
        refuse_delivery(plan_of(SHOTS), section(**fields))
    assert said in str(refused.value)


def test_a_format_that_is_named_twice_is_one_file() -> None:
    codings = further_codings(section(formats=["prores", "hls", "prores"]))
    assert [coding.name for coding in codings] == ["prores"]


def test_a_delivery_that_can_be_is_let_through() -> None:
    deliver = section(formats=EVERY, size="1280x720", poster="1s", timecode="23:59:59:23")
    refuse_delivery(plan_of(SHOTS), deliver)
    assert deliver.poster == parse_duration("1s")


def test_a_file_that_another_format_can_not_write_leaves_all_old_ones(tmp_path: Path) -> None:
    film = Film(tmp_path, plan_of(SHOTS))
    film.cut(section(formats=["prores"]))
    before = {path: path.read_bytes() for path in film.folder.glob("film.*")}
    with pytest.raises(CutError, match=r"dnxhr encoder refused 48x32 .*film\.dnxhr\.mov"):
        film.cut(section(crf=30, formats=["prores", "dnxhr"]))
    assert {path: path.read_bytes() for path in film.folder.glob("film.*")} == before
    assert not list(film.folder.glob(".*"))


def test_an_hls_folder_that_fails_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = Film(tmp_path, plan_of(SHOTS))
    film.cut(section(formats=["hls"]))
    kept = {path: path.read_bytes() for path in film.folder.rglob("*") if path.is_file()}

    def break_off(*_: object) -> None:
        raise CutError("broken off")

    monkeypatch.setattr(hls, "_check", break_off)
    with pytest.raises(CutError, match="broken off"):
        film.cut(section(crf=40, formats=["hls"]))
    after = {path: path.read_bytes() for path in film.folder.rglob("*") if path.is_file()}
    assert after == kept


def test_the_check_of_a_matroska_file_sees_a_frame_that_is_late(tmp_path: Path) -> None:
    film = Film(tmp_path, plan_of(SHOTS))
    film.cut(section(formats=["ffv1"]))
    path = film.folder / "film.ffv1.mkv"
    check_film(path, FRAMES, Fraction(24), SIZE, codec="ffv1")
    late = tmp_path / "late.mkv"
    with av.open(str(path)) as source, av.open(str(late), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(source.streams.video[0])):
            if packet.size:
                packet.stream = stream
                packet.pts = packet.dts = (packet.pts or 0) + 2 * (number == 20)
                target.mux(packet)
    with pytest.raises(CutError, match="has time of frame 20"):
        check_film(late, FRAMES, Fraction(24), SIZE, codec="ffv1")


def test_a_truncated_delivery_is_noticed(made: Made, tmp_path: Path) -> None:
    copy = tmp_path / "film.mp4"
    copy.write_bytes((made.folder / "film.mp4").read_bytes())
    os.truncate(copy, copy.stat().st_size // 2)
    with pytest.raises(CutError, match=r"just written \(.*film\.mp4\) has frames"):
        check_film(copy, FRAMES, Fraction(24000, 1001), Size(256, 120))
