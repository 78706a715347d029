"""`storyflow cut`: again without rendering, from a storyboard or from a film's folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from films import SMALL, Studio

import storyflow
from storyflow import cli
from storyflow.cutting.manifest import read_manifest
from storyflow.errors import InputError
from storyflow.record import read_record

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    """A film that is rendered already, the current folder elsewhere."""
    made = Studio(tmp_path)
    made.render()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return made


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """The same for tests that change nothing."""
    made = Studio(tmp_path_factory.mktemp("film"))
    made.render()
    return made


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    monkeypatch.setenv("COLUMNS", "300")

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["storyflow", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capfd.readouterr()
        return (left.value.code if isinstance(left.value.code, int) else 1), said.out, said.err

    return call


def test_a_films_folder_is_enough_to_cut_it_again(studio: Studio, call: Call) -> None:
    folder = studio.folder / "out"
    before = (folder / "film.mp4").read_bytes()
    (folder / "film.mp4").unlink()
    code, out, _ = call("cut", folder)
    assert (code, (folder / "film.mp4").read_bytes() == before) == (0, True), out
    assert "ray" not in sys.modules or not sys.modules["ray"].is_initialized()


def test_settings_come_after_those_of_the_last_time(studio: Studio, call: Call) -> None:
    folder = studio.folder / "out"
    code, out, _ = call("cut", folder, "--set", "deliver.size=64x48", "--format", "h265, hls")
    assert code == 0, out
    film = read_manifest(folder / "film.json").film
    assert film is not None
    assert (film.width, film.height) == (64, 48)
    assert [other.format for other in film.others] == ["h265", "hls"]


def test_a_preview_is_one_runs_wish(studio: Studio, call: Call) -> None:
    folder = studio.folder / "out"
    before = (folder / "film.mp4").read_bytes()
    code, out, _ = call("cut", folder, "--preview")
    assert code == 0 and "film.preview.mp4" in out
    film = read_manifest(folder / "film.json").film
    assert film is not None and film.file == "film.preview.mp4"
    assert (folder / "film.mp4").read_bytes() == before
    assert call("cut", folder)[0] == 0
    assert not (folder / "film.preview.mp4").exists()
    assert (folder / "film.mp4").read_bytes() == before


def test_a_preview_in_other_formats_is_a_mistake(rendered: Studio, call: Call) -> None:
    code, _, said = call("cut", rendered.folder / "out", "--preview", "--format", "hls")
    assert code == 2 and "a preview is one file" in said


def test_an_edit_that_needs_rendering_becomes_a_partial_film(studio: Studio) -> None:
    studio.edit("it rests", "it sleeps")
    result = storyflow.cut(studio.folder / "out")
    assert (result.rendered, result.complete, result.exit_code) == (0, False, 3)
    assert result.film is not None and result.film.name == "film.partial.mp4"


def test_a_folder_without_a_film_says_so(tmp_path: Path, call: Call) -> None:
    (tmp_path / "empty").mkdir()
    code, _, said = call("cut", tmp_path / "empty")
    assert code == 1
    assert "empty doesn't tell what it was made from; name the storyboard" in said
    with pytest.raises(InputError):
        storyflow.start(tmp_path / "empty")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "mpeg2"), "deliver.formats"),
        (("--set", "deliver.size=641x480"), "a film's sides are even numbers"),
        (("--format", "dnxhr", "--set", "deliver.scale=1"), "dnxhr takes pictures of 256x120"),
        (("--set", "deliver.timecode=1 o'clock"), "deliver.timecode"),
        (("--set", "deliver.poster=9:00"), "the film ends at"),
    ],
    ids=["format", "size", "too small", "timecode", "poster"],
)
def test_what_can_not_be_delivered_is_refused_in_one_line(
    rendered: Studio, call: Call, arguments: tuple[str, ...], said: str
) -> None:
    before = (rendered.folder / "out" / "film.json").read_bytes()
    code, _, error = call("cut", rendered.folder / "out", *arguments)
    assert code == 1 and said in error
    assert (rendered.folder / "out" / "film.json").read_bytes() == before


def test_the_record_holds_no_password_and_no_preview(tmp_path: Path) -> None:
    from storyflow.asked import asked_for

    settings = (*SMALL, " deliver.preview=true ", "deliver.crf=20")
    asked = asked_for("film.yaml", "slate", settings, "local", "s3://me:secret@bucket/store")
    assert asked is not None
    assert asked.settings == (*SMALL, "deliver.crf=20")
    assert asked.store is None
    assert asked_for(None, "slate", (), "local", None) is None


def test_a_record_of_an_older_version_is_still_read(studio: Studio) -> None:
    path = studio.folder / "out" / "run.json"
    data = json.loads(path.read_text())
    assert data.pop("asked")["pipeline"] == "slate"
    path.write_text(json.dumps(data))
    record = read_record(studio.folder / "out")
    assert record is not None and record.asked is None
