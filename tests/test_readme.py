"""The README's words are true: its program runs, its commands are what CI runs, its files exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.ray
def test_the_program_in_the_readme_runs(tmp_path: Path) -> None:
    """Builds a film from objects, watches it, cancels it, starts again and gets its film."""
    (program,) = blocks("python")
    assert len(program.splitlines()) <= 65
    script = tmp_path / "story.py"
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "finished with exit code 130" in done.stdout
    assert "renders/morning/film.mp4 complete: True" in done.stdout
    assert (tmp_path / "renders" / "morning" / "film.mp4").stat().st_size > 10_000


def test_the_storyboard_in_the_readme_is_the_shipped_one() -> None:
    assert blocks("yaml")[0] == (ROOT / "storyboards" / "first-light.yaml").read_text()


def test_the_readme_names_files_that_exist() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_both_commands_are_one_line_each() -> None:
    first, tests = blocks("sh")
    assert first.count("\n") == 1 and "render storyboards/first-light.yaml" in first
    assert tests.count("\n") == 1 and "pytest" in tests
    assert "\\" not in first + tests


def test_the_commands_about_pictures_and_clips_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a copy, because a film's lock is written beside its storyboard."""
    from typer.testing import CliRunner

    from storyflow.cli import app

    shutil.copytree(ROOT / "storyboards", tmp_path / "storyboards")
    monkeypatch.chdir(tmp_path)
    section = README.split("## Start from a picture or a clip")[1].split("The tests:")[0]
    commands = re.findall(r"^\$ storyflow (.+)$", section, flags=re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["check", "render"]
    for command in commands:
        more = ["--address", "in-process"] if command.startswith("render") else []
        done = CliRunner().invoke(app, [*command.split(), *more])
        assert done.exit_code == 0, done.output
    manifest = json.loads((tmp_path / "renders" / "every-mode" / "film.json").read_text())
    assert manifest["complete"] and manifest["frames"] == 18 * 24
    board = (ROOT / "storyboards" / "every-mode.yaml").read_text()
    assert all(word in board for word in re.findall(r"`((?:from|to): refs[^`]+)`", section))


def test_every_command_in_the_readme_is_a_verb_of_the_command_line() -> None:
    from typer.main import get_command

    from storyflow.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    verbs = {name for name, command in commands.items() if not command.hidden}
    named = set(re.findall(r"^\$ storyflow (\w+)", README, flags=re.MULTILINE))
    assert named <= verbs
    assert named >= verbs - {"pipelines"}
