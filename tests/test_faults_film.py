"""Whole films that end otherwise than planned: what is left, what is told, how they go on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from films import SMALL, Studio

import storyflow
from storyflow import cli, film
from storyflow.events import CutStarted
from storyflow.run import Run


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


def test_a_film_cancelled_while_it_is_cut_ends_before_the_cut(studio: Studio) -> None:
    """Enlarged so far that the cut of all frames would take minutes."""
    large = (SMALL[0], "deliver.scale=16", "deliver.preset=slow")
    run: Run = storyflow.start(studio.file, **{**studio.options, "settings": large})
    for event in run.events():
        if isinstance(event, CutStarted):
            run.cancel()
    assert (run.result().exit_code, run.result().film) == (130, None)
    left = {path.name for path in (studio.folder / "out").rglob("*")}
    assert left <= {".claim", "run.json", "shots", "1A.mov", "1B.mov", "1C.mov"}, (
        "no film, nothing half-written"
    )
    assert studio.render().names == (), "all segments were kept"


@pytest.mark.parametrize("writable", [True, False], ids=["in the film's folder", "elsewhere"])
def test_the_traceback_of_what_nobody_foresaw_is_kept_with_the_film(
    studio: Studio,
    writable: bool,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("no frames a second")

    out = studio.folder / "out"
    if not writable:
        (out / "error.log").mkdir(parents=True)
    monkeypatch.setattr(film, "make_manifest", broken)
    settings = [word for setting in SMALL for word in ("--set", setting)]
    where = ["--store", str(studio.folder / "store"), "--out", str(out), "--address", "in-process"]
    monkeypatch.setattr(
        sys, "argv", ["storyflow", "render", str(studio.file), "-p", "slate", *where, *settings]
    )
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 5
    told = capfd.readouterr().err.strip()
    assert told.startswith("storyflow failed unexpectedly (ZeroDivisionError: no frames a second)")
    kept = Path(told.rpartition("details: ")[2])
    assert (kept == out / "error.log") is writable
    assert "in broken\n" in kept.read_text()
    monkeypatch.undo()
    if not writable:
        kept.unlink()
    assert studio.render().names == (), "all segments were kept"
