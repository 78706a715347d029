"""What the cut shows, entry by entry, as streams of pictures at the delivered size.

A film is a sequence of entries; each is opened as a stream that yields its pictures in order and
holds none of them. A cut is one stream after the other; any other transition is an operation on
the streams of two neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from storyflow.cutting.card import missing_card
from storyflow.errors import CutError, DamagedError
from storyflow.store.clip import iter_clip
from storyflow.store.hashing import array_hash
from storyflow.timing import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Footage:
    """Frames [start, stop) of a shot's master. `hashes` are those frames' expected hashes."""

    shot: str
    master: Path
    start: int
    stop: int
    hashes: Sequence[str]

    @property
    def frames(self) -> int:
        """Length in the film."""
        return self.stop - self.start


@dataclass(frozen=True)
class Missing:
    """A shot that couldn't be rendered: a card of its exact length."""

    shot: str
    reason: str
    frames: int


Entry = Footage | Missing


@dataclass(frozen=True)
class Picture:
    """One picture of the film: uint8 [height, width, 3] as delivered, and the sha256 of the raw
    frame behind it (of the card itself where a shot is missing)."""

    pixels: NDArray[np.uint8]
    sha256: str


class MasterError(CutError):
    """A shot master is missing, unreadable or of other content; making it anew is the cure."""

    def __init__(self, what: str, path: Path) -> None:
        super().__init__(what, cure=f"remove {path} and cut again")
        self.path = path

    def __reduce__(self) -> tuple[type[MasterError], tuple[str, Path]]:
        return type(self), (self.what, self.path)


def delivered_size(size: Size, scale: int) -> Size:
    """The film's picture size: scaled up by a whole number, then padded to even."""
    width, height = size.width * scale, size.height * scale
    return Size(width + width % 2, height + height % 2)


def film_pictures(entries: Sequence[Entry], size: Size, scale: int) -> Iterator[Picture]:
    """The film's pictures in order. Raises MasterError."""
    for entry in entries:
        yield from open_entry(entry, size, scale)


def open_entry(entry: Entry, size: Size, scale: int) -> Iterator[Picture]:
    """The stream of one entry: exactly `entry.frames` pictures. Raises MasterError."""
    if isinstance(entry, Missing):
        card = missing_card(entry.shot, entry.reason, delivered_size(size, scale))
        picture = Picture(card, array_hash(card))
        for _ in range(entry.frames):
            yield picture
        return
    place = f"the master of shot {entry.shot}, {entry.master},"
    hashes = tuple(entry.hashes)
    frames = iter_clip(entry.master, entry.start, entry.stop, hashes)
    for position, sha256 in enumerate(hashes):
        try:
            frame = next(frames, None)
        except DamagedError as error:
            raise MasterError(f"{place} is damaged: {error.what}", entry.master) from error
        except OSError as error:
            raise MasterError(f"{place} can't be read: {error}", entry.master) from error
        if frame is None:
            raise MasterError(
                f"{place} ends at frame {entry.start + position} instead of {entry.stop}",
                entry.master,
            )
        if frame.shape != (size.height, size.width, 3):
            raise MasterError(
                f"{place} is {frame.shape[1]}x{frame.shape[0]}, the film is {size}", entry.master
            )
        yield Picture(enlarge(frame, scale), sha256)


def enlarge(frame: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Every pixel `scale` times `scale`, then the last row and column doubled to even sizes."""
    if scale > 1:
        frame = frame.repeat(scale, axis=0).repeat(scale, axis=1)
    odd = [(0, length % 2) for length in frame.shape[:2]]
    return np.pad(frame, (*odd, (0, 0)), mode="edge") if any(o[1] for o in odd) else frame
