"""What is printed on leaves words alone and does not fold tables in a pipe."""

from __future__ import annotations

import pytest

from storyflow.terminal import PIPED_WIDTH, new_console


def test_colons_in_a_title_stay_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    new_console().print("Scene :x: of :smile:")
    assert capsys.readouterr().out == "Scene :x: of :smile:\n"


def test_a_pipe_is_as_wide_whatever_the_terminal_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    line = "x" * PIPED_WIDTH
    new_console(stderr=True).print(line)
    assert capsys.readouterr().err == line + "\n"


def test_a_quiet_console_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    new_console(quiet=True).print("done")
    assert capsys.readouterr().out == ""
