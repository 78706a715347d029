"""The fast preview: the film joined from shots that were encoded before.

Every shot is encoded once into a piece of its own, under `shots/preview`, named by all that decides
its pictures and how they are encoded. The preview copies the pieces' packets with their times
counted anew, so that after an edit only the shots that look different are encoded. Pieces begin on
a key frame and have no frames that refer forwards: joining them is renumbering.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from storyflow.cutting.aside import refused, remove, written_aside
from storyflow.cutting.assemble import CutReport, film_length
from storyflow.cutting.check import check_film
from storyflow.cutting.coding import Coding, film_coding
from storyflow.cutting.encoders import VideoFile, opened
from storyflow.cutting.geometry import Geometry, geometry
from storyflow.cutting.label import Label
from storyflow.cutting.pictures import Entry, Footage, Missing, shot_pictures
from storyflow.errors import CutError
from storyflow.pipeline import DeliverSection
from storyflow.stopping import Check, go_on
from storyflow.store.clip import ticks, timescale
from storyflow.store.hashing import file_hash
from storyflow.storyboard.resolved import Where
from storyflow.timing import Size

if TYPE_CHECKING:
    from av.container.output import OutputContainer
    from av.video.stream import VideoStream

_FORMAT = "storyflow preview 1"
"""Enters the names of pieces; counts up when the same pictures are to be encoded anew."""


@dataclass(frozen=True)
class _Pieces:
    """The shots of a film and how they become pieces in a folder."""

    entries: Sequence[Entry]
    place: Path
    shape: Geometry
    coding: Coding
    fps: Fraction

    def path(self, index: int) -> Path:
        """The piece of one entry, named by what decides its pictures and their encoding."""
        import av

        entry = self.entries[index]
        # Of a neighbour that is mixed in, all counts: its titles and grade are seen, too.
        seen = [_said(entry)]
        seen += [_said(self.entries[index - 1])] if entry.into.mixes else []
        seen += [_said(self.entries[index + 1])] if entry.out.mixes else []
        how = (_FORMAT, av.__version__, repr(self.coding), repr(self.shape), str(self.fps))
        name = hashlib.sha256("\n".join([*how, *seen]).encode()).hexdigest()[:32]
        return self.place / f"{name}.mp4"

    def encode(self, index: int, check: Check) -> None:
        """Encode one entry into its piece. Raises CutError, MasterError."""
        path = self.path(index)
        with (
            written_aside(path) as target,
            VideoFile(
                target, path, self.coding, self.shape.delivered, self.fps, Label(timecode="")
            ) as piece,
        ):
            for picture in shot_pictures(self.entries, index, self.shape):
                check()
                piece.write(picture.pixels)


def write_preview(
    entries: Sequence[Entry],
    path: Path,
    *,
    fps: Fraction,
    size: Size,
    deliver: DeliverSection,
    label: Label | None = None,
    check: Check = go_on,
) -> CutReport:
    """Write a preview to `path`, from pieces in `shots/preview` beside it.

    Its frames are the film's, at the delivered size, encoded fast and small. It is written aside,
    checked like the film and renamed; pieces that it doesn't need are removed. `check` is called
    between frames. The report has no `frames_sha256`: pictures that were encoded before are not
    looked at. Raises CutError, MasterError; an older preview is then untouched.
    """
    frames = film_length(entries)
    label = label or Label(timecode=deliver.timecode)
    pieces = _Pieces(
        entries, path.parent / "shots" / "preview", geometry(size, deliver), _coding(deliver), fps
    )
    paths = [pieces.path(index) for index in range(len(entries))]
    for index, piece in enumerate(paths):
        if not piece.exists():
            pieces.encode(index, check)
    with written_aside(path) as target:
        damaged = _join(pieces, paths, target, path, label, check)
        # If others still differ from the first, which they are held against, that is the stranger.
        for again in (damaged, [0]):
            if damaged:
                for index in again:
                    pieces.encode(index, check)
                damaged = _join(pieces, paths, target, path, label, check)
        if damaged:
            raise CutError(
                f"the piece of shot {entries[damaged[0]].shot} for the preview, "
                f"{paths[damaged[0]]}, can't be read back",
                cure="check the disk, then cut again",
            )
        check_film(target, frames, fps, pieces.shape.delivered)
        sha256 = file_hash(target)
    for stale in set(pieces.place.glob("*.mp4")) - set(paths):
        remove(stale)
    return CutReport(
        path=path,
        frames=frames,
        fps=fps,
        size=pieces.shape.delivered,
        sha256=sha256,
        frames_sha256="",
        missing=tuple(entry.shot for entry in entries if isinstance(entry, Missing)),
        timecode=label.timecode,
    )


def _coding(deliver: DeliverSection) -> Coding:
    """The film's encoder, quick and small, and without frames that refer forwards."""
    coding = film_coding(deliver)
    options = {**dict(coding.options), "preset": "veryfast", "crf": "23", "bf": "0"}
    return replace(coding, options=tuple(options.items()))


def _said(entry: Entry) -> str:
    """All that decides the pictures of an entry, as text; the hashes stand for its frames."""
    if not isinstance(entry, Footage):
        return repr(entry)
    titles = [replace(title, where=Where()) for title in entry.titles]
    grade = entry.grade.name if entry.grade is not None else ""
    done = (entry.frames, entry.hold, entry.into, entry.out, titles, grade)
    return "\n".join([repr(done), *entry.hashes])


def _join(
    pieces: _Pieces, paths: Sequence[Path], target: Path, path: Path, label: Label, check: Check
) -> list[int]:
    """Copy the pieces one after the other; the numbers of those that can't be copied whole, or
    whose headers differ from the first's."""
    import av

    joint = _Joint(pieces.fps, check)
    damaged: list[int] = []
    try:
        # The first lends the stream its headers, so it stays open.
        with (
            av.open(str(paths[0])) as first,
            opened(target, pieces.coding, pieces.fps, label) as film,
        ):
            joint.begin(film, first.streams.video[0])
            for index, (piece, entry) in enumerate(zip(paths, pieces.entries, strict=True)):
                if not joint.add(piece, entry.frames):
                    damaged.append(index)
    except OSError as error:
        raise refused("write", path, error) from error
    except (av.FFmpegError, IndexError):
        return damaged or [0]
    return damaged


class _Joint:
    """Packets of pieces on their way into one stream, a tick for each frame."""

    def __init__(self, fps: Fraction, check: Check) -> None:
        self._base, self._length = Fraction(1, timescale(fps)), ticks(fps)
        self._check = check
        self._count = 0

    def begin(self, film: OutputContainer, template: VideoStream) -> None:
        self._film, self._head = film, _header(template)
        self._stream = film.add_stream_from_template(template)

    def add(self, piece: Path, frames: int) -> bool:
        """Copy a piece's packets; whether it had the film's headers and so many frames."""
        import av

        copied = 0
        try:
            with av.open(str(piece)) as container:
                source = container.streams.video[0]
                if _header(source) != self._head:
                    return False
                for packet in container.demux(source):
                    if packet.size == 0:
                        continue
                    self._check()
                    packet.stream = self._stream
                    packet.time_base = self._base
                    packet.pts = packet.dts = self._count * self._length
                    packet.duration = self._length
                    self._film.mux(packet)
                    self._count += 1
                    copied += 1
        except (av.InvalidDataError, FileNotFoundError, IndexError):
            return False
        return copied == frames


def _header(stream: VideoStream) -> tuple[bytes | None, int, int]:
    context = stream.codec_context
    return context.extradata, context.width, context.height
