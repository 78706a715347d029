"""What a transition of an editing program is in a film: a dissolve, a wipe, fades, or a cut."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from storyflow.storyboard.resolved import Transition, Way
from storyflow.timeline.edited import CUT, Join

_WAYS: tuple[Way, ...] = ("left", "right", "up", "down")
_PLAIN = re.compile(r"(cross |additive )?(dissolve|smpte_dissolve\b.*)", re.I)
_COLOR = re.compile(r"\b(black|white|#[0-9a-f]{6})\b", re.I)


def join_of(
    name: str, kind: str, before: int, after: int, own: Mapping[str, Any] | None
) -> tuple[Join, str]:
    """A transition by its name and kind, with what storyflow wrote into it, if that is there.

    The note says what was made of one that a film has not; empty for others. Frames are shared as
    the editor left them, whatever was written once.
    """
    frames = before + after
    if not frames:
        return CUT, ""
    words = name.lower()
    way = next((way for way in _WAYS if re.search(rf"\b{way}\b", words)), None)
    if own is not None and ("fade_in" in own or "fade_out" in own):
        return _fades(before, after, own), ""
    if "wipe" in words or kind == "SMPTE_Wipe":
        if way is not None:
            return Join(before, after, Transition("wipe", frames, way=way)), ""
        note = f"the wipe {name!r} becomes one to the right"
        return Join(before, after, Transition("wipe", frames, way="right")), note
    if re.search(r"\b(dip|fade)\b", words):
        color = _COLOR.search(words)
        return _dip(before, after, color[1] if color else "black"), ""
    if kind == "SMPTE_Dissolve" or "dissolve" in words:
        note = "" if _PLAIN.fullmatch(name) else f"{name!r} becomes a plain dissolve"
        return Join(before, after, Transition("dissolve", frames)), note
    return CUT, f"the transition {name!r} becomes a cut"


def _dip(before: int, after: int, color: str) -> Join:
    """A dip to a colour: the piece before fades out, the one after fades in."""
    return Join(
        before,
        after,
        fade_out=Transition("fade", before, color) if before else Transition(),
        fade_in=Transition("fade", after, color) if after else Transition(),
    )


def _fades(before: int, after: int, own: Mapping[str, Any]) -> Join:
    def fade(side: str, frames: int) -> Transition:
        if side not in own or not frames:
            return Transition()
        color = str(own[side].get("color", "black"))
        return Transition("fade", frames, color if _COLOR.fullmatch(color) else "black")

    return Join(before, after, fade_out=fade("fade_out", before), fade_in=fade("fade_in", after))
