"""The pictures and clips that a film starts from: checked before anything is planned on them.

A file is hashed for the keys and read once as the renderer will get it, so that one that is broken,
too short or too large is told with its line in the storyboard, before anything is rendered. What
was read is dropped: the run reads it again and puts it into the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from storyflow.errors import Problem, StoryboardError
from storyflow.media.reading import BadMedia
from storyflow.planning.keys import media_key
from storyflow.planning.legality import fault, notice
from storyflow.planning.nodes import Condition, Plan, Segment
from storyflow.storyboard.resolved import ResolvedShot, Where
from storyflow.timing import Size

if TYPE_CHECKING:
    from storyflow.media.reading import Reading


@dataclass(frozen=True)
class Source:
    """A file that segments read, and what of it: one picture, or a clip's last `frames`."""

    key: str
    shot: ResolvedShot
    condition: Condition
    size: Size
    frames: int
    fps: Fraction

    @property
    def path(self) -> Path:
        """Where the author keeps it."""
        path = self.shot.end if self.condition.role == "end" else self.shot.source
        assert path is not None, "a condition comes from a file"
        return path

    @property
    def where(self) -> Where:
        """Where the author names it."""
        return self.shot.end_at if self.condition.role == "end" else self.shot.source_at

    def read(self) -> Reading:
        """The pictures as the renderer gets them.

        Raises StoryboardError where the file is not what it was when the film was planned.
        """
        try:
            if _digest(self.path) != self.condition.digest:
                what = f"{self.path} has changed since the film was planned"
                problem = fault(self.shot, "changed-source", what, cure="run it again",
                                where=self.where)  # fmt: skip
                raise StoryboardError([problem])
            return _read(self.path, self.condition, self.size, self.frames, self.fps)
        except (OSError, BadMedia) as error:
            raise StoryboardError([_told(self.shot, self.where, self.path, error)]) from None


class Sources:
    """Makes conditions of a film's files. `overlap` frames of a clip are read at `fps` a second."""

    def __init__(self, size: Size, overlap: int, fps: Fraction) -> None:
        self._size = size
        self._overlap = overlap
        self._fps = fps
        self._digests: dict[Path, str] = {}

    def condition(self, shot: ResolvedShot, *, end: bool) -> tuple[Condition | None, list[Problem]]:
        """What a shot starts from, or with `end` ends on; None, and a fault, if it is unusable."""
        path, where = (shot.end, shot.end_at) if end else (shot.source, shot.source_at)
        assert path is not None
        try:
            digest = self._digests.get(path) or _digest(path)
            self._digests[path] = digest
            role = "end" if end else ("clip" if shot.mode == "extend" else "start")
            condition = Condition(role, digest, shot.fit)  # type: ignore[arg-type]
            frames = self._overlap if condition.role == "clip" else 1
            found = _examined(path, condition, self._size, frames, self._fps)
        except (OSError, BadMedia) as error:
            return None, [_told(shot, where, path, error)]
        told = [notice(shot, "adjusted-source", f"{path.name}: {t}", where=where) for t in found]
        return condition, told


def sources(plan: Plan, segments: Iterable[Segment]) -> tuple[Source, ...]:
    """The files that these segments of a plan read, each once."""
    shots = {take.shot.id: take.shot for take in plan.takes}
    found: dict[str, Source] = {}
    for segment in segments:
        if segment.key is not None:
            continue  # a held take is not rendered, whatever its files have become
        for condition in segment.inputs.conditions:
            key = key_of(plan, segment, condition)
            if key not in found:
                frames = _frames(segment, condition)
                shot = shots[segment.shot]
                found[key] = Source(key, shot, condition, plan.size, frames, plan.rate)
    return tuple(found.values())


def key_of(plan: Plan, segment: Segment, condition: Condition) -> str:
    """The name, in the store, of what a segment reads of a file."""
    return media_key(condition, plan.size, _frames(segment, condition), plan.rate)


def _frames(segment: Segment, condition: Condition) -> int:
    return segment.inputs.spec.overlap if condition.role == "clip" else 1


def _told(shot: ResolvedShot, where: Where, path: Path, error: OSError | BadMedia) -> Problem:
    if isinstance(error, BadMedia):
        return fault(shot, error.code, f"{path.name}: {error.what}", cure=error.cure, where=where)
    what = f"{path.name} can't be read ({error.strerror or error})"
    return fault(shot, "unreadable-source", what, cure="check the file", where=where)


@lru_cache(maxsize=1000)
def _examined(
    path: Path, condition: Condition, size: Size, frames: int, fps: Fraction
) -> tuple[str, ...]:
    """What reading it adjusts. Remembered by content: a run plans the same film several times."""
    return _read(path, condition, size, frames, fps).notices


def _read(path: Path, condition: Condition, size: Size, frames: int, fps: Fraction) -> Reading:
    """Raises OSError and BadMedia."""
    if condition.role == "clip":
        from storyflow.media.clip import read_tail

        return read_tail(path, frames, fps, size, condition.fit)
    from storyflow.media.picture import read_picture

    return read_picture(path, size, condition.fit)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
