"""The plan: a film as a graph of segments, plain data, before anything is rendered.

Nodes are named by their *recipe*: the hash of everything that decides a segment's output, with the
parents' recipes standing in for pixels that don't exist yet (see `keys.py`). Equal recipes are one
node, so takes that share their beginning share its segments.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Literal

from storyflow.errors import Problem
from storyflow.renderer import SegmentSpec
from storyflow.storyboard.resolved import Mode, ResolvedShot, Title, Transition
from storyflow.timing import Size


@dataclass(frozen=True)
class Span:
    """Frames [start, stop) of one segment, counted from that segment's first new frame."""

    segment: str
    start: int
    stop: int


@dataclass(frozen=True)
class Condition:
    """A file that a segment starts from, ends on or extends; `digest` is its sha256."""

    role: Literal["start", "end", "clip"]
    digest: str
    fit: Literal["crop", "pad"] = "crop"


@dataclass(frozen=True)
class SegmentInputs:
    """Everything that decides a segment's pixels, except its history: the body of its key."""

    model: str
    pixel_fields: tuple[tuple[str, object], ...]
    prompt: str
    negative: str
    spec: SegmentSpec
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Segment:
    """One node. `start` is its first new frame's place in the take; `index`, `beat` count from 0.

    `key` names the stored output of a held take's segment: it is used as it is and never rendered,
    whatever `inputs` (today's) say. All other segments have None: their keys come with rendering.
    """

    recipe: str
    shot: str
    take: int
    index: int
    beat: int
    start: int
    inputs: SegmentInputs
    history: tuple[Span, ...] = ()
    flops: float = 0.0
    key: str | None = None

    @property
    def name(self) -> str:
        """`2C/3` is the third of its take; `2C.2/3` for another take than the first."""
        take = "" if self.take == 1 else f".{self.take}"
        return f"{self.shot}{take}/{self.index + 1}"

    @property
    def stop(self) -> int:
        """One past its last frame's position in the take."""
        return self.start + self.inputs.spec.new

    @property
    def parents(self) -> tuple[str, ...]:
        """Recipes of the segments whose frames it continues."""
        if len(self.history) < 2:
            return (self.history[0].segment,) if self.history else ()
        return tuple(dict.fromkeys(span.segment for span in self.history))


@dataclass(frozen=True)
class PlannedTake:
    """One take of one shot: its chain of segments and where the cut takes its frames.

    The cut shows [head, head + frames) of the generated frames; before lies the head handle, after
    it the tail handle and, after the last segment only, the surplus that the lattice forces.
    `held` says so for an approved take that is kept as it is ("held, stale: style"). `slip` is the
    part of the head that a transition took from inside a shot that was rendered before.
    """

    shot: ResolvedShot
    take: int
    seed: int
    segments: tuple[Segment, ...]
    head: int
    frames: int
    held: str | None = None
    slip: int = 0

    @property
    def mode(self) -> Mode:
        """Text, image, first-last, extend or continue."""
        return self.shot.mode

    @property
    def generated(self) -> int:
        """Frames that rendering yields, handles and surplus included."""
        return sum(segment.inputs.spec.new for segment in self.segments)


@dataclass(frozen=True)
class CutEntry:
    """One shot in the cut: frames [start, stop) of a take's generated frames.

    Under a dissolve or wipe, `into.before` frames before `start` are seen, too, and `out.after`
    from `stop` on. Where the take has no frame before its first (an image-to-video shot), that one
    is repeated: `hold` times. `titles` count from `start`.
    """

    shot: str
    take: int
    start: int
    stop: int
    hold: int = 0
    into: Transition = field(default=Transition())
    out: Transition = field(default=Transition())
    titles: tuple[Title, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A film, planned for one pipeline. `notices` are the adjustments that planning made.

    `fps` is the film's frame rate, `rate` the model's: clips are read at it. `writer` is who has
    yet to write some of its prompts, which are the composer's until then; else it is empty.
    `scenes` are the scenes' headings, `about` tells viewers what the film is about.
    """

    title: str
    pipeline: str
    fps: Fraction
    size: Size
    takes: tuple[PlannedTake, ...]
    cut: tuple[CutEntry, ...]
    keeps_latents: bool
    embeds_prompts: bool
    history: str
    rate: Fraction = Fraction(24)
    writer: str = ""
    notices: tuple[Problem, ...] = field(default=(), compare=False)
    scenes: tuple[str | None, ...] = ()
    about: str = ""

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """Every node once, parents before children within a shot, in storyboard order."""
        unique: dict[str, Segment] = {}
        for take in self.takes:
            for segment in take.segments:
                unique.setdefault(segment.recipe, segment)
        return tuple(unique.values())

    @cached_property
    def by_recipe(self) -> dict[str, Segment]:
        """Every node by its recipe."""
        return {segment.recipe: segment for segment in self.segments}

    def with_history(self, recipes: Collection[str]) -> tuple[Segment, ...]:
        """The segments of these recipes and all that they continue, in the plan's order."""
        every = self.by_recipe
        found: set[str] = set()
        pending = [recipe for recipe in every if recipe in recipes]
        while pending:
            recipe = pending.pop()
            if recipe not in found:
                found.add(recipe)
                pending += every[recipe].parents
        return tuple(segment for recipe, segment in every.items() if recipe in found)

    @property
    def frames(self) -> int:
        """Length of the film in frames."""
        return sum(entry.stop - entry.start for entry in self.cut)

    def take(self, shot: str, take: int) -> PlannedTake:
        """The take that the cut or a continuation names. Raises KeyError."""
        for planned in self.takes:
            if planned.shot.id == shot and planned.take == take:
                return planned
        raise KeyError(f"{shot} take {take}")
