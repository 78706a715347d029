"""A film that follows a cut list, rendered on slate."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
import pytest
from films import Studio

import storyflow
from storyflow.cutlist import CutEvent, CutList, cut_path, cut_text
from storyflow.errors import InputError
from storyflow.storyboard.resolved import Transition

EDIT = CutList(
    "Three shots",
    Fraction(24),
    (
        CutEvent("1C", 4, 40, 1),
        CutEvent("1B", 100, 150, 1, Transition("dissolve", 9)),
        CutEvent("1C", 0, 20, 1),
    ),
    left_out=("1A",),
)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


def test_the_cut_follows_the_list_and_renders_nothing_that_it_doesnt_need(studio: Studio) -> None:
    studio.render()
    cut_path(studio.file).write_text(cut_text(EDIT))
    edited = studio.render()
    assert edited.names == ()
    shown = [(shot["id"], shot["film"]) for shot in edited.manifest["shots"]]
    assert shown == [("1C", [0, 36]), ("1B", [36, 86]), ("1C", [86, 106])]
    assert edited.manifest["frames"] == 106
    timeline = otio.adapters.read_from_file(str(studio.folder / "out" / "film.otio"))
    assert [item.name for item in timeline.tracks[0]] == ["1C", "Cross Dissolve", "1B", "1C"]
    assert timeline.duration().value == 106
    again = studio.render(edit=False)
    assert [shot["id"] for shot in again.manifest["shots"]] == ["1A", "1B", "1C"]


def test_a_shot_outside_the_cut_cant_be_asked_for(studio: Studio) -> None:
    cut_path(studio.file).write_text(cut_text(EDIT))
    with pytest.raises(InputError, match="has no shot '1A'"):
        storyflow.start(studio.file, **{**studio.options, "shots": ("1A",)})
