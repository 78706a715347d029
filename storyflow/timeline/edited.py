"""What an editing program made of a film, whichever file it came in: pieces, joins, notes.

Frames are the film's. Times within media are timecodes, in frames, as the program counts them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from storyflow.storyboard.resolved import Transition
from storyflow.timeline.media import TakeName


@dataclass(frozen=True)
class Source:
    """Frames of a file: every name that it is called by, without endings, the likeliest first.

    `start` is the timecode of the first frame that is shown, `origin` that of the file's first
    frame where the edit tells it.
    """

    names: tuple[str, ...]
    start: int
    origin: int | None = None


@dataclass(frozen=True)
class Piece:
    """`frames` of the film from `at` on. `source` is None where the screen is black.

    `stands_for` is the take that is missing there, where it is known.
    """

    at: int
    frames: int
    name: str
    source: Source | None = None
    stands_for: TakeName | None = None


@dataclass(frozen=True)
class Join:
    """What happens between two pieces: so many frames before and after the cut.

    `mixing` shows both. Fades are those of the piece before and after; a dissolve from or to black
    is one, too.
    """

    before: int = 0
    after: int = 0
    mixing: Transition = field(default=Transition())
    fade_out: Transition = field(default=Transition())
    fade_in: Transition = field(default=Transition())


CUT = Join()


@dataclass(frozen=True)
class Edited:
    """An edit. `joins` has one more than `pieces`: before the first, between them, after the last.

    `notes` are lines about what it has that can't be read. `start` is the timecode of its first
    frame. `own` says that it still has what storyflow wrote into it, so that nothing but an editor
    took anything out.
    """

    title: str
    start: int
    pieces: tuple[Piece, ...]
    joins: tuple[Join, ...]
    notes: tuple[str, ...] = ()
    own: bool = False
