"""The storyboard with every default applied: what prompts and plan are made from.

These are plain frozen values. Nothing here reads files or knows YAML; `resolve.py` makes them.
Sizes, angles and views are the captioner's words (see `grammar.py`), or None where the author and
all defaults are silent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

from storyflow.errors import Problem
from storyflow.timing import Size

Mode = Literal["text", "image", "first-last", "extend", "continue"]
"""Inferred from `from:` and `to:`, never written in a storyboard."""


@dataclass(frozen=True)
class Where:
    """The place in the author's file, for messages; all None for objects built in Python."""

    file: str | None = None
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True)
class Character:
    """A cast member: the name used in the storyboard, the look used in prompts."""

    name: str
    look: str
    ref: Path | None = None


@dataclass(frozen=True)
class Place:
    """A named place and its look."""

    name: str
    look: str


Way = Literal["left", "right", "up", "down"]
"""Where a wipe's edge moves."""

TitleStyle = Literal["center", "lower-third", "card"]
"""Large in the middle, small at the bottom left, or in the middle of a ground of one colour."""


@dataclass(frozen=True)
class Transition:
    """How a shot begins or ends. `frames` is 0 for a cut, `color` a fade's, `way` a wipe's.

    Dissolves and wipes show two shots at once, centred on the cut: `before` frames before it,
    `after` frames after it. Fades lie inside their shot.
    """

    kind: Literal["cut", "dissolve", "wipe", "fade"] = "cut"
    frames: int = 0
    color: str = "black"
    way: Way | None = None

    @property
    def mixes(self) -> bool:
        """Whether it shows both shots at once."""
        return self.kind in ("dissolve", "wipe")

    @property
    def before(self) -> int:
        """Frames before the cut in which the next shot is seen already."""
        return self.frames // 2 if self.mixes else 0

    @property
    def after(self) -> int:
        """Frames after the cut in which the shot before it is seen still."""
        return self.frames - self.before if self.mixes else 0


@dataclass(frozen=True)
class Title:
    """Text laid over the picture by the cut: `at` and `frames` count within the shot.

    `ground` is the colour behind a card: black, white or #rrggbb.
    """

    text: str
    at: int
    frames: int
    style: TitleStyle = "center"
    ground: str = "black"
    where: Where = field(default=Where(), compare=False)


@dataclass(frozen=True)
class ResolvedBeat:
    """A stretch of a shot with its own prompt.

    `frames` is screen time. `who` lists everyone whose look the prompt carries, in order of
    appearance: the shot's `who:` and everyone named so far in the shot. `do` keeps its `@names`.
    """

    frames: int
    do: str
    say: str | None = None
    feel: str | None = None
    size: str | None = None
    angle: str | None = None
    view: str | None = None
    move: str | None = None
    lens: str | None = None
    light: str | None = None
    place: Place | None = None
    who: tuple[Character, ...] = ()
    style: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    where: Where = field(default=Where(), compare=False)


@dataclass(frozen=True)
class ResolvedShot:
    """One uncut piece of screen time, with its id known and its mode inferred.

    `fingerprint` hashes what the author wrote for this shot, so that a shot without an id is found
    again when others are inserted or moved. `take` is the storyboard's choice, None if it makes
    none. `source` and `end` are the pictures or the clip of `from:` and `to:`, named at
    `source_at` and `end_at`; `follows` is the id of the shot that a continuation continues.
    """

    id: str
    fingerprint: str
    scene: int
    mode: Mode
    beats: tuple[ResolvedBeat, ...]
    source: Path | None = None
    end: Path | None = None
    follows: str | None = None
    fit: Literal["crop", "pad"] = "crop"
    into: Transition = Transition()
    out: Transition = Transition()
    titles: tuple[Title, ...] = ()
    takes: int = 1
    take: int | None = None
    seed: int | None = None
    note: str | None = None
    where: Where = field(default=Where(), compare=False)
    source_at: Where = field(default=Where(), compare=False)
    end_at: Where = field(default=Where(), compare=False)

    @property
    def frames(self) -> int:
        """Screen time in frames: the sum of the beats'."""
        return sum(beat.frames for beat in self.beats)


@dataclass(frozen=True)
class ResolvedScene:
    """A scene's heading ("INT. LIGHTHOUSE - NIGHT"), None for a film without scenes."""

    heading: str | None


@dataclass(frozen=True)
class ResolvedFilm:
    """A film ready for prompts and plan. `notices` are the adjustments made on the way here.

    `about` tells viewers what the film is about.
    """

    title: str
    fps: Fraction
    size: Size | None
    handles: int
    seed: int
    scenes: tuple[ResolvedScene, ...]
    shots: tuple[ResolvedShot, ...]
    notices: tuple[Problem, ...] = field(default=(), compare=False)
    about: str = ""

    @property
    def frames(self) -> int:
        """Length of the film in frames."""
        return sum(shot.frames for shot in self.shots)
