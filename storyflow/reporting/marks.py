"""Titles and transitions of the cut: where they lie in the film, and how to tell of them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from storyflow.cutting.manifest import Manifest, ManifestShot
from storyflow.cutting.shown import ManifestTransition
from storyflow.reporting.facts import Span
from storyflow.timing import nominal, timecode


def titles(manifest: Manifest) -> Iterator[Span]:
    """Every title that is seen, from its first frame to its last."""
    for shot in manifest.shots:
        if shot.missing is None:
            for title in shot.titles:
                yield Span(*title.frames, title.text)


def blends(manifest: Manifest) -> Iterator[Span]:
    """Every stretch in which two shots, or a shot and a colour, are mixed, once."""
    before: ManifestTransition | None = None
    for shot in manifest.shots:
        # A dissolve is the end of one shot and the beginning of the next.
        if shot.into is not None and shot.into != before:
            yield Span(*shot.into.frames, _name(shot.into))
        if shot.out is not None:
            yield Span(*shot.out.frames, _name(shot.out))
        before = shot.out


def extras(shot: ManifestShot, fps: Fraction) -> tuple[str, ...]:
    """A line for each transition and title of a shot."""
    lines = []
    if shot.into is not None:
        lines.append(f"begins with a {_name(shot.into)} of {_long(shot.into.frames, fps)}")
    for title in shot.titles:
        text = " / ".join(title.text.splitlines())
        length = _long(title.frames, fps)
        seen = "not shown" if shot.missing else f"at {timecode(title.frames[0], fps)} for {length}"
        lines.append(f"title “{text}”, {seen}")
    if shot.out is not None:
        lines.append(f"ends with a {_name(shot.out)} of {_long(shot.out.frames, fps)}")
    return tuple(lines)


def _name(made: ManifestTransition) -> str:
    if made.kind == "fade":
        return f"fade through {made.color}"
    return f"wipe {made.way}" if made.way else made.kind


def _long(frames: tuple[int, int], fps: Fraction) -> str:
    seconds = f"{(frames[1] - frames[0]) / nominal(fps):.2f}".rstrip("0").rstrip(".")
    return f"{seconds} s"
