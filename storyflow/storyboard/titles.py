"""The titles of a shot: when each is seen, and whether they get into each other's way."""

from __future__ import annotations

from fractions import Fraction

from storyflow.storyboard.clock import as_time, to_frames
from storyflow.storyboard.model import Shot
from storyflow.storyboard.report import Report, Spot
from storyflow.storyboard.resolved import Title


def titles_of(
    shot: Shot, frames: int, rate: Fraction, spot: Spot, report: Report
) -> tuple[Title, ...]:
    """The titles of a shot of `frames` frames.

    One without a `dur` stands until the next one in its place begins, or to the end of the shot.
    """
    begin = [
        0 if title.at is None else to_frames(title.at, rate, spot, "title.at", report)
        for title in shot.title
    ]
    titles: list[Title] = []
    for number, (title, at) in enumerate(zip(shot.title, begin, strict=True)):
        key = f"title.{number}" if len(shot.title) > 1 else "title"
        style = title.as_ or "center"
        if title.dur is None:
            others = zip(shot.title, begin, strict=True)
            later = [t for o, t in others if t > at and _low(o.as_) == _low(style)]
            dur = max(min([*later, frames]) - at, 1)
        else:
            dur = to_frames(title.dur, rate, spot, "title.dur", report, least=1)
        if at + dur > frames:
            what = (
                f"the title stands until {as_time(at + dur, rate)}, the shot ends at "
                f"{as_time(frames, rate)}"
            )
            cure = "show it earlier or shorter"
            report.error(spot, key, "title-outside-shot", what, value=title.text, cure=cure)
        if title.ground is not None and style != "card":
            what = "only a card has a ground"
            report.error(spot, key, "ground-without-card", what, cure="add 'as: card'")
        where = spot.where("title", number)
        made = Title(title.text, at, dur, style, title.ground or "black", where=where)
        if other := next((t for t in titles if _collide(t, made)), None):
            until = as_time(other.at + other.frames, rate)
            what = f"the title stands where {other.text!r} stands until {until}"
            cure = "show one after the other, or one of them as a lower third"
            report.error(spot, key, "titles-collide", what, value=title.text, cure=cure)
        titles.append(made)
    return tuple(titles)


def _collide(one: Title, other: Title) -> bool:
    """Whether two titles of a shot are seen at once in one place."""
    apart = one.at + one.frames <= other.at or other.at + other.frames <= one.at
    return not apart and _low(one.style) == _low(other.style)


def _low(style: str | None) -> bool:
    """Whether a title stands at the bottom; cards have theirs in the middle, too."""
    return style == "lower-third"
