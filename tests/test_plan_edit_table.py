"""The edit table: what is rendered after each edit of a 20-shot film, said beforehand by the diff.

docs/keys.md shows the same table; keep both in step.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from films import Studio

import storyflow
from storyflow.tables import spans

STORY = """\
film: Twenty
handles: 12f
style: 35mm film
cast:
  keeper: {look: man of sixty}
  girl: {look: girl of ten}
defaults: {dur: 1s}
scenes:
- scene: INT. TOWER - NIGHT
  shots:
  - {id: 1A, do: "@keeper climbs", dur: 2s}
  - {id: 1B, do: the flame shudders}
  - id: 1C
    beats:
    - {dur: 2s, do: "@keeper sets the lamp down"}
    - {dur: 2s, do: he walks left}
    - {dur: 2s, do: he turns}
  - {id: 1D, from: 1C, do: the door rattles}
  - {id: 1E, from: 1D, do: the door opens}
  - {id: 1F, do: rain on glass}
  - {id: 1G, do: a clock ticks}
- scene: EXT. CLIFF - STORM
  shots:
  - {id: 2A, do: waves break, dur: 3s}
  - {id: 2B, do: the rope swings}
  - {id: 2C, do: "@girl looks up"}
  - {id: 2D, do: a hand waves}
  - {id: 2E, do: gulls cry}
  - {id: 2F, do: "@keeper and @girl run"}
  - {id: 2G, do: lightning}
- scene: EXT. CLIFF - DAWN
  shots:
  - {id: 3A, do: the sea lies flat}
  - {id: 3B, do: "@girl sleeps"}
  - {id: 3C, do: the beam goes out, takes: 2}
  - {id: 3D, do: a boat leaves, seed: 4, dur: 6s}
  - {id: 3E, do: an empty chair}
  - {id: 3F, do: the sky brightens, dur: 2s}
"""

EVERYTHING = (
    "1A/1, 1B/1, 1C/1-3, 1D/1, 1E/1, 1F/1, 1G/1, 2A/1, 2B/1, 2C/1, 2D/1, 2E/1, 2F/1, 2G/1, "
    "3A/1, 3B/1, 3C/1, 3C.2/1, 3D/1-2, 3E/1, 3F/1"
)
LAST = "  - {id: 3F, do: the sky brightens, dur: 2s}\n"

# The edit: what is replaced by what, and the segments that are rendered.
EDITS = {
    "one beat's prompt": ([("he walks left", "he walks right")], "1C/2-3, 1D/1, 1E/1"),
    "a cast look": ([("girl of ten", "girl of nine")], "2C/1, 2F/1, 3B/1"),
    "the film's style": ([("35mm film", "16mm film")], EVERYTHING),
    "a seed": ([("seed: 4", "seed: 5")], "3D/1-2"),
    "a longer shot": ([("seed: 4, dur: 6s", "seed: 4, dur: 8s")], "3D/3"),
    "a shorter shot": ([("seed: 4, dur: 6s", "seed: 4, dur: 3s")], ""),
    "a transition": ([("{id: 2B,", "{id: 2B, in: dissolve 1s,")], ""),
    "a title": ([("{id: 3A,", "{id: 3A, title: DAWN,")], ""),
    "the order of shots": ([(LAST, ""), ("  - {id: 1A,", LAST + "  - {id: 1A,")], ""),
    "a new shot": ([("  - {id: 2B,", "  - {id: 2AA, do: foam}\n  - {id: 2B,")], "2AA/1"),
    "another picture size": ([], EVERYTHING),
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """The film, rendered once."""
    studio = at(tmp_path_factory.mktemp("film"))
    assert spans(studio.render().names)
    return studio


def at(folder: Path, text: str = STORY) -> Studio:
    studio = Studio(folder, text)
    studio.options["settings"] = ("frame=64x48", "deliver.preset=ultrafast")
    return studio


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_renders_exactly_what_the_diff_said(
    rendered: Studio, tmp_path: Path, edit: str
) -> None:
    shutil.copytree(rendered.folder, tmp_path, copy_function=os.link, dirs_exist_ok=True)
    studio = at(tmp_path)
    changes, expected = EDITS[edit]
    for old, new in changes:
        studio.edit(old, new)
    if edit == "another picture size":
        studio.options["settings"] = ("frame=80x48", "deliver.preset=ultrafast")
    said = storyflow.diff(studio.file, **studio.options)
    assert spans(said.render) == expected
    assert len(said.reuse) + len(said.render) >= 23
    made = studio.render()
    assert made.result.complete
    assert made.names == tuple(sorted(said.render))
    after = storyflow.diff(studio.file, **studio.options)
    assert after.render == ()


def test_identical_history_stops_the_wave(rendered: Studio, tmp_path: Path) -> None:
    """Slate draws no looks, so the keeper's shots come out as before, and 1D and 1E are found."""
    shutil.copytree(rendered.folder, tmp_path, copy_function=os.link, dirs_exist_ok=True)
    studio = at(tmp_path)
    studio.edit("man of sixty", "man of fifty")
    said = storyflow.diff(studio.file, **studio.options)
    assert spans(said.render) == "1A/1, 1C/1-3, 1D/1, 1E/1, 2F/1"
    why = {segment.segment: [change.text for change in segment.why] for segment in said.segments}
    assert why["1A/1"] == ["prompt: 'man of sixty' -> 'man of fifty'"]
    assert why["1C/2"] == [*why["1A/1"], "history: continues 1C/1"]
    assert why["1D/1"] == ["history: continues 1C/3"]
    assert spans(studio.render().names) == "1A/1, 1C/1-3, 2F/1"
    assert storyflow.diff(studio.file, **studio.options).render == ()


def test_the_page_about_keys_shows_this_table() -> None:
    page = (Path(__file__).parent.parent / "docs" / "keys.md").read_text()
    for edit, (_, expected) in EDITS.items():
        told = "all 24" if expected == EVERYTHING else expected or "none"
        assert f"| {edit} | {told} |" in page
