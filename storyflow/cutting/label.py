"""What is written on a delivered file: title, description, start timecode, chapters."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from storyflow.pipeline import START, DeliverSection
from storyflow.planning.nodes import Plan


@dataclass(frozen=True)
class Chapter:
    """Frames [start, stop) of the film under one name."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class Label:
    """The tags of a file. `timecode` is its first frame's, `HH:MM:SS:FF`, non-drop; `reel` names
    the tape that it would be on, empty for none."""

    title: str = ""
    about: str = ""
    timecode: str = START
    chapters: tuple[Chapter, ...] = ()
    reel: str = ""


def label_of(plan: Plan, deliver: DeliverSection) -> Label:
    """The label of a planned film: a chapter per scene, none where it has one scene only.

    A scene to which the cut comes back has a chapter each time.
    """
    scenes = [(plan.take(e.shot, e.take).shot.scene, e.stop - e.start) for e in plan.cut]
    chapters, position = [], 0
    for scene, entries in groupby(scenes, key=lambda pair: pair[0]):
        length = sum(frames for _, frames in entries)
        heading = plan.scenes[scene] if scene < len(plan.scenes) else None
        chapters.append(Chapter(heading or f"Scene {scene + 1}", position, position + length))
        position += length
    return Label(
        title=plan.title,
        about=plan.about,
        timecode=deliver.timecode,
        chapters=tuple(chapters) if len(chapters) > 1 else (),
    )
