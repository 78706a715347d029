"""The joints between shots: cuts, dissolves, wipes and fades, and what contradicts what."""

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
        return Side(Transition(cue.kind, frames, color, cue.way), str(cue), at, key)

    return Ends(
        side(shot.in_, scene.in_ if first else None, "in"),
        side(shot.out, scene.out if last else None, "out"),
    )


def join(
    ends: Sequence[Ends], frames: Sequence[int], continues: Sequence[bool], spots: Sequence[Spot],
    rate: Fraction, report: Report,
) -> list[tuple[Transition, Transition]]:  # fmt: skip
    """`(into, out)` of every shot. A dissolve or wipe stands on both sides of its cut."""
    into, out = [end.into for end in ends], [end.out for end in ends]
    if into and into[0] is not None and into[0].transition.mixes:
        what = f"no shot stands before to {_kind(into[0])} from"
        report.error(into[0].spot, "in", "dissolve-at-edge", what, cure="use 'in: fade 1s'")
    if out and out[-1] is not None and out[-1].transition.mixes:
        what = f"no shot follows to {_kind(out[-1])} into"
        report.error(out[-1].spot, "out", "dissolve-at-edge", what, cure="use 'out: fade 1s'")
    for number in range(1, len(ends)):
        before, after = out[number - 1], into[number]
        if before is not None and after is not None and _contradict(before, after):
            what = f"this shot's 'in: {after.text}' contradicts 'out: {before.text}' before it"
            report.error(after.spot, "in", "contradicting-joint", what, cure="remove one of them")
            continue
        mix = next((side for side in (after, before) if side and side.transition.mixes), None)
        if mix is None:
            continue
        out[number - 1] = into[number] = mix
        if continues[number]:
            what = f"shot {spots[number].shot} continues another: nothing can {_kind(mix)} into it"
            cure = "use a cut, or remove its 'from'"
            report.error(mix.spot, mix.at, "dissolve-into-continuation", what, cure=cure)
    for number, length in enumerate(frames):
        _refuse_long(into[number], out[number], length, spots[number], rate, report)
    return [(_transition(a), _transition(b)) for a, b in zip(into, out, strict=True)]


def _transition(side: Side | None) -> Transition:
    return Transition() if side is None else side.transition


def _kind(side: Side) -> str:
    return side.transition.kind


def _contradict(out: Side, into: Side) -> bool:
    """What mixes must be the same on both sides; fades and cuts stand beside each other."""
    mixes = out.transition.mixes or into.transition.mixes
    return mixes and out.transition != into.transition


def _refuse_long(
    into: Side | None, out: Side | None, frames: int, spot: Spot, rate: Fraction, report: Report
) -> None:
    """A joint must fit into the shot: all of a fade, and all of what mixes, though half shows; and
    the second must not begin before the first has ended."""
    length, cure = as_time(frames, rate), "make it shorter, or the shot longer"
    sides = [side for side in (into, out) if side is not None]
    for side in sides:
        joint = side.transition
        if joint.frames > frames:
            what = f"a {joint.kind} of {as_time(joint.frames, rate)} does not fit into shot "
            what += f"{spot.shot}, which lasts {length}"
            report.error(side.spot, side.at, "long-joint", what, cure=cure)
            return
    needed = (0 if into is None else _taken(into.transition, begins=True)) + (
        0 if out is None else _taken(out.transition, begins=False)
    )
    if needed > frames:
        what = f"its 'in' and 'out' take {as_time(needed, rate)}, the shot lasts {length}"
        report.error(sides[0].spot, sides[0].at, "long-joint", what, cure=cure)


def _taken(joint: Transition, *, begins: bool) -> int:
    """Frames of the shot's own time in which a joint is seen, at its beginning or its end."""
    if not joint.mixes:
        return joint.frames
    return joint.after if begins else joint.before
