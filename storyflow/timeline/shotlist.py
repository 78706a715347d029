"""The shot list of a film as CSV, for people and spreadsheets: a line for each piece of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from storyflow.cutting.aside import written_aside
from storyflow.planning.nodes import CutEntry, PlannedTake
from storyflow.storyboard.resolved import Transition
from storyflow.timeline.build import Contents
from storyflow.timing import timecode


def write_shot_list(path: Path, contents: Contents) -> Path:
    """Write the list, aside and renamed. Raises CutError."""
    with written_aside(path) as target:
        target.write_text(shot_list(contents), encoding="utf-8-sig", newline="")
    return path


def shot_list(contents: Contents) -> str:
    """The list's text: RFC 4180, a header line first."""
    rows = list(_rows(contents))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["shot"])
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _harmless(value) for name, value in row.items()})
    return text.getvalue()


def _rows(contents: Contents) -> Iterator[dict[str, str]]:
    place = 0
    for number, entry in enumerate(contents.plan.cut, 1):
        yield _row(contents, entry, number, place)
        place += entry.stop - entry.start


def _row(contents: Contents, entry: CutEntry, number: int, place: int) -> dict[str, str]:
    plan = contents.plan
    take = plan.take(entry.shot, entry.take)
    media = contents.media.get((entry.shot, entry.take))
    length = entry.stop - entry.start
    beats = take.shot.beats
    first = beats[0]
    scene = plan.scenes[take.shot.scene] if take.shot.scene < len(plan.scenes) else None
    source = ("", "")
    if media is not None:
        begin = media.start + entry.start + take.slip - take.head - media.first
        source = (timecode(begin, plan.fps), timecode(begin + length, plan.fps))
    film = contents.start + place
    return {
        "piece": str(number),
        "scene": scene or str(take.shot.scene + 1),
        "shot": entry.shot,
        "take": str(entry.take),
        "size": first.size or "",
        "angle": first.angle or "",
        "view": first.view or "",
        "move": first.move or "",
        "lens": first.lens or "",
        "light": first.light or "",
        "place": first.place.name if first.place is not None else "",
        "cast": ", ".join(dict.fromkeys(who.name for beat in beats for who in beat.who)),
        "do": " / ".join(beat.do for beat in beats),
        "say": " / ".join(beat.say for beat in beats if beat.say),
        "feel": " / ".join(beat.feel for beat in beats if beat.feel),
        "frames": str(length),
        "duration": timecode(length, plan.fps),
        "film in": timecode(film, plan.fps),
        "film out": timecode(film + length, plan.fps),
        "in": _joint(entry.into),
        "out": _joint(entry.out),
        "file": f"{media.stem}.mov" if media is not None else "",
        "reel": media.reel if media is not None else "",
        "source in": source[0],
        "source out": source[1],
        "seed": str(take.seed),
        "prompt": " / ".join(_prompts(take)),
        "note": take.shot.note or "",
        "status": _status(contents, entry),
    }


def _status(contents: Contents, entry: CutEntry) -> str:
    if (entry.shot, entry.take) not in contents.media:
        return f"missing: {contents.missing.get(entry.shot, 'not rendered yet')}"
    for each in contents.quality.takes if contents.quality is not None else ():
        if (each.shot, each.take) == (entry.shot, entry.take):
            return each.level
    return "rendered"


def _prompts(take: PlannedTake) -> list[str]:
    prompts: dict[int, str] = {}
    for segment in take.segments:
        prompts.setdefault(segment.beat, segment.inputs.prompt)
    return list(prompts.values())


def _joint(joint: Transition) -> str:
    if joint.kind == "cut":
        return "cut"
    words = [joint.kind, joint.color if joint.kind == "fade" else joint.way, f"{joint.frames}f"]
    return " ".join(word for word in words if word)


def _harmless(text: str) -> str:
    """A spreadsheet takes a cell that begins like this for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" and text else text
