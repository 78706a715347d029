"""What the cut shows, shot by shot, as streams of pictures at the delivered size.

A film is a sequence of entries. Each is shown frame by frame, in this order: the master's frame,
its grade, the delivered size, a card on top of it; then the transition with its neighbour, and
titles over both. No more than the pictures that are mixed are held at once, and the pictures of any
one entry can be had without those before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from storyflow.cutting.card import missing_card
from storyflow.cutting.geometry import Geometry
from storyflow.cutting.titles import Laid, Lettering
from storyflow.cutting.transitions import fade, fade_share, mix
from storyflow.errors import CutError, DamagedError
from storyflow.store.clip import iter_clip
from storyflow.store.hashing import array_hash
from storyflow.storyboard.resolved import Title, Transition
from storyflow.timing import Size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Grade(Protocol):
    """A change of a take's own pictures, before anything else is done to them."""

    @property
    def name(self) -> str:
        """What it does, exactly: equal names are equal pictures."""

    def apply(self, index: int, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Frame `index` of the take, changed; size and type stay."""


@dataclass(frozen=True)
class Footage:
    """Frames [start, stop) of a shot's master, and what is done to them.

    `hold`, `into`, `out` and `titles` are as in `CutEntry`. `hashes` are the expected hashes of the
    frames [first, last), which are those that are read.
    """

    shot: str
    master: Path
    start: int
    stop: int
    hashes: Sequence[str]
    hold: int = 0
    into: Transition = field(default=Transition())
    out: Transition = field(default=Transition())
    titles: tuple[Title, ...] = ()
    grade: Grade | None = None

    @property
    def frames(self) -> int:
        """Length in the film."""
        return self.stop - self.start

    @property
    def first(self) -> int:
        """The first frame that the film shows any of."""
        return self.start - self.into.before + self.hold

    @property
    def last(self) -> int:
        """One past the last frame that the film shows any of."""
        return self.stop + self.out.after


@dataclass(frozen=True)
class Missing:
    """A shot that couldn't be rendered: a card of its exact length, under the same transitions.

    Its titles are not shown: they would hide what the card says.
    """

    shot: str
    reason: str
    frames: int
    into: Transition = field(default=Transition())
    out: Transition = field(default=Transition())


Entry = Footage | Missing


@dataclass(frozen=True)
class Picture:
    """One picture of the film: uint8 [height, width, 3] as delivered, and a sha256.

    That is the hash of the raw frame behind it (of the card itself where a shot is missing), or,
    where more was done than a change of size, the hash over the hashes and what was done.
    """

    pixels: NDArray[np.uint8]
    sha256: str


_DONE = "storyflow picture 1"
"""Enters the hashes of pictures to which something was done; counts up when that is done anew."""


class MasterError(CutError):
    """A shot master is missing, unreadable or of other content; making it anew is the cure."""

    def __init__(self, what: str, path: Path) -> None:
        super().__init__(what, cure=f"remove {path} and cut again")
        self.path = path

    def __reduce__(self) -> tuple[type[MasterError], tuple[str, Path]]:
        return type(self), (self.what, self.path)


def film_pictures(entries: Sequence[Entry], geometry: Geometry) -> Iterator[Picture]:
    """The film's pictures in order. Raises CutError, MasterError."""
    for index in range(len(entries)):
        yield from shot_pictures(entries, index, geometry)


def shot_pictures(entries: Sequence[Entry], index: int, geometry: Geometry) -> Iterator[Picture]:
    """The pictures of one entry's own time in the film: exactly `frames` of them.

    Where a dissolve or wipe reaches into it, the neighbour's frames are read, too. Raises CutError,
    MasterError.
    """
    entry = entries[index]
    titles = Lettering(_titles(entry), entry.frames, geometry.delivered)
    old = _neighbour(entries, index, -1)
    new = _neighbour(entries, index, +1)
    leaving = entry.frames - entry.out.before
    still = _shown(old, geometry, old.frames, old.frames + entry.into.after) if old else iter(())
    soon = _shown(new, geometry, -entry.out.before, 0) if new else iter(())
    for place, picture in enumerate(_shown(entry, geometry, 0, entry.frames)):
        if place < entry.into.after:
            step = entry.into.before + place
            picture = _mixed(next(still), picture, entry.into, step)
        elif entry.into.kind == "fade" and place < entry.into.frames:
            picture = _faded(picture, entry.into, place)
        if place >= leaving:
            picture = _mixed(picture, next(soon), entry.out, place - leaving)
        elif entry.out.kind == "fade" and place >= entry.frames - entry.out.frames:
            picture = _faded(picture, entry.out, entry.frames - 1 - place)
        yield _lettered(picture, titles.over(place))


def _titles(entry: Entry) -> tuple[Title, ...]:
    return entry.titles if isinstance(entry, Footage) else ()


def _neighbour(entries: Sequence[Entry], index: int, way: int) -> Entry | None:
    """The entry that is mixed with this one, None where none is."""
    entry = entries[index]
    joint = entry.into if way < 0 else entry.out
    if not joint.mixes:
        return None
    if not 0 <= index + way < len(entries):
        raise CutError(
            f"shot {entry.shot} has a {joint.kind} at the edge of the film", cure="plan it again"
        )
    other = entries[index + way]
    theirs = other.out if way < 0 else other.into
    if theirs != joint:
        raise CutError(
            f"shots {entry.shot} and {other.shot} are joined by two transitions, a {joint.kind} "
            f"and a {theirs.kind}",
            cure="plan the film again",
        )
    return other


def _mixed(old: Picture, new: Picture, joint: Transition, step: int) -> Picture:
    pixels = mix(old.pixels, new.pixels, joint, step)
    way = f" {joint.way}" if joint.way else ""
    done = f"{joint.kind}{way} {step}/{joint.frames}"
    return Picture(pixels, _hash_of(done, old.sha256, new.sha256))


def _faded(picture: Picture, joint: Transition, step: int) -> Picture:
    share = fade_share(joint, step)
    done = f"fade {joint.color} {share}"
    return Picture(fade(picture.pixels, joint.color, share), _hash_of(done, picture.sha256))


def _lettered(picture: Picture, laid: Iterable[Laid]) -> Picture:
    for each in laid:
        picture = Picture(each.on(picture.pixels), _hash_of(each.name, picture.sha256))
    return picture


def _hash_of(done: str, *hashes: str) -> str:
    return hashlib.sha256("\n".join((_DONE, done, *hashes)).encode()).hexdigest()


def _shown(entry: Entry, geometry: Geometry, start: int, stop: int) -> Iterator[Picture]:
    """The entry's own pictures, frames [start, stop) counted from its cut-in: before and after its
    time in the film, too, as far as its transitions reach. Raises MasterError."""
    if isinstance(entry, Missing):
        card = missing_card(entry.shot, entry.reason, geometry.delivered)
        picture = Picture(card, array_hash(card))
        for _ in range(start, stop):
            yield picture
        return
    cards = Lettering(entry.titles, entry.frames, geometry.delivered)
    first, last = (max(entry.start + place, entry.first) for place in (start, stop - 1))
    # Once: they are read from the artifacts.
    hashes = tuple(entry.hashes)[first - entry.first : last + 1 - entry.first]
    frames = _read(entry, first, last + 1, hashes, geometry.size)
    read = first - 1
    for place in range(start, stop):
        if (index := max(entry.start + place, entry.first)) != read:
            picture = _framed(entry, index, next(frames), hashes[index - first], geometry)
            read = index
        yield _lettered(picture, cards.under(place))


def _framed(
    entry: Footage, index: int, frame: NDArray[np.uint8], sha256: str, geometry: Geometry
) -> Picture:
    """Frame `index` of a take, graded, at the delivered size."""
    if entry.grade is not None:
        frame, sha256 = entry.grade.apply(index, frame), _hash_of(entry.grade.name, sha256)
    return Picture(geometry.apply(frame), sha256)


def _read(
    entry: Footage, start: int, stop: int, hashes: Sequence[str], size: Size
) -> Iterator[NDArray[np.uint8]]:
    """Frames [start, stop) of a take from its master, checked. Raises MasterError."""
    place = f"the master of shot {entry.shot}, {entry.master},"
    frames = iter_clip(entry.master, start, stop, hashes)
    for index in range(start, stop):
        try:
            frame = next(frames, None)
        except DamagedError as error:
            raise MasterError(f"{place} is damaged: {error.what}", entry.master) from error
        except OSError as error:
            raise MasterError(f"{place} can't be read: {error}", entry.master) from error
        if frame is None:
            raise MasterError(f"{place} ends at frame {index} instead of {stop}", entry.master)
        if frame.shape != (size.height, size.width, 3):
            raise MasterError(
                f"{place} is {frame.shape[1]}x{frame.shape[0]}, the film is {size}", entry.master
            )
        yield frame
