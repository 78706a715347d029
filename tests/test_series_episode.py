"""An episode is worked on alone with its bible, and is the same film as in its series."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_series_plan import rows, series_in
from typer.testing import CliRunner

import storyflow
from storyflow.cli import app
from storyflow.errors import InputError
from storyflow.record import read_record
from storyflow.series.orders import Grounds


def said(*words: str | Path) -> str:
    """What a command prints, which must end well."""
    told = CliRunner().invoke(app, [str(word) for word in words])
    assert told.exit_code == 0, told.output
    return told.output


def test_alone_an_episode_is_planned_and_rendered_as_in_its_series(tmp_path, monkeypatch):
    file = series_in(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    e1, of = tmp_path / "e1.yaml", ("--series", file)
    assert "no errors" in said("check", e1, *of)
    assert "a red ball" in said("show", e1, "--resolved", *of)
    assert "2 to render" in said("plan", e1, *of)
    folder = Grounds(file).folder / "e1"
    assert "film.mp4" in said("render", e1, *of)
    assert (folder / "film.mp4").is_file()
    # The series finds everything, and cuts it under its own accounts.
    assert rows(file)["e1"] == ("cut", ())
    said("take", e1, "1A", "1", *of)
    said("hold", e1, "1A", *of)


def test_the_films_folder_remembers_the_series(tmp_path):
    file = series_in(tmp_path)
    result = storyflow.render(tmp_path / "e1.yaml", series=file)
    record = read_record(result.folder)
    assert record is not None and record.asked is not None
    assert record.asked.series == str(file)
    said("cut", result.folder)


def test_with_another_pipeline_an_episode_has_its_bible_and_a_folder_of_its_own(
    tmp_path, monkeypatch
):
    file = series_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    plan = storyflow.plan(tmp_path / "e1.yaml", series=file, pipeline="slate")
    assert plan.size != storyflow.plan(tmp_path / "e1.yaml", series=file).size
    what = storyflow.quote(tmp_path / "e1.yaml", series=file, pipeline="slate")
    assert what.as_data()["totals"]["render"] == len(plan.segments)


def test_without_its_series_the_cast_is_missing(tmp_path):
    series_in(tmp_path)
    (problem,) = {p.code for p in storyflow.check(tmp_path / "e2.yaml", pipeline="slate")}
    assert problem == "unknown-character"


def test_a_film_that_is_no_episode_is_refused(tmp_path):
    file = series_in(tmp_path)
    (tmp_path / "other.yaml").write_text("film: Other\nshots: [a dot]\n")
    with pytest.raises(InputError, match="no episode of"):
        storyflow.plan(tmp_path / "other.yaml", series=file)
