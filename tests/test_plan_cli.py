"""What `plan --diff`, `replay` and limits print, and the exit codes they leave with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from films import SMALL, THREE_SHOTS

from storyflow import cli

SMALLER = tuple(word for setting in SMALL for word in ("--set", setting))
SLATE = ("--pipeline", "slate", *SMALLER)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Runs storyflow in a folder of its own; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "film.yaml").write_text(THREE_SHOTS)
    place = tmp_path / "priced.yaml"
    place.write_text("storyflow: 1\naddress: in-process\nprice: 2\ncurrency: EUR\n")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["storyflow", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capfd.readouterr()
        code = left.value.code
        return (code if isinstance(code, int) else 1), said.out, said.err

    return call


def test_what_an_author_wrote_is_shown_as_it_is(run) -> None:
    """Rich has names in colons for pictures, and square brackets for styles."""
    text = Path("film.yaml").read_text()
    title = text.splitlines()[0].partition(": ")[2]
    assert text.startswith("film: ")
    Path("film.yaml").write_text(text.replace(title, '"A :star: at 1:x:0, [bold] as ever"', 1))
    code, out, _ = run("plan", "film.yaml", *SLATE)
    assert code == 0 and "A :star: at 1:x:0, [bold] as ever on slate" in out


def edit(old: str, new: str) -> None:
    file = Path("film.yaml")
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_film_from_estimate_to_bill_to_diff_to_replay(run) -> None:
    cluster = ("--cluster", "priced.yaml")
    code, out, _ = run("plan", "film.yaml", *SLATE, *cluster)
    assert code == 0 and "no timings in the store yet" in out

    code, out, _ = run("render", "film.yaml", *SLATE, *cluster, "--one-class")
    assert code == 0

    edit("it turns left", "it turns right")
    code, out, _ = run("plan", "film.yaml", *SLATE, *cluster, "--diff")
    assert code == 0
    assert "3 of 6 segments reused, 3 to render" in out
    assert "prompt: 'It turns left.' -> 'It turns right.'" in out
    assert "history: continues 1B/4" in out

    code, out, _ = run("plan", "film.yaml", *SLATE, *cluster, "--diff", "--json")
    data = json.loads(out)
    assert code == 0 and data["render"] == ["1B/3", "1B/4", "1C/1"]
    changed = next(row for row in data["segments"] if row["segment"] == "1B/3")["why"][0]
    assert (changed["old"], changed["new"]) == ("It turns left.", "It turns right.")

    code, out, _ = run("plan", "film.yaml", *SLATE, *cluster)
    assert "from 6 timings in the store, cpu, pillow" in out and "EUR; finished" in out

    code, _, err = run("render", "film.yaml", *SLATE, *cluster, "--max-cost", "0")
    assert code == 4 and "the plan (estimated from 6 timings" in err and "EUR" in err
    code, _, err = run("render", "film.yaml", *SLATE, *cluster, "--max-gpu-hours", "0")
    assert code == 4 and "more than the limit of 0 GPU-hours" in err

    code, out, _ = run("render", "film.yaml", *SLATE, *cluster, "--max-cost", "50")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["segments", "3", "3"] in rows
    assert any(row[:2] == ["GPU-hours", row[1]] and len(row) == 5 for row in rows if len(row) > 1)

    key = json.loads(Path("renders/film/run.json").read_text())["segments"][0]["key"]
    code, out, _ = run("replay", key[:10])
    assert code == 0 and "equal: 1A/1" in out and "all 97 frames are equal" in out
    code, out, _ = run("replay", key, "--json")
    assert code == 0 and json.loads(out)["same"] is True
    code, _, err = run("replay", "ffff")
    assert code == 1 and "has no artifact ffff" in err
