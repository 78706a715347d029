"""Timelines on disk: `film.otio`, `film.xml` (FCP7) and `film.edl` (CMX 3600), each read back."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storyflow.cutting.aside import written_aside
from storyflow.errors import CutError
from storyflow.timeline.build import Contents, Form, build, reach

if TYPE_CHECKING:
    import opentimelineio as otio

ADAPTERS: dict[Form, str] = {"otio": "otio_json", "xml": "fcp_xml", "edl": "cmx_3600"}
"""OpenTimelineIO's names of the three forms."""

MOST_EVENTS = 999
"""Events that an EDL's three digits can number."""


def write_timelines(folder: Path, stem: str, contents: Contents) -> tuple[Path, ...]:
    """Write `STEM.otio`, `STEM.xml` and `STEM.edl`, aside and renamed.

    What is written is read again first: its clips, gaps and their order must be the plan's, to the
    frame. A film of more than 999 pieces has no EDL. Raises CutError.
    """
    written = []
    for form in ADAPTERS:
        path = folder / f"{stem}.{form}"
        if form == "edl" and len(contents.plan.cut) > MOST_EVENTS:
            path.unlink(missing_ok=True)  # an old one would be another film's
            continue
        text = timeline_text(contents, form)
        check_timeline(text, contents, form)
        with written_aside(path) as target:
            target.write_text(text, encoding="utf-8")
        written.append(path)
    return tuple(written)


def timeline_text(contents: Contents, form: Form) -> str:
    """The content of a timeline's file."""
    import opentimelineio as otio

    options: dict[str, Any] = {} if form != "edl" else {"rate": float(contents.plan.fps)}
    made = otio.adapters.write_to_string(build(contents, form), ADAPTERS[form], **options)
    return str(made)


def check_timeline(text: str, contents: Contents, form: Form) -> None:
    """Read a timeline again and compare it with the plan. Raises CutError with the difference.

    Gaps at an end are counted only where the form can say them, and a dissolve may move the cut:
    an EDL's begins where the dissolve does.
    """
    found = [item for item in _pieces(_read(text, contents, form)) if item[1]]
    expected = _expected(contents, form)
    while expected and form != "otio" and expected[-1][0] is None:
        expected.pop()
    if expected and form == "edl" and expected[0][0] is None:
        expected.pop(0)
    if found != expected:
        pairs = zip([*found, None], [*expected, None], strict=False)
        first = next(n for n, (a, b) in enumerate(pairs) if a != b)
        one = found[first] if first < len(found) else "nothing"
        other = expected[first] if first < len(expected) else "nothing"
        raise CutError(
            f"the {form} timeline reads back with {one} as piece {first + 1} instead of {other}",
            cure="report it; the film itself is not touched by this",
        )


def _read(text: str, contents: Contents, form: Form) -> otio.schema.Timeline:
    import opentimelineio as otio

    options: dict[str, Any] = {} if form != "edl" else {"rate": float(contents.plan.fps)}
    return otio.adapters.read_from_string(text, ADAPTERS[form], **options)


def _pieces(timeline: otio.schema.Timeline) -> list[tuple[str | None, int]]:
    """Clips by name and gaps as None, each with its frames, neighbouring gaps as one."""
    import opentimelineio as otio

    found: list[tuple[str | None, int]] = []
    for item in timeline.tracks[0]:
        if isinstance(item, otio.schema.Transition):
            continue
        name = item.name if isinstance(item, otio.schema.Clip) else None
        _append(found, name, round(item.duration().value))
    return found


def _expected(contents: Contents, form: Form) -> list[tuple[str | None, int]]:
    found: list[tuple[str | None, int]] = []
    for entry, after in zip_longest(contents.plan.cut, contents.plan.cut[1:]):
        media = contents.media.get((entry.shot, entry.take))
        frames = entry.stop - entry.start
        if form == "edl":
            # The whole dissolve belongs to the piece that comes in.
            frames += reach(entry, form)[0] - (reach(after, form)[0] if after is not None else 0)
        _append(found, None if media is None else media.stem, frames)
    return [piece for piece in found if piece[1]]


def _append(found: list[tuple[str | None, int]], name: str | None, frames: int) -> None:
    if name is None and found and found[-1][0] is None:
        found[-1] = (None, found[-1][1] + frames)
    else:
        found.append((name, frames))
