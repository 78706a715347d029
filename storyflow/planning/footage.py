"""Frames that will exist: the segments of a take in a row, and the last frames before any place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from storyflow.planning.nodes import Segment, Span


@dataclass(frozen=True)
class Footage:
    """A take's segments. `before` is the history that its first segment continues, if any."""

    segments: Sequence[Segment]
    before: tuple[Span, ...] = ()

    def last(self, frames: int, stop: int | None = None) -> tuple[Span, ...]:
        """The `frames` frames before position `stop` (the end, if None), in their order.

        They may lie in several segments, and before the take's first frame. Raises ValueError if
        there are not that many.
        """
        spans: list[Span] = []
        missing = frames
        for segment in reversed(self.segments):
            if not missing:
                break
            end = segment.stop if stop is None else min(stop, segment.stop)
            if end <= segment.start:
                continue
            start = max(segment.start, end - missing)
            spans.append(Span(segment.recipe, start - segment.start, end - segment.start))
            missing -= end - start
        for span in reversed(self.before):
            if not missing:
                break
            start = max(span.start, span.stop - missing)
            spans.append(Span(span.segment, start, span.stop))
            missing -= span.stop - start
        if missing:
            raise ValueError(f"{missing} of {frames} frames are missing")
        return tuple(reversed(spans))
