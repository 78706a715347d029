"""The report of bench_settings.py: shots that are whole are compared, shot by shot."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.append(str(Path(__file__).parent / "bench"))

from settings_report import Seen, write_report

FACTORS = {"steps": {"": "forcing.steps=12", "steps-8": "forcing.steps=8"}}
FIRST = Seen(
    weights="w", setting="", shot=0, segment=1, frames=97, drift=0.0, detail=1.0, seam=math.nan,
    colour=1, shape=1, action=1, place=1, light=1, camera=1, seconds=6.0,
)  # fmt: skip


def shot(number: int, setting: str, drift: float, seam: float, shape: int = 1) -> list[Seen]:
    """A shot of two segments."""
    first = replace(FIRST, shot=number, setting=setting, shape=shape)
    return [first, replace(first, segment=2, frames=177, drift=drift, seam=seam, detail=0.9)]


BASE = [*shot(0, "", 2.0, 1.0), *shot(1, "", 4.0, 1.2)]
OTHER = [*shot(0, "steps-8", 3.0, 1.5, shape=0), *shot(1, "steps-8", 7.0, 1.5)]


def report(folder: Path, rows: list[Seen], shots: int = 2) -> str:
    write_report(folder, rows, FACTORS, {"cpu": "one core"}, shots, segments=2)
    return (folder / "settings.md").read_text(encoding="utf-8")


def test_a_setting_is_compared_with_the_base_shot_by_shot(tmp_path: Path) -> None:
    text = report(tmp_path, BASE + OTHER)
    assert "Measured on: cpu one core." in text
    assert "| steps=12 (base) | 2 | 3.00 |  | 1.10 |  | 6.00 |  | 0.90 | 6.0 |" in text
    paired = "| steps=8 | 2 | 5.00 | +2.00 ± 1.00 | 1.50 | +0.40 ± 0.10 | 5.50 | -0.50 ± 0.50 |"
    assert paired in text


@pytest.mark.parametrize(
    ("rows", "shots"),
    [
        (BASE + OTHER[:-1], 2),  # One shot lacks its last segment.
        (BASE + OTHER + OTHER[:2], 1),  # Fewer shots asked for; a row is there twice.
    ],
)
def test_only_whole_shots_that_were_asked_for_count(
    tmp_path: Path, rows: list[Seen], shots: int
) -> None:
    row = "| steps=8 | 1 | 3.00 | +1.00 | 1.50 | +0.50 | 5.00 | -1.00 | 0.90 | 6.0 |"
    assert row in report(tmp_path, rows, shots)


def test_the_plot_has_a_line_for_each_setting(tmp_path: Path) -> None:
    report(tmp_path, BASE + OTHER)
    picture = ElementTree.parse(tmp_path / "settings-steps.svg").getroot()
    lines = picture.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2
    assert all(len(line.attrib["points"].split()) == 2 for line in lines)


def test_a_factor_with_one_setting_is_left_out(tmp_path: Path) -> None:
    assert "steps" not in report(tmp_path, BASE)
    assert not (tmp_path / "settings-steps.svg").exists()
