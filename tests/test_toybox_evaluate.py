"""The exam is taken with the settings that films are rendered with."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from storyflow.kinds import kind_of
from storyflow.pipeline import load_profile
from storyflow.toybox import evaluate
from storyflow.toybox.exam import question
from storyflow.toybox.studio import Studio

FAST = "forcing.steps=1"


def studio(*overrides: str) -> Studio:
    return Studio(kind_of(load_profile("toybox", (FAST, *overrides))[1]))


def test_a_part_prints_its_counts_and_writes_a_row_per_film(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "answers" / "films.csv"
    asked = ["--part", "films", "--first", "2", "--count", "1", "--set", FAST]
    evaluate.main([*asked, "--out", str(out)])
    assert "colour: " in capsys.readouterr().out
    (row,) = csv.DictReader(out.open(encoding="utf-8"))
    assert (row["question"], row["prompt"]) == ("2", question(2).prompt)


def test_a_shot_is_continued_from_the_history_that_the_profile_says() -> None:
    prompts = [question(0).prompt] * 2
    latents, pixels = (
        studio(f"forcing.history={kept}").chain(prompts, 3) for kept in ("latents", "pixels")
    )
    assert latents.shape == (97 + 80, 64, 96, 3)
    assert np.array_equal(latents[:97], pixels[:97])
    assert not np.array_equal(latents[97:], pixels[97:])


def test_the_settings_of_the_profile_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def noted(kind: object) -> None:
        asked.append(kind)
        raise InterruptedError

    monkeypatch.setattr(evaluate, "Studio", noted)
    with pytest.raises(InterruptedError):
        evaluate.main(["--part", "films"])
    expected = kind_of(load_profile("toybox")[1])
    assert asked[0].pixel_fields == expected.pixel_fields  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [("slate", "reads no prompts"), ("nowhere", "nowhere")],
)
def test_what_cannot_take_the_exam_is_told_in_a_line(pipeline: str, said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        evaluate.main(["--part", "films", "--pipeline", pipeline])


@pytest.mark.parametrize("asked", [["--first", "-1"], ["--count", "0"]])
def test_no_question_is_refused(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate.main(["--part", "films", *asked])
    assert f"{asked[0]} {asked[1]}" in capsys.readouterr().err


def test_where_no_row_can_be_written_no_film_is_rendered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "Studio", None)
    with pytest.raises(SystemExit):
        evaluate.main(["--part", "films", "--out", str(tmp_path)])
    assert f"--out {tmp_path} can't be written: Is a directory" in capsys.readouterr().err
