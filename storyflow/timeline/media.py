"""Files that hold one take each, as timelines name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

from storyflow.cutting.cut import master_of
from storyflow.planning.nodes import Plan, PlannedTake

TakeName = tuple[str, int]
"""A shot's id and the number of a take."""


@dataclass(frozen=True)
class Media:
    """A file with `frames` pictures of a take, from one frame of its shot on.

    `url` is its path from the timeline, percent-encoded. `first` is what its first picture is in
    the shot: 0 is the shot's first frame, -12 one in the handle before it. `start` is the timecode
    of the first picture, in frames; `reel` has at most eight characters, empty where the file has
    none. `current` is False for a version that a newer one has replaced.
    """

    shot: str
    take: int
    url: str
    frames: int
    first: int
    start: int = 0
    reel: str = ""
    current: bool = True

    @property
    def stem(self) -> str:
        """The file's name without its ending."""
        return PurePosixPath(unquote(self.url)).stem


def first_frame(take: PlannedTake) -> int:
    """What a take's first generated frame is in its shot: 0, or less by the head handle."""
    return take.slip - take.head


def masters(plan: Plan) -> Mapping[TakeName, Media]:
    """The masters of a plan's takes, as they lie beside the film."""
    return {
        (take.shot.id, take.take): Media(
            shot=take.shot.id,
            take=take.take,
            url=url_of(master_of(Path(), take.shot.id, take.take)),
            frames=take.generated,
            first=first_frame(take),
        )
        for take in plan.takes
    }


def url_of(path: Path) -> str:
    """A relative path as a relative URL."""
    return quote(path.as_posix())
