"""Contact sheets of a night: a picture per shot, with what is new in this night.

Pictures come from the masters beside a film, where the film's report has seen most of them already,
and for shots that are in no film yet from the clips in the store. Nothing is written.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from storyflow.cutting.cut import master_of
from storyflow.cutting.manifest import Manifest, ManifestShot, read_manifest
from storyflow.cutting.masters import tag_of
from storyflow.errors import InputError, StoreError
from storyflow.filmfolder import MANIFEST
from storyflow.reporting import remembered
from storyflow.reporting.look import Shown
from storyflow.series.dailies.facts import Picture
from storyflow.series.ledger import SegmentRow
from storyflow.store.artifacts import FRAMES
from storyflow.store.store import Store
from storyflow.timing import nominal, timecode

WIDTHS = ((24, 360), (120, 240), (600, 176), (10**9, 120))
"""Up to so many pictures on a page, each is so wide: a night of 100 episodes still opens."""


@dataclass(frozen=True)
class _Place:
    """A shot's picture, and where it can be had: a frame of a master, or a stored segment."""

    picture: Picture
    master: Path | None = None
    frame: int = 0
    key: str = ""


@dataclass(frozen=True)
class Sheet:
    """An episode's sheet before its pictures are looked at."""

    folder: Path
    places: tuple[_Place, ...]


def plan_sheet(folder: Path, rows: Sequence[SegmentRow]) -> Sheet:
    """What is on an episode's sheet. `rows` are the segments that this night rendered of it."""
    keys = {row.key for row in rows}
    try:
        manifest = read_manifest(folder / MANIFEST)
    except InputError:
        manifest = None
    # The last of a shot's segments is the newest.
    fresh = {row.shot: row for row in rows}
    places = [] if manifest is None else list(_of_film(folder, manifest, keys, fresh))
    shown = {place.picture.shot for place in places}
    if manifest is not None:
        every = (*manifest.shots, *manifest.others)
        cut = {segment.key for shot in every for segment in shot.segments}
        fresh = {shot: row for shot, row in fresh.items() if row.key not in cut}
    places += [_uncut(row) for shot, row in fresh.items() if shot not in shown]
    return Sheet(folder, tuple(places))


def width_for(sheets: Sequence[Sheet]) -> int:
    """How wide the pictures of these sheets are, in pixels."""
    count = sum(len(sheet.places) for sheet in sheets)
    return next(width for most, width in WIDTHS if count <= most)


def pictures(sheet: Sheet, store: Store, width: int) -> Iterator[Picture]:
    """The sheet's pictures; one that can't be read is left out, its caption stays."""
    for place in sheet.places:
        shown = None
        with suppress(StoreError, OSError):
            shown = _look(sheet.folder, place, store)
        yield replace(place.picture, shown=None if shown is None else _shrunk(shown, width))


def _of_film(
    folder: Path, manifest: Manifest, keys: Collection[str], fresh: dict[str, SegmentRow]
) -> Iterator[_Place]:
    """The shots of the film, in order; a piece of a shot that comes again is not shown again."""
    fps = Fraction(manifest.fps)
    seen: set[tuple[str, int]] = set()
    for shot in manifest.shots:
        if (shot.id, shot.take) in seen or shot.film is None:
            continue
        seen.add((shot.id, shot.take))
        picture = _caption(shot, fps)
        held = {segment.key for segment in shot.segments}
        if shot.id in fresh and fresh[shot.id].key not in _every_key(manifest, shot.id):
            # Rendered anew since this film was cut.
            yield replace(_uncut(fresh[shot.id]), picture=replace(picture, state="uncut"))
        elif shot.missing is not None or shot.cut is None:
            yield _Place(replace(picture, state="missing", line=shot.missing or "not rendered"))
        else:
            start, stop = shot.cut
            new = bool(held & set(keys))
            yield _Place(
                replace(picture, state="new" if new else "kept"),
                master_of(folder, shot.id, shot.take),
                (start + stop) // 2,
            )


def _every_key(manifest: Manifest, shot: str) -> set[str | None]:
    takes = (take for take in (*manifest.shots, *manifest.others) if take.id == shot)
    return {segment.key for take in takes for segment in take.segments}


def _caption(shot: ManifestShot, fps: Fraction) -> Picture:
    assert shot.film is not None
    start, stop = shot.film
    said = next((beat.say for beat in shot.beats if beat.say), None)
    done = next((beat.do for beat in shot.beats if beat.do), "")
    seconds = f"{(stop - start) / nominal(fps):.2f}".rstrip("0").rstrip(".")
    return Picture(
        shot=shot.id,
        state="kept",
        timecode=timecode(start, fps),
        length=f"{seconds} s",
        line=f"“{said}”" if said else done,
    )


def _uncut(row: SegmentRow) -> _Place:
    line = f"segment {row.segment}"
    return _Place(Picture(row.shot, "uncut", line=line), key=row.key)


def _look(folder: Path, place: _Place, store: Store) -> Shown | None:
    if place.key:
        artifact = store.find(place.key)
        if artifact is None or not artifact.frames:
            return None
        clip = store.path(artifact, FRAMES)
        return remembered.picture(folder, clip, "", len(artifact.frames) // 2)
    if place.master is None or (tag := tag_of(place.master)) is None:
        return None
    return remembered.picture(folder, place.master, tag, place.frame)


def _shrunk(shown: Shown, width: int) -> Shown:
    from PIL import Image

    if shown.width <= width:
        return shown
    image = Image.open(io.BytesIO(base64.b64decode(shown.webp)))
    small = image.resize(
        (width, max(1, round(shown.height * width / shown.width))), Image.Resampling.LANCZOS
    )
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=76, method=2)
    text = base64.b64encode(buffer.getvalue()).decode()
    return Shown(shown.frame, text, small.width, small.height)
