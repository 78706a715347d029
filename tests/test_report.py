"""A film's report: what it says, that it trusts no text, and that it looks only at what changed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from films import SMALL, Studio
from PIL import Image
from reported import HOSTILE, long_film, reported

import storyflow
from storyflow.cutting.manifest import read_manifest
from storyflow.cutting.masters import tag_of
from storyflow.errors import CutError, InputError
from storyflow.events import Notice
from storyflow.filmfolder import film_folder
from storyflow.qc.filed import series_path, write_quality, write_series
from storyflow.qc.series import NAMES, Series
from storyflow.qc.verdicts import Quality, TakeQuality, Verdict
from storyflow.reporting import gather, remembered, write
from storyflow.reporting.curves import Line, Stretch, panels, seam_ratios
from storyflow.reporting.facts import Words
from storyflow.reporting.look import Samples, fit_into
from storyflow.reporting.page import page
from storyflow.reporting.sheet import contact_sheet
from storyflow.reporting.words import differences
from storyflow.timing import Size


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reported(tmp_path_factory)


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "out"))


class Tags(HTMLParser):
    """Every tag with its attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in self.inside and data.strip():
            self.inside[self.tags[-1][0]].append(data)


def data_of(text: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


def test_a_run_leaves_a_report_and_a_contact_sheet_beside_the_film(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    assert 'src="film.partial.mp4"' in text
    assert "partial: 1 of 4 shots missing" in text
    manifest = read_manifest(folder / "film.json")
    for segment in manifest.shots[0].segments:
        assert segment.key in text and str(segment.seed) in text
    assert "2B/1" in text and "as scripted" in text
    assert "EXT. SHORE - DUSK" in text and "Is it out?" in text
    for name, kind in (("contact.png", "PNG"), ("contact.jpg", "JPEG")):
        with Image.open(folder / name) as sheet:
            assert sheet.format == kind and sheet.width > 900
    assert not list(folder.glob(".*.part"))


def test_shots_seams_beats_titles_and_transitions_are_marked_at_their_frames(folder: Path) -> None:
    data = data_of((folder / "report.html").read_text())
    assert [(s["id"], s["start"], s["stop"], s["missing"]) for s in data["shots"]] == [
        ("1A", 0, 72, False),
        ("1B", 72, 288, False),
        ("2A", 288, 336, False),
        ("2B", 336, 384, True),
    ]
    assert data["titles"] == [[24, 48, "ONE"]]
    assert data["blends"] == [[0, 24, "fade through black"], [60, 84, "dissolve"]]
    (beat,) = data["beats"]
    assert {"frame": beat, "kind": "beat"} in data["seams"]
    assert {seam["kind"] for seam in data["seams"]} == {"beat", "segment"}
    names = [panel["name"] for panel in data["panels"]]
    assert names == ["Brightness", "Colour", "Sharpness", "Motion", "Seam ratio"]


def test_no_text_of_a_storyboard_becomes_markup(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    found = Tags(text)
    assert HOSTILE not in text
    assert [tag for tag, _ in found.tags].count("script") == 2
    assert not [a for tag, a in found.tags if tag == "b" and a]
    for tag, attributes in found.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
        assert attributes.get("src") in (None, "film.partial.mp4")
    assert "A &lt;b&gt;report&lt;/b&gt;" in text


def test_the_page_allows_only_its_own_style_and_script(folder: Path) -> None:
    found = Tags((folder / "report.html").read_text())
    (policy,) = [a["content"] for _, a in found.tags if a.get("http-equiv")]
    assert policy is not None and policy.startswith("default-src 'none'")
    for what in (found.inside["style"][0], found.inside["script"][1]):
        sha = base64.b64encode(hashlib.sha256(what.encode()).digest()).decode()
        assert f"'sha256-{sha}'" in policy
    assert "unsafe" not in policy and "http" not in policy


def test_takes_are_copied_small_and_forgotten_with_their_shot(copied: Path) -> None:
    assert sorted(p.name for p in (copied / "takes").iterdir()) == ["1B.2.mp4", "1B.mp4"]
    assert tag_of(copied / "takes" / "1B.mp4") == tag_of(copied / "shots" / "1B.mov")
    manifest = json.loads((copied / "film.json").read_text())
    manifest["others"] = []
    (copied / "film.json").write_text(json.dumps(manifest))
    storyflow.report(copied)
    assert not (copied / "takes").exists()


def test_a_report_looks_again_only_at_what_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    plain = remembered.look_at

    def counted(master: Path, *rest: object) -> object:
        looked.append(master.stem)
        return plain(master, *rest)

    monkeypatch.setattr(remembered, "look_at", counted)
    studio = Studio(tmp_path, "film: F\nshots:\n- {id: 1A, dur: 2s, do: a}\n- {dur: 2s, do: b}\n")
    settings = (*SMALL, "deliver.report=true")
    studio.render(settings=settings)
    assert len(looked) == 2
    looked.clear()
    studio.render(settings=settings)
    assert looked == []
    studio.edit("do: a", "do: c")
    studio.render(settings=settings)
    assert looked == ["1A"]


def test_two_pieces_of_one_master_are_each_looked_at_once(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = json.loads((copied / "film.json").read_text())
    first, second = (dict(manifest["shots"][1]) for _ in range(2))
    start, stop = first["cut"]
    first |= {"cut": [start, start + 100], "film": [72, 172]}
    second |= {"cut": [start + 100, stop], "film": [172, 288]}
    manifest["shots"][1:2] = [first, second]
    (copied / "film.json").write_text(json.dumps(manifest))
    storyflow.report(copied)
    shots = data_of((copied / "report.html").read_text())["shots"]
    assert [(s["id"], s["start"]) for s in shots[1:3]] == [("1B", 72), ("1B", 172)]
    monkeypatch.setattr(remembered, "look_at", None)
    storyflow.report(copied)


def test_what_keeps_a_report_from_being_written_is_told_and_the_film_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise CutError("the disk is full", cure="make room")

    monkeypatch.setattr(write, "write_report", refused)
    studio = Studio(tmp_path, "film: F\nshots:\n- {id: 1A, dur: 2s, do: a}\n")
    made = studio.render(settings=(*SMALL, "deliver.report=true"))
    assert made.result.complete and made.result.exit_code == 0
    (line,) = [e.text for e in made.events if isinstance(e, Notice) and "report" in e.text]
    assert line == "no report was written: the disk is full; make room"


def test_a_master_that_cannot_be_read_is_said_in_its_shot(copied: Path) -> None:
    (copied / "shots" / "1A.mov").write_bytes(b"no film")
    (copied / "shots" / "2A.mov").unlink()
    storyflow.report(copied)
    text = (copied / "report.html").read_text()
    assert "1A.mov isn&#39;t there or can&#39;t be read" in text
    assert "2A.mov isn&#39;t there or can&#39;t be read" in text


def quality_of(folder: Path, tag: str) -> Quality:
    verdict = Verdict("freeze", "fail", 9.0, 4.0, "nothing moves", "1A", 1, frame=20)
    take = TakeQuality("1A", 1, tag, 97, "fail", (), None, None, (verdict,))
    film = Verdict("cuts", "warn", 1.0, 0.0, "a cut too many")
    return Quality(
        title="F", pipeline="slate", limits="x", level="fail", takes=(take,), verdicts=(film,)
    )


def test_findings_are_shown_where_they_are_of_this_version_of_a_shot(copied: Path) -> None:
    tag = tag_of(copied / "shots" / "1A.mov")
    assert tag is not None
    write_quality(copied / "qc.json", quality_of(copied, tag))
    storyflow.report(copied)
    data = data_of((copied / "report.html").read_text())
    assert data["shots"][0]["level"] == "fail"
    (remark,) = data["remarks"]
    assert remark[1:] == ["fail", "nothing moves"]
    assert remark[0] == 20 - read_manifest(copied / "film.json").shots[0].cut[0]
    assert "a cut too many" in (copied / "report.html").read_text()
    write_quality(copied / "qc.json", quality_of(copied, "another"))
    storyflow.report(copied)
    assert data_of((copied / "report.html").read_text())["shots"][0]["level"] == "pass"


def test_measured_series_are_drawn_in_place_of_samples(copied: Path) -> None:
    master = copied / "shots" / "1A.mov"
    tag = tag_of(master)
    assert tag is not None
    count = read_manifest(copied / "film.json").shots[0].frames
    values = np.linspace(0, 50, count, dtype=np.float32)
    write_series(series_path(copied, master), Series(*(values for _ in NAMES)), tag)
    facts = gather.gather(copied)
    brightness = facts.panels[0].lines[0]
    assert np.isfinite(unpacked(brightness)[:72]).all()
    assert facts.measured.startswith("Every frame of 1 shots")


def unpacked(line: Line) -> np.ndarray:
    raw = np.frombuffer(base64.b64decode(line.data), "<u2").astype(float)
    values = line.low + raw / 65534 * (line.high - line.low)
    values[raw == 65535] = np.nan
    return values


def test_curves_lie_where_the_film_shows_their_frames() -> None:
    luma = tuple(float(n) for n in range(10))
    known = Samples(tuple(range(10)), luma, luma, luma, luma, luma, (None, *luma[1:]))
    (brightness, *_, motion, ratio) = panels([Stretch(3, 2, 7, known, (5,))], 12)
    values = unpacked(brightness.lines[0])
    assert np.isnan(values[:3]).all() and np.isnan(values[8:]).all()
    np.testing.assert_allclose(values[3:8], [2, 3, 4, 5, 6], atol=1e-3)
    # The mean over four frames, once four are known.
    np.testing.assert_allclose(unpacked(motion.lines[0])[6:8], [3.5, 4.5], atol=1e-3)
    assert np.flatnonzero(np.isfinite(unpacked(ratio.lines[0]))).tolist() == [6]


def test_a_seam_ratio_is_the_motion_over_the_median_around_it() -> None:
    motion = (None, 1.0, 2.0, 1.0, 8.0, 2.0, 1.0)
    zeros = (0.0,) * 7
    known = Samples(tuple(range(7)), zeros, zeros, zeros, zeros, zeros, motion)
    assert seam_ratios(Stretch(0, 0, 7, known, (4,))) == {4: pytest.approx(8.0)}
    assert seam_ratios(Stretch(0, 0, 7, None, (4,))) == {}
    still = replace(known, motion=(None, 0.0, 0.0, 0.0, 0.3, 0.0, 0.0))
    assert seam_ratios(Stretch(0, 0, 7, still, (4,))) == {4: pytest.approx(2.0)}


def test_a_contact_sheet_of_300_shots_stays_a_picture_that_opens(folder: Path) -> None:
    facts = long_film(gather.gather(folder), 300)
    sheet = contact_sheet(facts)
    assert 3000 < sheet.width < 6000 and 2000 < sheet.height < 6000
    one = contact_sheet(replace(facts, shots=facts.shots[:1]))
    assert one.width < 700


@pytest.mark.parametrize(
    ("before", "after", "pieces"),
    [
        ("", "a ball", [("a ball", False)]),
        ("a ball", "a ball", [("a ball", False)]),
        ("a red ball", "a blue ball", [("a ", False), ("blue", True), (" ball", False)]),
        ("a ball", "", []),
        ("it hops", "it turns to the left", [("it ", False), ("turns to the left", True)]),
    ],
)
def test_a_beat_is_marked_where_the_one_before_differs(
    before: str, after: str, pieces: list[tuple[str, bool]]
) -> None:
    assert differences(before, after) == tuple(Words(*piece) for piece in pieces)


@pytest.mark.parametrize(
    ("size", "fitted"),
    [(Size(96, 64), (96, 64)), (Size(960, 544), (240, 136)), (Size(272, 480), (136, 240))],
)
def test_pictures_are_made_smaller_never_larger(size: Size, fitted: tuple[int, int]) -> None:
    assert fit_into(size, Size(240, 240)) == fitted


def test_a_film_is_found_by_its_folder_a_file_in_it_or_its_storyboard(
    folder: Path, tmp_path: Path
) -> None:
    assert film_folder(folder) == folder
    assert film_folder(folder / "film.json") == folder
    assert film_folder("board.yaml", folder) == folder
    with pytest.raises(InputError, match=r"no film in .*; render it first"):
        film_folder(tmp_path)
    with pytest.raises(InputError, match=r"renders/board"):
        storyflow.report("board.yaml")


def test_a_film_of_one_shot_has_a_report(tmp_path: Path) -> None:
    studio = Studio(tmp_path, "film: F\nshots:\n- a swan\n")
    studio.render(settings=(*SMALL, "deliver.report=true"))
    data = data_of((tmp_path / "out" / "report.html").read_text())
    assert len(data["shots"]) == 1
    assert len(page(gather.gather(tmp_path / "out"))) < 200_000


def test_a_report_can_be_left_out(tmp_path: Path) -> None:
    studio = Studio(tmp_path, "film: F\nshots:\n- a swan\n")
    studio.render(settings=(*SMALL, "deliver.report=false"))
    assert not (tmp_path / "out" / "report.html").exists()
