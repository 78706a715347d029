"""The drawings in docs/ that a program makes are what it makes now."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize(
    ("program", "picture"),
    [("draw_schedules", "schedules.svg"), ("draw_toybox_links", "toybox-links.svg")],
)
def test_a_drawing_is_current(program: str, picture: str) -> None:
    spec = importlib.util.spec_from_file_location(program, DOCS / f"{program}.py")
    assert spec is not None and spec.loader is not None
    drawing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawing)
    assert drawing.draw() == (DOCS / picture).read_text(encoding="utf-8")
