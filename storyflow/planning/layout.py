"""One shot on the model's lattice: where its beats start, where the cut takes its frames.

Positions count the frames of a take from its first generated one:

    0          head                                      head + frames            generated
    | handle   | the shot as the cut shows it              | tail handle | surplus |

A beat starts exactly where a segment ends. A fresh shot's segments end at 4k+1 frames (for a VAE
grid of four), a continuing one's at 4k, so the head handle of a shot with several beats, or one
that another shot continues, is lengthened by up to three frames where that puts the borders exactly
where the author wants them. What can't be put exactly is snapped to the nearest segment end.

With pinned windows the head stays where it was. A transition that needs a longer one takes it from
inside the shot: the cut begins later by `slip` frames and no existing segment changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from storyflow.planning.windows import NoWindows, Windows


class BeatTooShort(ValueError):
    """Beat number `beat` (from 0) has `frames` where the model's shortest segment has `least`."""

    def __init__(self, beat: int, frames: int, least: int) -> None:
        super().__init__(f"beat {beat + 1}: {frames} frames, at least {least} are needed")
        self.beat = beat
        self.frames = frames
        self.least = least


@dataclass(frozen=True)
class Needs:
    """What a shot asks of its frames, all in frames.

    `beats` is screen time per beat; `head` and `tail` the handles around it. `fresh` shots have no
    history. Only a shot with `free_head` may begin earlier than asked (one that starts from a
    picture or from another shot's frames must show its first frame). `marked_end` puts a segment
    grid position on the cut-out, `border_at_end` a segment's end (for a `to:` picture).
    """

    beats: tuple[int, ...]
    fresh: bool = True
    head: int = 0
    tail: int = 0
    free_head: bool = True
    marked_end: bool = False
    border_at_end: bool = False

    @property
    def frames(self) -> int:
        """Screen time of the shot."""
        return sum(self.beats)


@dataclass(frozen=True)
class Layout:
    """A shot's segments, as new frames per beat, and where the cut finds its frames in them.

    `starts` are the positions where the beats begin. `end` is the cut-out on the segment grid: a
    `to:` picture follows it.
    """

    beats: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]
    head: int
    frames: int
    end: int
    slip: int = 0

    @property
    def generated(self) -> int:
        """All frames of the take."""
        return sum(sum(beat) for beat in self.beats)

    def late(self, needs: Needs) -> tuple[int, ...]:
        """Frames by which each beat starts late in the cut (early where negative); 0 first."""
        asked = accumulate(needs.beats[:-1], initial=self.head)
        return (0, *[s - a for s, a in list(zip(self.starts, asked, strict=True))[1:]])


@dataclass(frozen=True)
class Rendered:
    """What was rendered before: the head it was laid out with, new frames per segment and beat."""

    head: int
    beats: tuple[tuple[int, ...], ...]


def lay_out(needs: Needs, windows: Windows, pinned: Rendered | None = None) -> Layout:
    """Divide a shot into segments. Raises BeatTooShort."""
    if pinned is not None and not _usable(needs, windows, pinned):
        pinned = None
    laid = _head(needs, windows) if pinned is None else pinned.head
    slip = max(0, needs.head - laid)
    starts = _starts(needs, windows, laid)
    head = laid + slip
    # Without a tail handle no frames come after the picture, so it may not come too early.
    snap = windows.nearest if needs.tail else windows.round_up
    border = snap(head + needs.frames, fresh=needs.fresh)
    beats: list[tuple[int, ...]] = []
    last = len(needs.beats) - 1
    for index, start in enumerate(starts):
        old = pinned.beats[index] if pinned and index < len(pinned.beats) else ()
        fresh = needs.fresh and index == 0
        if index < last:
            beats.append(_fill(windows, old, starts[index + 1] - start, index, fresh, exact=True))
            continue
        stop = head + needs.frames + needs.tail
        if not needs.border_at_end:
            beats.append(_fill(windows, old, stop - start, index, fresh, exact=False))
            continue
        lengths = _fill(windows, old, border - start, index, fresh, exact=True)
        if stop > border:
            shared = sum(1 for a, b in zip(old, lengths, strict=False) if a == b)
            after = old[len(lengths) :] if shared == len(lengths) else ()
            lengths += _fill(windows, after, stop - border, index, False, exact=False)
        beats.append(lengths)
    end = windows.round_down(head + needs.frames, fresh=needs.fresh)
    if needs.border_at_end:
        end = border
    return Layout(tuple(beats), tuple(starts), head, needs.frames, end, slip)


def _fill(
    windows: Windows, old: Sequence[int], frames: int, beat: int, fresh: bool, *, exact: bool
) -> tuple[int, ...]:
    if frames < 1:
        raise BeatTooShort(beat, frames, windows.least(fresh=fresh))
    try:
        return windows.keep(old, frames, fresh=fresh, exact=exact)
    except NoWindows as error:
        raise BeatTooShort(beat, frames, error.least) from None


def _usable(needs: Needs, windows: Windows, pinned: Rendered) -> bool:
    """Whether pinned windows can be built upon: legal today, and the first beat stays visible."""
    first = pinned.beats[0][0] if pinned.beats and pinned.beats[0] else 0
    if first not in windows.lengths(fresh=needs.fresh):
        return False
    if not needs.free_head and pinned.head != needs.head:
        return False
    return len(needs.beats) == 1 or needs.head - pinned.head < needs.beats[0]


def _starts(needs: Needs, windows: Windows, head: int) -> list[int]:
    """Where the beats begin: on segment ends, the first at 0."""
    borders = list(accumulate(needs.beats[:-1], initial=head))[1:]
    return [0, *(windows.nearest(border, fresh=needs.fresh) for border in borders)]


def _head(needs: Needs, windows: Windows) -> int:
    """The shortest head that puts the borders where the author wants them, as nearly as can be."""
    marks = list(accumulate(needs.beats))
    inner = marks[:-1]
    if not (needs.marked_end or needs.border_at_end):
        marks = inner
    if not needs.free_head or not marks:
        return needs.head
    grid = windows.lattice.grid

    def off(head: int) -> int:
        places = [head + mark for mark in marks]
        return sum(abs(windows.nearest(p, fresh=needs.fresh) - p) for p in places)

    head = min(range(needs.head, needs.head + grid), key=off)
    while inner and windows.nearest(head + inner[0], fresh=needs.fresh) < windows.least(
        fresh=needs.fresh
    ):
        head += grid
    return head
