"""Edits as programs write them: tracks, transitions and the oddities of each form."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
import pytest

from storyflow.errors import InputError
from storyflow.storyboard.resolved import Transition
from storyflow.timeline.edited import CUT, Edited, Join
from storyflow.timeline.joining import join_of
from storyflow.timeline.reading import MOST_BYTES, read_edit

FPS = Fraction(24)
Time = otio.opentime.RationalTime


def span(start: int, frames: int) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(Time(start, 24), Time(frames, 24))


def clip(name: str, start: int = 0, frames: int = 48) -> otio.schema.Clip:
    reference = otio.schema.ExternalReference(f"file:///C:/media/{name}.mov", span(0, 200))
    return otio.schema.Clip(name, reference, span(start, frames))


def gap(frames: int) -> otio.schema.Gap:
    return otio.schema.Gap(source_range=span(0, frames))


def edited(tmp_path: Path, *tracks: Sequence[otio.core.Composable]) -> Edited:
    made = otio.schema.Timeline("edit")
    for number, items in enumerate(tracks, 1):
        made.tracks.append(otio.schema.Track(f"V{number}", kind="Video", children=items))
    path = tmp_path / "edit.otio"
    path.write_text(otio.adapters.write_to_string(made, "otio_json"))
    return read_edit(path, FPS)


def test_an_upper_track_hides_the_lower_one(tmp_path: Path) -> None:
    found = edited(tmp_path, [clip("A", 0, 48), clip("B", 0, 48)], [gap(36), clip("C", 5, 24)])
    assert [(p.name, p.frames, p.source and p.source.start) for p in found.pieces] == [
        ("A", 36, 0),
        ("C", 24, 5),
        ("B", 36, 12),
    ]
    assert found.notes == ("2 tracks (V1, V2) are read as one: the upper hides",)


def test_a_clip_is_known_by_its_files_name_first(tmp_path: Path) -> None:
    named = clip("A")
    named.name = "nice one"
    named.metadata["cmx_3600"] = {"reel": "AT1"}
    (piece,) = edited(tmp_path, [named]).pieces
    assert piece.source is not None
    assert piece.source.names == ("A", "AT1", "nice one")


@pytest.mark.parametrize(
    ("name", "kind", "join", "note"),
    [
        ("Cross Dissolve", "SMPTE_Dissolve", Join(4, 6, Transition("dissolve", 10)), ""),
        ("Film Dissolve", "SMPTE_Dissolve", Join(4, 6, Transition("dissolve", 10)), "plain"),
        ("Wipe left", "Custom_Transition", Join(4, 6, Transition("wipe", 10, way="left")), ""),
        ("x", "SMPTE_Wipe", Join(4, 6, Transition("wipe", 10, way="right")), "to the right"),
        ("Page Peel", "Custom_Transition", CUT, "becomes a cut"),
        (
            "Dip to White",
            "SMPTE_Dissolve",
            Join(
                4,
                6,
                fade_out=Transition("fade", 4, "white"),
                fade_in=Transition("fade", 6, "white"),
            ),
            "",
        ),
    ],
)
def test_transitions_by_name(name: str, kind: str, join: Join, note: str) -> None:
    made, told = join_of(name, kind, 4, 6, None)
    assert made == join
    assert note in told and bool(note) == bool(told)


EDL = """\
TITLE: edit
FCM: NON-DROP FRAME

001  BL       V     C        00:00:00:00 00:00:00:00 01:00:00:00 01:00:00:00
001  AT1      V     D    012 01:00:10:00 01:00:12:00 01:00:00:00 01:00:02:00
* TO CLIP NAME:  A_t1_v001.mov
002  BT1      V     C        01:01:10:00 01:01:12:00 01:00:02:00 01:00:04:00
"""


def test_an_edl_may_fade_in_at_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "edit.edl"
    path.write_text(EDL)
    found = read_edit(path, FPS)
    assert [(p.source and p.source.names[0], p.frames) for p in found.pieces] == [
        ("A_t1_v001", 48),
        ("BT1", 48),
    ]
    assert found.joins[0].fade_in == Transition("fade", 12)
    assert found.start == 86400


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "edit.xml"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(InputError, match="larger than 64 MB"):
        read_edit(path, FPS)
