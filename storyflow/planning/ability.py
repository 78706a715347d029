"""What a model kind can render of a shot: its modes, and whether a shot is more than one window.

Kinds that continue from history render shots of any length and any number of beats. Others (the
full-sequence models) render one window: one beat, at most as long as the window, that begins
afresh. Their weights may be for one mode only.
"""

from __future__ import annotations

from dataclasses import replace

from storyflow.errors import Problem
from storyflow.planning.layout import Needs
from storyflow.planning.legality import count, fault, notice
from storyflow.renderer import Lattice, ModelKind
from storyflow.storyboard.resolved import Mode, ResolvedShot

_CONTINUES = "use a diffusion-forcing pipeline"

_FAULTS: dict[Mode, tuple[str, str]] = {
    "text": ("it starts from a picture always", "add 'from: PICTURE', or use another pipeline"),
    "image": ("it can't start from a picture", "remove 'from:', or use another pipeline"),
    "first-last": ("it can't end on a picture", "remove 'to:', or use another pipeline"),
    "extend": ("it can't extend a clip", f"{_CONTINUES}, or start from a picture"),
    "continue": ("it can't continue another shot", f"{_CONTINUES}, or remove 'from:'"),
}


def single_window(lattice: Lattice) -> bool:
    """Whether a shot is one segment always."""
    return not lattice.new_frames(fresh=False)


def inability(shot: ResolvedShot, kind: ModelKind) -> Problem | None:
    """The first thing about a shot that this kind can't render; None if it can render it."""
    if shot.mode not in kind.modes:
        what, cure = _FAULTS[shot.mode]
        if shot.mode == "first-last" and "image" not in kind.modes:
            what, cure = _FAULTS["image"]
        where = shot.end_at if shot.mode == "first-last" else shot.source_at
        what = f"this pipeline's model can't render this shot: {what}"
        return fault(shot, "unsupported-mode", what, cure=cure, where=where)
    if not single_window(kind.lattice):
        return None
    most = kind.lattice.new_frames(fresh=True)[-1]
    if len(shot.beats) > 1:
        what = "this pipeline's model takes one prompt a shot, a second beat can't follow"
        cure = f"{_CONTINUES}, or make each beat a shot of its own"
        return fault(shot, "single-window", what, cure=cure, where=shot.beats[1].where)
    if shot.frames > most:
        what = (
            f"the shot has {shot.frames} frames, this pipeline's model renders at most {most} at "
            "once and continues none"
        )
        cure = f"{_CONTINUES}, or cut the shot into shorter ones"
        return fault(shot, "single-window", what, cure=cure)
    return None


def within_window(
    shot: ResolvedShot, needs: Needs, lattice: Lattice, joint: tuple[int, int]
) -> tuple[Needs, Problem | None]:
    """What a shot needs of its one window: handles are given up, with a notice, where they don't
    fit; a dissolve's frames, `joint` before and after the shot, are not: that is a fault.

    Nothing comes after a `to:` picture here.
    """
    room = lattice.new_frames(fresh=True)[-1] - needs.frames
    before, after = (joint[0] if needs.free_head else 0), joint[1]
    if needs.border_at_end and after:
        what = "the model's window ends with the 'to:' picture, a dissolve needs frames after it"
        cure = f"{_CONTINUES}, or use a cut"
        return needs, fault(shot, "single-window", what, cure=cure)
    if before + after > room:
        what = (
            f"the shot and its dissolves have {needs.frames + before + after} frames, this "
            f"pipeline's model renders at most {needs.frames + room}"
        )
        cure = f"{_CONTINUES}, or make the shot or the dissolves shorter"
        return needs, fault(shot, "single-window", what, cure=cure)
    head, tail = needs.head, 0 if needs.border_at_end else needs.tail
    excess = max(0, head + tail - room)
    given = min(excess, tail - after)
    head, tail = head - (excess - given), tail - given
    lost = needs.head - head + needs.tail - tail
    if not lost:
        return needs, None
    what = f"its handles are {count(lost, 'frame')} shorter: the model's window has no room"
    return replace(needs, head=head, tail=tail), notice(shot, "shorter-handles", what)
