"""Edits from files: OpenTimelineIO, FCP7 XML and CMX 3600 EDL, from whatever program wrote them.

The files come from elsewhere: size and depth are limited, XML may define no entities, and what
the adapters make of the rest is an error with one line.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from storyflow.errors import InputError
from storyflow.planning.legality import rate_text
from storyflow.storyboard.resolved import Transition
from storyflow.timeline.build import OWN
from storyflow.timeline.edited import CUT, Edited, Join, Piece, Source
from storyflow.timeline.joining import join_of
from storyflow.timeline.media import TakeName
from storyflow.timing import timecode

if TYPE_CHECKING:
    import opentimelineio as otio

MOST_BYTES = 64_000_000
"""A timeline of ten thousand clips has a tenth of that."""

DEEPEST = 100
"""Levels of nesting in a file; a timeline has about fifteen."""

_KINDS = {".otio": "OpenTimelineIO", ".xml": "FCP7 XML", ".edl": "CMX 3600"}


def read_edit(path: Path, fps: Fraction) -> Edited:
    """The edit in a file whose film has `fps` frames a second.

    Raises InputError: no such kind of file, broken, huge, another rate, sequences within sequences.
    """
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise InputError(
            f"{path} is no edit that can be read", cure=f"export it as {', '.join(_KINDS)}"
        )
    text = _text(path)
    try:
        edited = _Reader(path, fps).edited(_timeline(text, path, fps))
        fade = _plain_edl(text)[1] if path.suffix.lower() == ".edl" else 0
        if fade:
            first = Join(0, fade, fade_in=Transition("fade", fade))
            edited = replace(edited, joins=(first, *edited.joins[1:]))
        return edited
    except InputError:
        raise
    except Exception as error:  # adapters raise anything
        lines = str(error).strip().splitlines()
        what = lines[0][:200] if lines else type(error).__name__
        raise InputError(
            f"{path} can't be read as {kind}: {what}", cure="export it again"
        ) from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}", cure="check its name") from None
    if len(raw) > MOST_BYTES:
        raise InputError(f"{path} is larger than {MOST_BYTES // 1_000_000} MB", cure="export less")
    try:
        wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
        return raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text", cure="export it again") from None


def _timeline(text: str, path: Path, fps: Fraction) -> otio.schema.Timeline:
    import opentimelineio as otio

    ending = path.suffix.lower()
    if ending == ".otio":
        _refuse_depth(json.loads(text), path)
        found = otio.adapters.read_from_string(text, "otio_json")
    elif ending == ".xml":
        _check_xml(text, path, fps)
        found = otio.adapters.read_from_string(text, "fcp_xml")
    else:
        text, _ = _plain_edl(text)
        found = otio.adapters.read_from_string(text, "cmx_3600", rate=float(fps))
    if isinstance(found, otio.schema.SerializableCollection):
        inside = [each for each in found if isinstance(each, otio.schema.Timeline)]
        if len(inside) != 1:
            what = f"{path} holds {len(inside)} sequences"
            raise InputError(what, cure="export the one that is the film")
        found = inside[0]
    if not isinstance(found, otio.schema.Timeline):
        raise InputError(f"{path} holds no timeline", cure="export a timeline")
    return found


def _refuse_depth(data: object, path: Path) -> None:
    """The library walks a file recursively, in C++."""
    level: list[object] = [data]
    for _ in range(DEEPEST):
        inner: list[object] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.values()
            elif isinstance(value, list):
                inner += value
        level = inner
        if not level:
            return
    raise InputError(f"{path} is nested more than {DEEPEST} levels deep", cure="export it again")


def _check_xml(text: str, path: Path, fps: Fraction) -> None:
    """Refuse entities, too many levels and another rate before the adapter reads it."""
    from xml.etree import ElementTree

    head = re.search(r"<!DOCTYPE[^>]*>", text)
    if "<!ENTITY" in text or (head is not None and not re.fullmatch(r"<!DOCTYPE \w+>", head[0])):
        raise InputError(f"{path} defines entities of its own", cure="export it again as FCP7 XML")
    level: list[Any] = [ElementTree.fromstring(text)]
    if level[0].tag != "xmeml":
        what = f"{path} is no FCP7 XML, it begins with <{level[0].tag}>"
        raise InputError(what, cure="export it as Final Cut Pro 7 XML")
    rate = level[0].find(".//sequence/rate")
    if rate is not None:
        base, ntsc = int(rate.findtext("timebase", "0")), rate.findtext("ntsc", "").upper()
        found = Fraction(base * 1000, 1001) if ntsc == "TRUE" else Fraction(base)
        _same_rate(found, fps, path)
    for _ in range(DEEPEST):
        level = [child for element in level for child in element]
        if not level:
            return
    raise InputError(f"{path} is nested more than {DEEPEST} levels deep", cure="export it again")


_EVENT = re.compile(
    r"^(?P<number>\d+)\s+(?P<reel>\S+)\s+(?P<track>\S+)\s+(?P<kind>\S+)(?:\s+(?P<frames>\d+))?\s+"
    r"(?P<times>\S+\s+\S+\s+\S+\s+\S+)$"
)


def _plain_edl(text: str) -> tuple[str, int]:
    """An EDL as the adapter takes it, and the frames of a fade in at its very beginning.

    The adapter knows no transition there; the event is a cut.
    """
    lines = [line.strip() for line in text.splitlines()]
    events = [n for n, line in enumerate(lines) if _EVENT.match(line)]
    if not events:
        raise InputError("there is no event in this EDL", cure="export it as CMX 3600")
    fade = 0
    if len(events) > 1:
        first, second = (_EVENT.match(lines[n]) for n in events[:2])
        assert first is not None and second is not None
        if first["reel"] in ("BL", "BLACK") and first["number"] == second["number"]:
            lines[events[0]], fade = "", int(second["frames"] or 0)
            lines[events[1]] = " ".join(
                (second["number"], second["reel"], second["track"], "C", second["times"])
            )
    return "\n".join(lines), fade


def _same_rate(found: Fraction, fps: Fraction, path: Path) -> None:
    if abs(found - fps) > Fraction(1, 500):
        raise InputError(
            f"{path} counts {rate_text(found)} frames a second, the film {rate_text(fps)}",
            cure="edit it in a timeline of the film's rate",
        )


class _Reader:
    def __init__(self, path: Path, fps: Fraction) -> None:
        self.path = path
        self.fps = fps
        self.notes: list[str] = []
        self.start = 0

    def edited(self, timeline: otio.schema.Timeline) -> Edited:
        """The timeline as pieces and joins."""
        import opentimelineio as otio

        if timeline.global_start_time is not None:
            self.start = self._frames(timeline.global_start_time)
        track = self._track(timeline)
        if timeline.global_start_time is None and track.source_range is not None:
            # The EDL adapter puts the record times' beginning there.
            self.start = max(0, -self._frames(track.source_range.start_time))
        pieces: list[Piece] = []
        joins: list[Join] = []
        pending = CUT
        at = 0
        for item in track:
            if isinstance(item, otio.schema.Transition):
                pending, note = join_of(
                    item.name or item.transition_type,
                    item.transition_type,
                    self._frames(item.in_offset),
                    self._frames(item.out_offset),
                    item.metadata.get(OWN),
                )
                if note:
                    self._note(at, note)
                continue
            if isinstance(item, otio.schema.Gap):
                piece = self._gap(item, at)
            elif isinstance(item, otio.schema.Clip):
                piece = self._clip(item, at)
            else:
                raise InputError(
                    f"{self.path}: at {self._time(at)} the timeline holds a sequence of its own, "
                    f"{item.name or type(item).__name__!r}",
                    cure="replace it by its clips (decompose it) and export again",
                )
            joins.append(pending)
            pieces.append(piece)
            pending = CUT
            at += piece.frames
        joins.append(pending)
        own = OWN in timeline.metadata
        return Edited(
            timeline.name or self.path.stem, self.start, tuple(pieces), tuple(joins),
            tuple(self.notes), own,
        )  # fmt: skip

    def _track(self, timeline: otio.schema.Timeline) -> otio.schema.Track:
        import opentimelineio as otio

        pictures = []
        for track in timeline.tracks:
            if not isinstance(track, otio.schema.Track):
                raise InputError(
                    f"{self.path}: a sequence stands in place of a track, {track.name!r}",
                    cure="replace it by its clips and export again",
                )
            clips = sum(isinstance(item, otio.schema.Clip) for item in track)
            if track.kind != otio.schema.TrackKind.Video:
                if clips:
                    self.notes.append(f"{clips} clips of sound are left out: films have none")
            elif not track.enabled:
                if clips:
                    self.notes.append(f"the track {track.name!r} is switched off, and left out")
            elif len(track):
                pictures.append(track)
        if not pictures:
            raise InputError(f"{self.path} holds no pictures", cure="export the film's timeline")
        if len(pictures) == 1:
            return pictures[0]
        if any(isinstance(item, otio.core.Composition) for track in pictures for item in track):
            raise InputError(f"{self.path} holds sequences within sequences", cure="decompose them")
        names = ", ".join(track.name or "?" for track in pictures)
        self.notes.append(f"{len(pictures)} tracks ({names}) are read as one: the upper hides")
        return otio.algorithms.flatten_stack([track.clone() for track in pictures])

    def _gap(self, gap: otio.schema.Gap, at: int) -> Piece:
        own = gap.metadata.get(OWN)
        frames = self._frames(gap.duration())
        if own and isinstance(own.get("shot"), str) and gap.source_range is not None:
            take: TakeName = (own["shot"], int(own.get("take", 1)))
            begin = self._frames(gap.source_range.start_time)
            return Piece(at, frames, gap.name, Source((), begin), take)
        return Piece(at, frames, "black")

    def _clip(self, clip: otio.schema.Clip, at: int) -> Piece:
        import opentimelineio as otio

        shown = clip.trimmed_range()
        frames = self._frames(shown.duration)
        reference = clip.media_reference
        for effect in clip.effects:
            speed = isinstance(effect, otio.schema.TimeEffect)
            name = effect.effect_name or effect.name or "?"
            lost = "speed change" if speed else "effect"
            end = ", it is shown at its own speed" if speed else ""
            self._note(at, f"the {lost} {name!r} on {clip.name!r} is left out{end}")
        black = isinstance(reference, otio.schema.GeneratorReference) and (
            str(reference.generator_kind).lower() in ("black", "slug")
        )
        if black or not clip.enabled:
            if not clip.enabled:
                self._note(at, f"{clip.name!r} is switched off")
            return Piece(at, frames, clip.name or "black")
        available = reference.available_range if reference is not None else None
        origin = None if available is None else self._frames(available.start_time)
        start = self._frames(shown.start_time)
        return Piece(at, frames, clip.name or "?", Source(self._names(clip), start, origin))

    def _frames(self, time: otio.opentime.RationalTime) -> int:
        value, rate = float(time.value), float(time.rate)
        if value:
            _same_rate(Fraction(rate).limit_denominator(1001), self.fps, self.path)
        if abs(value - round(value)) > 0.01:
            what = f"{self.path} has a time between two frames, {value} at {rate}"
            raise InputError(what, cure="edit it in a timeline of the film's rate")
        return round(value)

    def _names(self, clip: otio.schema.Clip) -> tuple[str, ...]:
        """What a clip's file is called: by its place, by the clip, by its reel."""
        url = getattr(clip.media_reference, "target_url", None)
        found = [clip.name, getattr(clip.media_reference, "name", "")]
        places: list[str] = []
        if url:
            path = unquote(urlparse(url).path or url)
            places = [PurePosixPath(path).name, PureWindowsPath(path).name]
        # After a dissolve the adapter names the file that an EDL's event comes from, not its own.
        edl = self.path.suffix.lower() == ".edl"
        if edl and clip.name.isdigit():
            found = found[1:]  # the event's number
        found = [*found, *places] if edl else [*places, *found]
        stems = [PurePosixPath(name).name for name in found if name]
        stems = [re.sub(r"\.(mov|mp4|mxf|mkv|avi)$", "", name, flags=re.I) for name in stems]
        reel = clip.metadata.get("cmx_3600", {}).get("reel")
        reels = [str(reel).strip()] if reel else []
        return tuple(dict.fromkeys([*stems[:1], *reels, *stems[1:]]))

    def _note(self, at: int, text: str) -> None:
        self.notes.append(f"{self._time(at)}: {text}")

    def _time(self, at: int) -> str:
        return timecode(self.start + at, self.fps)
