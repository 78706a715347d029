"""The shipped series: what it names is there, and nothing in it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

import storyflow

SHIPPED = sorted((Path(__file__).parent.parent / "storyboards").glob("*/series.yaml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.parent.name)
def test_a_shipped_series_plans_every_episode(file: Path, tmp_path: Path) -> None:
    plan = storyflow.plan_series(file, store=str(tmp_path / "store"), out=tmp_path / "films")
    assert [each.error for each in plan.episodes] == [""] * len(plan.episodes)
    assert [each.notices for each in plan.episodes] == [()] * len(plan.episodes)
    assert plan.nights == 1, "one night's budget is enough for a newcomer"
    files = {path.name.partition(".")[0] for path in file.parent.glob("*.yaml")}
    assert {each.name for each in plan.episodes} | {"series"} == files


def test_a_series_is_shipped() -> None:
    assert [path.parent.name for path in SHIPPED] == ["little-lights"]
