"""The joints between shots: cuts, dissolves and fades, and what contradicts what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from storyflow.storyboard.clock import as_time, to_frames
from storyflow.storyboard.cues import Cue
from storyflow.storyboard.model import Scene, Shot
from storyflow.storyboard.report import Report, Spot
from storyflow.storyboard.resolved import Transition


@dataclass(frozen=True)
class Side:
    """One end of a shot: what its author wrote there, in frames, and where."""

    transition: Transition
    text: str
    spot: Spot
    at: str


@dataclass(frozen=True)
class Ends:
    """How a shot begins and ends, None where its author says nothing."""

    into: Side | None
    out: Side | None


def ends_of(
    shot: Shot,
    scene: Scene,
    spot: Spot,
    scene_spot: Spot,
    rate: Fraction,
    report: Report,
    *,
    first: bool,
    last: bool,
) -> Ends:
    """A shot's own `in` and `out`; a scene's `in` is its first shot's, its `out` its last one's."""

    def side(own: Cue | None, scenes: Cue | None, key: str) -> Side | None:
        if own is not None and scenes is not None and own != scenes:
            what = f"the scene says '{key}: {scenes}', its shot '{key}: {own}'"
            report.error(spot, key, "contradicting-joint", what, cure="remove one of them")
        cue, at = (own, spot) if own is not None else (scenes, scene_spot)
        if cue is None:
            return None
        frames = 0 if cue.dur is None else to_frames(cue.dur, rate, at, key, report, least=1)
        color = cue.color if cue.kind == "fade" else "black"
        return Side(Transition(cue.kind, frames, color), str(cue), at, key)

    return Ends(
        side(shot.in_, scene.in_ if first else None, "in"),
        side(shot.out, scene.out if last else None, "out"),
    )


def join(
    ends: Sequence[Ends], frames: Sequence[int], continues: Sequence[bool], spots: Sequence[Spot],
    rate: Fraction, report: Report,
) -> list[tuple[Transition, Transition]]:  # fmt: skip
    """`(into, out)` of every shot. A dissolve stands on both sides of its cut."""
    into = [_transition(end.into) for end in ends]
    out = [_transition(end.out) for end in ends]
    for number, end in enumerate(ends):
        after = ends[number + 1].into if number + 1 < len(ends) else None
        dissolve = next((s for s in (after, end.out) if s and _kind(s) == "dissolve"), None)
        if end.out is not None and after is not None and _contradict(end.out, after):
            what = f"this shot's 'in: {after.text}' contradicts 'out: {end.out.text}' before it"
            report.error(after.spot, "in", "contradicting-joint", what, cure="remove one of them")
        if dissolve is None:
            continue
        if number + 1 == len(ends):
            what = "no shot follows to dissolve into"
            report.error(dissolve.spot, "out", "dissolve-at-edge", what, cure="use 'out: fade 1s'")
            continue
        if continues[number + 1]:
            what = (
                f"shot {spots[number + 1].shot} continues another, so nothing can dissolve into it"
            )
            cure = "use a cut, or remove its 'from'"
            report.error(dissolve.spot, dissolve.at, "dissolve-into-continuation", what, cure=cure)
        out[number] = into[number + 1] = dissolve.transition
    if ends and ends[0].into is not None and _kind(ends[0].into) == "dissolve":
        what = "no shot stands before to dissolve from"
        report.error(ends[0].into.spot, "in", "dissolve-at-edge", what, cure="use 'in: fade 1s'")
    for number, end in enumerate(ends):
        _refuse_long(into[number], out[number], end, frames[number], spots[number], rate, report)
    return list(zip(into, out, strict=True))


def _transition(side: Side | None) -> Transition:
    return Transition() if side is None else side.transition


def _kind(side: Side) -> str:
    return side.transition.kind


def _contradict(out: Side, into: Side) -> bool:
    """A dissolve must be the same on both sides; fades and cuts stand beside each other."""
    return "dissolve" in (_kind(out), _kind(into)) and out.transition != into.transition


def _refuse_long(
    into: Transition, out: Transition, end: Ends, frames: int, spot: Spot, rate: Fraction,
    report: Report,
) -> None:  # fmt: skip
    """A joint must fit into the shot: all of a fade, and all of a dissolve, though half shows."""
    length = as_time(frames, rate)
    for transition, side, key in ((into, end.into, "in"), (out, end.out, "out")):
        if transition.frames > frames:
            where, at = (side.spot, side.at) if side is not None else (spot, key)
            what = (
                f"a {transition.kind} of {as_time(transition.frames, rate)} does not fit into "
                f"shot {spot.shot}, which lasts {length}"
            )
            report.error(where, at, "long-joint", what, cure="make it shorter, or the shot longer")
            return
    needed = _inside(into) + _inside(out)
    if needed > frames:
        what = f"its 'in' and 'out' take {as_time(needed, rate)}, the shot lasts {length}"
        report.error(spot, "in", "long-joint", what, cure="make them shorter, or the shot longer")


def _inside(transition: Transition) -> int:
    """Frames of a joint that lie inside the shot's own time; a dissolve is centred on the cut."""
    frames = transition.frames
    return -(-frames // 2) if transition.kind == "dissolve" else frames
