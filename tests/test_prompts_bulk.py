"""Captions and prompts by the thousand: into a CSV file as they come, and resumed from it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from media_files import clip_file, counting, picture_file, quadrants
from scripted_model import Scripted
from typer.testing import CliRunner

import storyflow
from storyflow.cli import app
from storyflow.errors import InputError
from storyflow.farm.language import ProfileWriters
from storyflow.prompts.asking import Manner
from storyflow.prompts.bulk import caption_all, clips_of, enhance_all
from storyflow.prompts.caption import ShotCaption, Subject, from_json, to_json
from storyflow.prompts.captioner import look_at
from storyflow.prompts.model import EngineDied, Question, Refusal

MANNER = Manner("describe")
CAPTION = ShotCaption(
    subjects=(Subject("Object", "Square", "grey", "", "", "", True),), shot_type="close_up"
)
GOOD = to_json(CAPTION)


def see(question: Question) -> str:
    """Describes the first frame's grey."""
    assert question.clip is not None
    mean = float(question.clip.frames[0].mean())
    return to_json(ShotCaption(environment=f"grey {round(mean)}"))


def grey(path: Path, value: int) -> Path:
    return picture_file(path, np.full((56, 56, 3), value, np.uint8))


def test_a_folder_is_described_row_by_row_and_a_broken_clip_costs_its_row(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    (folder / "b").mkdir(parents=True)
    clip_file(folder / "a.mp4", counting(20))
    grey(folder / "b" / "c.png", 90)
    (folder / "broken.mp4").write_bytes(b"nothing" * 99)
    (folder / "notes.txt").write_text("not a clip")
    out = tmp_path / "captions.csv"
    told: list[tuple[int, int]] = []
    model = Scripted(see)
    clips = clips_of(folder)
    done = caption_all(clips, out, model, MANNER, lambda n, total: told.append((n, total)))
    table = pd.read_csv(out)
    assert list(table.columns) == ["path", "structural_caption"]
    assert list(table["path"]) == ["a.mp4", "b/c.png"]
    said = [from_json(text).environment for text in table["structural_caption"]]
    assert said == ["grey 20", "grey 90"]
    ((name, cause),) = done.failed
    assert name == "broken.mp4" and "read as a clip" in cause
    assert (done.done, done.kept) == (2, 0)
    assert told[-1] == (3, 3)
    first = model.asked[0].clip
    assert first is not None and len(first.frames) == 16


def test_a_run_goes_on_behind_the_last_whole_row(tmp_path: Path) -> None:
    for number in range(5):
        grey(tmp_path / f"{number}.png", 10 * number)
    out = tmp_path / "out" / "captions.csv"
    clips = clips_of(tmp_path)
    caption_all(clips, out, Scripted(see), MANNER)
    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)
    for kept, tail in ((3, b""), (3, lines[3][:-9]), (3, b'"x","{'), (0, b"")):
        out.write_bytes(b"".join(lines[:kept]) + tail)
        model = Scripted(see)
        done = caption_all(clips, out, model, MANNER)
        assert out.read_bytes() == whole
        assert done.done == len(model.asked) == 5 - max(0, kept - 1)
    assert caption_all(clips, out, Scripted(see), MANNER).kept == 5


def test_an_engine_that_dies_leaves_what_it_said(tmp_path: Path) -> None:
    for number in range(30):
        grey(tmp_path / f"{number:02}.png", number)
    out = tmp_path / "captions.csv"
    left = [24]

    def say(question: Question) -> str:
        left[0] -= 1
        if left[0] < 0:
            raise EngineDied("gone")
        return see(question)

    clips = clips_of(tmp_path)
    with pytest.raises(EngineDied):
        caption_all(clips, out, Scripted(say), MANNER)
    again = Scripted(see)
    assert caption_all(clips, out, again, MANNER).done == len(again.asked) == 6
    assert list(pd.read_csv(out)["path"]) == [f"{number:02}.png" for number in range(30)]


def test_a_csv_names_clips_beside_it(tmp_path: Path) -> None:
    grey(tmp_path / "a.png", 5)
    table = tmp_path / "clips.csv"
    pd.DataFrame({"fps": [24, 24], "path": ["a.png", "a.png"]}).to_csv(table, index=False)
    assert clips_of(table) == [("a.png", tmp_path / "a.png")]
    table.write_text("file\na.png\n")
    with pytest.raises(InputError, match="no column `path`, but file"):
        clips_of(table)
    with pytest.raises(InputError, match="be read as CSV"):
        clips_of(tmp_path / "none.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no clips"):
        clips_of(tmp_path / "empty")


def test_another_file_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("name,age\nme,50\n")
    with pytest.raises(InputError, match="has the columns name, age"):
        caption_all([], out, Scripted(see), MANNER)
    assert out.read_text() == "name,age\nme,50\n"


def test_pictures_and_clips_are_told_apart_by_their_names(tmp_path: Path) -> None:
    picture = look_at(picture_file(tmp_path / "a.png", quadrants()))
    assert picture.frames.shape == (1, 56, 84, 3) and picture.fps == 0
    with pytest.raises(InputError, match="no picture or clip by its name"):
        look_at(tmp_path / "a.txt")
    with pytest.raises(InputError, match="be read: No such file"):
        look_at(tmp_path / "none.mp4")


def complete(question: Question) -> Any:
    if question.schema is None:
        return "A man walks along a beach."
    if "refuse" in question.user:
        return Refusal("no")
    return to_json(ShotCaption(environment="a beach", lighting="evening sun"))


def test_each_line_is_completed_and_keeps_what_it_says(tmp_path: Path) -> None:
    out = tmp_path / "prompts.csv"
    lines = ["a man walks", "refuse this", 'a ship sails, "slowly"', "a man walks"]
    model = Scripted(complete)
    done = enhance_all(lines, out, model, MANNER, Manner("fuse"))
    with out.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["prompt", "structural_caption", "enhanced_prompt"]
    assert [row[0] for row in rows] == ["a man walks", 'a ship sails, "slowly"']
    for line, caption, text in rows:
        assert from_json(caption).lighting == "evening sun"
        for word in line.replace(",", "").replace('"', "").split()[1:]:
            assert word in text, "what is stated is never lost"
    assert [name for name, _ in done.failed] == ["refuse this"]
    again = Scripted(complete)
    assert enhance_all(lines, out, again, MANNER, Manner("fuse")).kept == 2
    assert len(again.asked) == 1, "what failed is tried again"


def test_a_line_that_is_no_shot_costs_itself(tmp_path: Path) -> None:
    out = tmp_path / "prompts.csv"
    done = enhance_all(["@nobody runs", "a man walks"], out, Scripted(complete), MANNER, MANNER)
    assert done.done == 1 and done.failed[0][0] == "@nobody runs"


def test_the_commands_say_what_they_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    monkeypatch.setattr(ProfileWriters, "vision", lambda _: nullcontext(Scripted(see)))
    monkeypatch.setattr(ProfileWriters, "language", lambda _: nullcontext(Scripted(complete)))
    grey(tmp_path / "a.png", 7)
    (tmp_path / "b.png").write_bytes(b"broken")
    runner = CliRunner()
    out = tmp_path / "captions.csv"
    ask = ["caption", str(tmp_path), "--out", str(out), "-p", "slate"]
    told = runner.invoke(app, [*ask, "--set", "prompts.captioner=vllm"])
    assert told.exit_code == 3
    assert f"1 clip written to {out}, 1 failed" in told.output and "b.png: " in told.output
    lines = tmp_path / "lines.txt"
    lines.write_text("a man walks\n\n")
    ask = ["enhance", str(lines), "--out", str(tmp_path / "p.csv"), "-p", "slate"]
    told = runner.invoke(app, [*ask, "--set", "prompts.enhancer=vllm"])
    assert (told.exit_code, told.output.startswith("1 prompt written to")) == (0, True)
    with pytest.raises(InputError, match="has no captioner"):
        storyflow.caption_clips(tmp_path, out, pipeline="slate")
    with pytest.raises(InputError, match="has no enhancer"):
        storyflow.enhance_prompts(lines, out, pipeline="slate")
