"""What a report says, as plain values: the page and the contact sheet are made from these alone."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from storyflow.billing import BillRow
from storyflow.qc.verdicts import Level
from storyflow.reporting.curves import Panel
from storyflow.reporting.look import Shown

State = Literal["rendered", "reused", "mixed", "missing"]
"""Whether a shot's segments were rendered by the last run."""


@dataclass(frozen=True)
class Remark:
    """A quality verdict about a shot; `frame` is its place in the film, where it has one."""

    level: Level
    text: str
    frame: int | None = None


@dataclass(frozen=True)
class Still:
    """One picture of a strip; `frame` is its place in the film."""

    label: str
    frame: int
    shown: Shown


@dataclass(frozen=True)
class Group:
    """Pictures that belong together: one alone, or the two beside a seam. `note` says how the
    seam measures."""

    stills: tuple[Still, ...]
    note: str = ""
    level: Level = "pass"


@dataclass(frozen=True)
class Words:
    """A piece of a prompt; `new` where the beat before didn't say it."""

    text: str
    new: bool = False


@dataclass(frozen=True)
class BeatFacts:
    """One beat: where it begins in the film, what the author wrote, what the model was told."""

    number: int
    frame: int | None
    timecode: str
    do: str
    say: str | None
    prompt: tuple[Words, ...]


@dataclass(frozen=True)
class SegmentFacts:
    """One row of a shot's segments. `seconds` is what rendering took, when it was rendered."""

    name: str
    frames: int
    seed: int
    key: str | None
    seconds: str
    state: str
    worker: str
    numerics: str


@dataclass(frozen=True)
class TakeFacts:
    """One rendered take beside others; `video` is its file's address, `start` its first frame."""

    take: int
    seed: int
    chosen: bool
    video: str
    start: int


@dataclass(frozen=True)
class ShotFacts:
    """One place of the film: a shot, or a piece of one. Frames [start, stop) are the film's.

    `scene` is the heading where a scene begins here. `middle` is its picture for the contact
    sheet, None where it is missing. `extras` tell of transitions and titles.
    """

    id: str
    take: int
    scene: str
    mode: str
    seed: int
    start: int
    stop: int
    timecode: str
    length: str
    state: State
    missing: str | None
    strip: tuple[Group, ...]
    middle: Shown | None
    beats: tuple[BeatFacts, ...]
    segments: tuple[SegmentFacts, ...]
    seconds: str
    remarks: tuple[Remark, ...]
    extras: tuple[str, ...]
    takes: tuple[TakeFacts, ...]
    negative: str
    note: str = ""

    @property
    def level(self) -> Level:
        """The worst that was found."""
        levels = {remark.level for remark in self.remarks}
        return "fail" if "fail" in levels else "warn" if "warn" in levels else "pass"

    @property
    def line(self) -> str:
        """What is said, else what happens, in one line."""
        said = next((beat.say for beat in self.beats if beat.say), None)
        return f"“{said}”" if said else next((beat.do for beat in self.beats if beat.do), "")


@dataclass(frozen=True)
class Seam:
    """A join of two segments at a frame of the film; `kind` as in `qc.verdicts.SeamKind`."""

    frame: int
    kind: str


@dataclass(frozen=True)
class Span:
    """Frames [start, stop) of the film that something lies over: a title, a dissolve, a fade."""

    start: int
    stop: int
    text: str


@dataclass(frozen=True)
class FilmFacts:
    """The whole report. `video` is the film's file, None where nothing was cut.

    `measured` says who measured: the quality check, a quick look, or both.
    """

    title: str
    pipeline: str
    made_with: str
    when: str
    fps: Fraction
    frames: int
    width: int
    height: int
    length: str
    complete: bool
    video: str | None
    shots: tuple[ShotFacts, ...]
    seams: tuple[Seam, ...]
    titles: tuple[Span, ...]
    blends: tuple[Span, ...]
    panels: tuple[Panel, ...]
    measured: str
    bill: tuple[BillRow, ...]
    bill_source: str
    remarks: tuple[Remark, ...]
    delivery: str
    rendered: int
    reused: int

    @property
    def size(self) -> str:
        """The masters' picture size."""
        return f"{self.width}×{self.height}"  # noqa: RUF001 - typography

    @property
    def missing(self) -> tuple[ShotFacts, ...]:
        """Shots whose place a card holds."""
        return tuple(shot for shot in self.shots if shot.missing)
