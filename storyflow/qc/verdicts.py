"""What is said about a film's quality: readings, verdicts, and the worst of them.

Plain data, written to `qc.json` and shown in tables and reports.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["pass", "warn", "fail"]

SeamKind = Literal["segment", "beat", "continuation"]
"""A plain join of two segments, one at which a beat begins, one with the shot that it continues."""

_ORDER: tuple[Level, ...] = ("pass", "warn", "fail")


@dataclass(frozen=True)
class Verdict:
    """One measure that is out of its limits; what is within them has no verdict.

    `frame` counts within the take, from its first generated frame, and is None for measures of a
    whole take; a film's own verdicts have no `shot`, or one that is missing, and count within the
    film. `stop` ends a stretch of frames. `limit` is the one that `value` has passed. `text` is one
    line for people.
    """

    measure: str
    level: Level
    value: float
    limit: float
    text: str
    shot: str | None = None
    take: int = 1
    frame: int | None = None
    stop: int | None = None


@dataclass(frozen=True)
class Seam:
    """What is measured where a segment begins; `frame` is its first new frame in the take.

    `ratio` is the motion at the seam over the median around it, `warp` the same of what the
    optical flow leaves unexplained. `colour` is how far the mean colour jumps (CIE dE76), less
    the median jump around. `light` (L*) and `saturation` (per cent of the mean chroma before) are
    signed steps less the median step around. `sharpness` is the Laplacian's variance after over
    before. `shown` is False for a seam outside of the cut.
    """

    frame: int
    kind: SeamKind
    segment: str
    ratio: float
    warp: float
    colour: float
    light: float
    saturation: float
    sharpness: float
    level: Level = "pass"
    shown: bool = True


@dataclass(frozen=True)
class Drift:
    """The systematic step of a take's seams: the median over `seams` of their signed steps.

    `light` is in L* per segment, `saturation` in per cent per segment. `light_chance` and
    `saturation_chance` say how often as many random positions inside the same take give a median
    at least as large: small ones are not chance.
    """

    seams: int
    light: float
    saturation: float
    light_chance: float
    saturation_chance: float


@dataclass(frozen=True)
class TakeQuality:
    """One take: its seams, its systematic step (None with fewer than two seams), its verdicts.

    `tag` is the content of the master that was measured, `rhythm` the strongest over the weakest
    of the four phases of luma steps. `drift` is None where there are too few seams, `rhythm`
    where there are too few frames.
    """

    shot: str
    take: int
    tag: str
    frames: int
    level: Level
    seams: tuple[Seam, ...]
    drift: Drift | None
    rhythm: float | None
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Delivery:
    """A delivered file against the pictures that went into it.

    `ssim` is the mean over frames of the luma's (0 to 1), `worst` that of the worst frame and
    `frame` its place in the film. `vmaf` is the mean (0 to 100), None where it wasn't asked for.
    """

    file: str
    sha256: str
    ssim: float
    worst: float
    frame: int
    vmaf: float | None = None


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A whole film. `verdicts` are about the film; each take has its own.

    `limits` names the table of limits that was applied, for people.
    """

    storyflow: Literal[1] = 1
    title: str
    pipeline: str
    limits: str
    level: Level
    takes: tuple[TakeQuality, ...]
    verdicts: tuple[Verdict, ...] = ()
    delivery: Delivery | None = None

    def of(self, shot: str, take: int) -> TakeQuality | None:
        """What was found in a take, if it was measured."""
        return next((t for t in self.takes if (t.shot, t.take) == (shot, take)), None)

    @property
    def every(self) -> tuple[Verdict, ...]:
        """All verdicts, the film's first, then by take."""
        return (*self.verdicts, *(v for take in self.takes for v in take.verdicts))


def worst(levels: Iterable[Level]) -> Level:
    """The worst of some levels; `pass` for none.

    >>> worst(["pass", "fail", "warn"])
    'fail'
    """
    return max(levels, key=_ORDER.index, default="pass")
