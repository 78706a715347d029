"""The film in one streaming pass: pictures in, video files out, each checked before it is named.

However many files are asked for, every picture is made once. Equal pictures give an equal
`film.mp4`: its encoder runs with a fixed number of threads (see `coding.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from storyflow.cutting.aside import written_aside
from storyflow.cutting.check import check_film
from storyflow.cutting.coding import Coding, film_coding, further_codings
from storyflow.cutting.colourmatch import Mode
from storyflow.cutting.encoders import VideoFile
from storyflow.cutting.geometry import Geometry, geometry
from storyflow.cutting.hls import write_hls
from storyflow.cutting.label import Label
from storyflow.cutting.pictures import Entry, Footage, Missing, film_pictures
from storyflow.cutting.poster import poster_frame, write_poster
from storyflow.errors import CutError
from storyflow.pipeline import DeliverSection
from storyflow.stopping import Check, go_on
from storyflow.store.hashing import Digest, file_hash
from storyflow.timing import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Delivered:
    """A file (or, of HLS, the playlist in its folder) that holds the film, besides the film."""

    format: str
    path: Path


@dataclass(frozen=True)
class CutReport:
    """A finished film file.

    `sha256` is the file's, `frames_sha256` the digest over its raw frames before encoding (see
    `digest_of`; empty for a preview). `missing` are the shots whose place a card holds. `timecode`
    is the first frame's. `geometry` and `colour_match` are what was done to the masters' pictures.
    """

    path: Path
    frames: int
    fps: Fraction
    size: Size
    sha256: str
    frames_sha256: str
    missing: tuple[str, ...] = ()
    poster: Path | None = None
    timecode: str = ""
    others: tuple[Delivered, ...] = ()
    geometry: Geometry | None = None
    colour_match: Mode = "none"


def assemble(
    entries: Sequence[Entry],
    path: Path,
    *,
    fps: Fraction,
    size: Size,
    deliver: DeliverSection,
    label: Label | None = None,
    check: Check = go_on,
) -> CutReport:
    """Join entries into the film at `path`, and deliver it. `size` is the masters' picture size.

    A poster lies beside it, and what `deliver.formats` names; a film with cards in it is delivered
    in no further format. Memory does not grow with the film. Every file is written aside, opened
    again and checked (frame count, every timestamp, codec, colour tags, size), then renamed, the
    film last. `check` is called between frames. Raises CutError; the film that was at `path` is
    then untouched.
    """
    expected = film_length(entries)
    missing = tuple(entry.shot for entry in entries if isinstance(entry, Missing))
    others = () if missing else further_codings(deliver)
    delivered = geometry(size, deliver).delivered
    made = [Delivered(each.name, path.with_name(path.stem + each.ending)) for each in others]
    with ExitStack() as stack:
        film = stack.enter_context(written_aside(path))
        codings = (film_coding(deliver), *others)
        finals = (path, *(each.path for each in made))
        targets = [film, *(stack.enter_context(written_aside(final)) for final in finals[1:])]
        files = list(zip(codings, finals, targets, strict=True))
        label = label or Label(timecode=deliver.timecode)
        digest, chosen = _encode(entries, files, fps, size, deliver, label, check)
        for coding, _, target in files:
            check_film(target, expected, fps, delivered, codec=coding.shown_as)
        sha256 = file_hash(film)
        if "hls" in deliver.formats and not missing:
            folder = path.with_name(f"{path.stem}.hls")
            made.append(Delivered("hls", write_hls(film, folder, expected, fps)))
    return CutReport(
        path=path,
        frames=expected,
        fps=fps,
        size=delivered,
        sha256=sha256,
        frames_sha256=digest.text,
        missing=missing,
        poster=write_poster(path.with_suffix(".jpg"), chosen),
        timecode=label.timecode,
        others=tuple(made),
    )


def film_length(entries: Sequence[Entry]) -> int:
    """The film's frames. Raises CutError where there are none or some are asked for in vain."""
    for entry in entries:
        if isinstance(entry, Footage) and len(entry.hashes) != entry.last - entry.first:
            raise CutError(
                f"shot {entry.shot} asks for frames {entry.first} to {entry.last} of a take of "
                f"which only {len(entry.hashes)} of them exist",
                cure="plan and render the film again",
            )
    frames = sum(entry.frames for entry in entries)
    if frames == 0:
        raise CutError("there is nothing to cut: no shot has a frame", cure="check the storyboard")
    return frames


def _encode(
    entries: Sequence[Entry],
    files: Sequence[tuple[Coding, Path, Path]],
    fps: Fraction,
    size: Size,
    deliver: DeliverSection,
    label: Label,
    check: Check,
) -> tuple[Digest, NDArray[np.uint8]]:
    """Encode every picture into every file; the digest over their hashes and the poster's picture
    are all that is kept."""
    shape, digest = geometry(size, deliver), Digest()
    poster = np.zeros((0, 0, 3), np.uint8)
    chosen = poster_frame(deliver, fps, film_length(entries), entries[0].frames)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(VideoFile(target, path, coding, shape.delivered, fps, label))
            for coding, path, target in files
        ]
        for picture in film_pictures(entries, shape):
            check()
            if digest.count == chosen:
                poster = picture.pixels
            for writer in writers:
                writer.write(picture.pixels)
            digest.add(picture.sha256)
    return digest, poster
