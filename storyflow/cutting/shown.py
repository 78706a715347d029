"""What `film.json` says of transitions and titles: which frames of the film they change."""

from __future__ import annotations

from dataclasses import dataclass

from storyflow.planning.nodes import CutEntry
from storyflow.storyboard.resolved import Title, Transition


@dataclass(frozen=True)
class ManifestTransition:
    """A transition, and the film's frames [start, stop) that it changes.

    A dissolve or wipe is the next shot's `into` and this one's `out`, with the same frames: some
    before the cut, some after it. `color` is a fade's, `way` a wipe's.
    """

    kind: str
    frames: tuple[int, int]
    color: str | None = None
    way: str | None = None


@dataclass(frozen=True)
class ManifestTitle:
    """A title, and the film's frames [start, stop) in which it is seen. `ground` is a card's."""

    text: str
    style: str
    frames: tuple[int, int]
    ground: str | None = None


def into_of(entry: CutEntry, position: int) -> ManifestTransition | None:
    """How an entry that begins at the film's frame `position` begins; None for a cut."""
    joint = entry.into
    if joint.kind == "fade":
        return _transition(joint, position, position + joint.frames)
    return _transition(joint, position - joint.before, position + joint.after)


def out_of(entry: CutEntry, position: int) -> ManifestTransition | None:
    """How it ends; None for a cut."""
    joint, end = entry.out, position + entry.stop - entry.start
    if joint.kind == "fade":
        return _transition(joint, end - joint.frames, end)
    return _transition(joint, end - joint.before, end + joint.after)


def titles_of(entry: CutEntry, position: int) -> tuple[ManifestTitle, ...]:
    """Its titles, in the film's frames."""
    return tuple(_title(title, position) for title in entry.titles)


def _transition(joint: Transition, start: int, stop: int) -> ManifestTransition | None:
    if joint.kind == "cut":
        return None
    color = joint.color if joint.kind == "fade" else None
    return ManifestTransition(joint.kind, (start, stop), color, joint.way)


def _title(title: Title, position: int) -> ManifestTitle:
    frames = (position + title.at, position + title.at + title.frames)
    ground = title.ground if title.style == "card" else None
    return ManifestTitle(title.text, title.style, frames, ground)
