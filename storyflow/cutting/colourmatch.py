"""Colour match: each segment's pictures brought to the colours of the segment before it.

A continuing segment's model sees the last frames before it and gives them back a little changed
(`Regained`): encoded and decoded again they are paler, say, or more yellow. Its new frames begin in
the changed colours, and that is the step one sees at a seam. Both copies of those frames are known,
so the change can be undone exactly as far as a gain and an offset per channel of CIE Lab go.

It is done to the pictures of the cut. What is stored, and what the next segment continues, stays as
the model made it, so no key depends on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from storyflow.media.lab import from_lab, to_lab
from storyflow.planning.nodes import Plan, PlannedTake, Segment
from storyflow.store.artifacts import Artifact

if TYPE_CHECKING:
    from numpy.typing import NDArray

Three = tuple[float, float, float]
Mode = Literal["none", "seams", "first"]
"""`first` undoes all changes since a shot's first segment: for models that go on from where they
are. `seams` undoes the change at a segment's beginning and lets go of that until its end: for
models that find back by themselves."""


@dataclass(frozen=True)
class Correction:
    """`gain * value + offset`, per channel of Lab."""

    gain: Three = (1.0, 1.0, 1.0)
    offset: Three = (0.0, 0.0, 0.0)

    def after(self, inner: Correction) -> Correction:
        """First `inner`, then this one."""
        gain = [g * i for g, i in zip(self.gain, inner.gain, strict=True)]
        offset = [g * i + o for g, i, o in zip(self.gain, inner.offset, self.offset, strict=True)]
        return Correction((gain[0], gain[1], gain[2]), (offset[0], offset[1], offset[2]))

    def part(self, share: float) -> Correction:
        """So much of it: all with 1, nothing with 0."""
        gain = [1 + share * (g - 1) for g in self.gain]
        offset = [share * o for o in self.offset]
        return Correction((gain[0], gain[1], gain[2]), (offset[0], offset[1], offset[2]))

    def apply(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 RGB [height, width, 3], corrected; the frame itself where nothing is changed."""
        if self == Correction():
            return frame
        gain, offset = np.array([self.gain, self.offset], np.float32)
        return from_lab(to_lab(frame) * gain + offset)


@dataclass(frozen=True)
class Stretch:
    """Frames [start, stop) of a take: corrected by `begin`, which fades to nothing or doesn't."""

    start: int
    stop: int
    begin: Correction
    fades: bool

    def at(self, frame: int) -> Correction:
        if not self.fades:
            return self.begin
        return self.begin.part(1 - (frame - self.start) / (self.stop - self.start))


@dataclass(frozen=True)
class ColourMatch:
    """The match of one take; a `Grade` of its pictures."""

    stretches: tuple[Stretch, ...]

    @property
    def name(self) -> str:
        """What it does, exactly: the numbers are in it as a hash."""
        return f"colour match {hashlib.sha256(repr(self.stretches).encode()).hexdigest()}"

    def at(self, index: int) -> Correction:
        """The correction of frame `index` of the take."""
        return next((s.at(index) for s in self.stretches if index < s.stop), Correction())

    def apply(self, index: int, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Frame `index` of the take, corrected; size and type stay."""
        return self.at(index).apply(frame)


def colour_match(
    plan: Plan, take: PlannedTake, artifacts: Mapping[str, Artifact], mode: Mode
) -> ColourMatch | None:
    """The match of a take whose segments are all in `artifacts` (by recipe), None for `none`.

    A shot that continues another one is matched to that. A segment whose artifact doesn't say how
    its history came back is taken as it is.
    """
    if mode == "none":
        return None
    known: dict[str, Stretch] = {}
    for segment in _in_order(plan, take):
        known[segment.recipe] = _stretch(segment, known, artifacts, fades=mode == "seams")
    return ColourMatch(
        tuple(
            Stretch(s.start, s.stop, known[s.recipe].begin, known[s.recipe].fades)
            for s in take.segments
        )
    )


def unmatched(plan: Plan, artifacts: Mapping[str, Artifact], mode: Mode) -> str:
    """One line about the segments that can't be matched, empty where there are none."""
    if mode == "none":
        return ""
    names = [
        segment.name
        for segment in plan.segments
        if segment.history
        and segment.recipe in artifacts
        and artifacts[segment.recipe].regained is None
    ]
    if not names:
        return ""
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return (
        f"colours are not matched at {shown}: nothing is stored of how the model gave the history "
        "back, because an older version rendered them or the model doesn't decode it"
    )


def _in_order(plan: Plan, take: PlannedTake) -> Sequence[Segment]:
    recipes = [segment.recipe for segment in take.segments]
    return plan.with_history(recipes)


def _stretch(
    segment: Segment,
    known: Mapping[str, Stretch],
    artifacts: Mapping[str, Artifact],
    *,
    fades: bool,
) -> Stretch:
    before = Correction()
    if segment.history:
        last = segment.history[-1]
        parent = known[last.segment]
        before = parent.at(parent.start + last.stop)
    artifact = artifacts.get(segment.recipe)
    regained = None if artifact is None else artifact.regained
    own = Correction() if regained is None else Correction(regained.gain, regained.offset)
    return Stretch(segment.start, segment.stop, before.after(own), fades)
