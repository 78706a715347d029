"""From a film's folder to the facts of its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from storyflow.billing import bill, duration, known
from storyflow.cutting.cut import master_of
from storyflow.cutting.manifest import Manifest, ManifestSegment, ManifestShot, read_manifest
from storyflow.cutting.masters import tag_of
from storyflow.errors import InputError, StoreError
from storyflow.filmfolder import MANIFEST
from storyflow.qc.filed import FILE, read_quality, read_series, series_path
from storyflow.qc.verdicts import Quality, TakeQuality
from storyflow.record import read_record
from storyflow.reporting import remembered, takes
from storyflow.reporting.curves import Stretch, panels, seam_ratios
from storyflow.reporting.facts import (
    BeatFacts,
    FilmFacts,
    Group,
    Remark,
    Seam,
    SegmentFacts,
    ShotFacts,
    State,
    Still,
    TakeFacts,
)
from storyflow.reporting.look import Asked, Look
from storyflow.reporting.marks import blends, extras, titles
from storyflow.reporting.words import differences
from storyflow.stopping import Check, go_on
from storyflow.timing import nominal, timecode

if TYPE_CHECKING:
    from storyflow.qc.series import Series

MODES = {
    "text": "from text",
    "image": "from a picture",
    "first-last": "between two pictures",
    "extend": "extends a clip",
    "continue": "continues a shot",
}
"""How shots come about, in words."""


@dataclass(frozen=True)
class _Seen:
    """What is known of a take's pictures, kept as `name`. `trouble` says why nothing is."""

    look: Look | None
    series: Series | None = None
    quality: TakeQuality | None = None
    stale: bool = False
    trouble: str = ""
    name: str = ""


def gather(folder: Path, check: Check = go_on) -> FilmFacts:
    """Read a film's folder: manifest, record, quality, masters.

    Looks at every master that has changed since the last report, and keeps what it saw; makes
    small copies of takes that can be compared. `check` is called between shots. Raises InputError
    for a folder without a film, CutError when the disk refuses.
    """
    manifest = read_manifest(folder / MANIFEST)
    quality = _quality(folder)
    fps = Fraction(manifest.fps)
    shots: list[ShotFacts] = []
    stretches: list[Stretch] = []
    seams: list[Seam] = []
    seen: list[_Seen] = []
    rendered = _rendered(manifest)
    scene: int | None = None
    for shot in manifest.shots:
        check()
        found = _seen(folder, shot, quality)
        seen.append(found)
        stretch = _stretch(shot, found)
        stretches.append(stretch)
        seams += _seams(shot)
        heading = "" if shot.scene == scene else _heading(manifest, shot.scene)
        compared = _takes(folder, shot, rendered.get(shot.id, {}), fps)
        shots.append(_shot(shot, found, stretch, fps, heading, compared))
        scene = shot.scene
    remembered.forget_others(folder, {each.name for each in seen})
    _forget_takes(folder, rendered)
    record = read_record(folder)
    account = None if record is None else record.last
    estimate = None if account is None else account.estimate
    every = (*manifest.shots, *manifest.others)
    segments = {s.recipe: s for shot in every for s in shot.segments if s.key}.values()
    return FilmFacts(
        title=manifest.title,
        pipeline=manifest.pipeline,
        made_with=manifest.made_with,
        when="" if record is None else record.when,
        fps=fps,
        frames=manifest.frames,
        width=manifest.width,
        height=manifest.height,
        length=timecode(manifest.frames, fps),
        complete=manifest.complete,
        video=_video(folder, manifest),
        shots=tuple(shots),
        seams=tuple(seams),
        titles=tuple(titles(manifest)),
        blends=tuple(blends(manifest)),
        panels=panels(stretches, manifest.frames),
        measured=_measured(seen),
        bill=() if account is None else bill(account),
        bill_source=estimate.source if estimate is not None and known(estimate) else "",
        remarks=_film_remarks(quality),
        delivery=_delivery(quality, manifest),
        rendered=sum(segment.rendered is True for segment in segments),
        reused=sum(segment.rendered is False for segment in segments),
    )


def _seen(folder: Path, shot: ManifestShot, quality: Quality | None) -> _Seen:
    if shot.missing is not None or shot.cut is None:
        return _Seen(None)
    master = master_of(folder, shot.id, shot.take)
    tag = tag_of(master)
    if tag is None:
        return _Seen(None, trouble=f"its master shots/{master.name} isn't there or can't be read")
    series = read_series(series_path(folder, master), tag)
    found = None if quality is None else quality.of(shot.id, shot.take)
    current = found is not None and found.tag == tag
    start, stop = shot.cut
    inside = _inside(shot)
    borders = {frame for seam in inside for frame in (seam - 1, seam)}
    middle = (start + stop) // 2
    strip = sorted({start, stop - 1} | (borders or {middle}))
    asked = Asked(tuple(strip), middle, inside, measure=series is None)
    try:
        look = remembered.looked(folder, master, tag, asked)
    except (StoreError, OSError) as error:
        return _Seen(None, trouble=str(error))
    return _Seen(
        look,
        series,
        quality=found if current else None,
        stale=found is not None and not current,
        name=remembered.name_of(master, asked),
    )


def _inside(shot: ManifestShot) -> tuple[int, ...]:
    """First frames of the segments that begin within what the cut shows."""
    assert shot.cut is not None
    start, stop = shot.cut
    return tuple(s.start for s in shot.segments if start < s.start < stop)


def _stretch(shot: ManifestShot, seen: _Seen) -> Stretch:
    assert shot.film is not None and shot.cut is not None
    samples = None if seen.look is None else seen.look.samples
    return Stretch(shot.film[0], *shot.cut, seen.series or samples, _inside(shot))


def _seams(shot: ManifestShot) -> Iterator[Seam]:
    """The shot's joins, as places in the film."""
    assert shot.film is not None and shot.cut is not None
    if shot.mode == "continue":
        yield Seam(shot.film[0], "continuation")
    beat = {segment.start: segment.beat for segment in shot.segments}
    before = {s.stop: s.beat for s in shot.segments}
    for start in _inside(shot):
        kind = "segment" if before.get(start) == beat[start] else "beat"
        yield Seam(_in_film(shot, start), kind)


def _in_film(shot: ManifestShot, frame: int) -> int:
    assert shot.film is not None and shot.cut is not None
    return shot.film[0] + frame - shot.cut[0]


def _shot(
    shot: ManifestShot,
    seen: _Seen,
    stretch: Stretch,
    fps: Fraction,
    heading: str,
    compared: tuple[TakeFacts, ...],
) -> ShotFacts:
    assert shot.film is not None
    start, stop = shot.film
    took = [segment.seconds for segment in shot.segments if segment.seconds is not None]
    return ShotFacts(
        id=shot.id,
        take=shot.take,
        scene=heading,
        mode=_mode(shot),
        seed=shot.seed,
        start=start,
        stop=stop,
        timecode=timecode(start, fps),
        length=_length(stop - start, fps),
        state=_state(shot),
        missing=shot.missing,
        strip=tuple(_strip(shot, seen, stretch)),
        middle=None if seen.look is None else seen.look.middle,
        beats=tuple(_beats(shot, fps)),
        segments=tuple(_segment(segment) for segment in shot.segments),
        seconds=duration(sum(took)) if took else "",
        remarks=_remarks(shot, seen),
        extras=extras(shot, fps),
        takes=compared,
        negative=shot.segments[0].negative if shot.segments else "",
        note=seen.trouble,
    )


def _heading(manifest: Manifest, scene: int) -> str:
    """A scene's heading; empty for a film without scenes."""
    if len(manifest.scenes) < 2 and not any(manifest.scenes):
        return ""
    heading = manifest.scenes[scene] if scene < len(manifest.scenes) else None
    return heading or f"Scene {scene + 1}"


def _mode(shot: ManifestShot) -> str:
    if shot.mode == "continue" and shot.continues is not None:
        return f"continues {shot.continues.shot}"
    return MODES.get(shot.mode, shot.mode)


def _state(shot: ManifestShot) -> State:
    if shot.missing is not None:
        return "missing"
    rendered = {segment.rendered for segment in shot.segments}
    if rendered == {True}:
        return "rendered"
    return "mixed" if True in rendered else "reused"


def _strip(shot: ManifestShot, seen: _Seen, stretch: Stretch) -> Iterator[Group]:
    if seen.look is None or shot.cut is None:
        return
    start, stop = shot.cut
    pictures = {shown.frame: shown for shown in seen.look.strip}
    ratios = seam_ratios(stretch)
    found = {} if seen.quality is None else {seam.frame: seam for seam in seen.quality.seams}
    inside = _inside(shot)

    def still(label: str, frame: int) -> Still:
        return Still(label, _in_film(shot, frame), pictures[frame])

    yield Group((still("first", start),))
    if not inside and stop - start > 2:
        yield Group((still("middle", (start + stop) // 2),))
    for seam in inside:
        name = next(s.name for s in shot.segments if s.start == seam)
        judged = found.get(seam)
        ratio = judged.ratio if judged else ratios.get(_in_film(shot, seam))
        note = f"seam {name}" + ("" if ratio is None else f", ratio {ratio:.1f}")
        pair = (still("before", seam - 1), still("after", seam))
        yield Group(pair, note, judged.level if judged else "pass")
    if stop - start > 1:
        yield Group((still("last", stop - 1),))


def _beats(shot: ManifestShot, fps: Fraction) -> Iterator[BeatFacts]:
    assert shot.film is not None and shot.cut is not None
    told = dict(enumerate(shot.beats))
    before = ""
    done: set[int] = set()
    for segment in shot.segments:
        if segment.beat in done:
            continue
        done.add(segment.beat)
        place = max(shot.film[0], _in_film(shot, segment.start))
        shown = place < shot.film[1]
        beat = told.get(segment.beat)
        yield BeatFacts(
            number=segment.beat + 1,
            frame=place if shown else None,
            timecode=timecode(place, fps) if shown else "not shown",
            do=beat.do if beat else "",
            say=beat.say if beat else None,
            prompt=differences(before, segment.prompt),
        )
        before = segment.prompt


def _segment(segment: ManifestSegment) -> SegmentFacts:
    state = {None: "missing", True: "rendered", False: "reused"}[segment.rendered]
    return SegmentFacts(
        name=segment.name,
        frames=segment.stop - segment.start,
        seed=segment.seed,
        key=segment.key,
        seconds="" if segment.seconds is None else duration(segment.seconds),
        state=state,
        worker=segment.worker or "",
        numerics=segment.numerics or "",
    )


def _remarks(shot: ManifestShot, seen: _Seen) -> tuple[Remark, ...]:
    if seen.quality is None:
        return ()
    assert shot.film is not None and shot.cut is not None
    found = []
    for verdict in seen.quality.verdicts:
        frame = verdict.frame
        if frame is not None and not shot.cut[0] <= frame < shot.cut[1]:
            continue
        place = None if frame is None else _in_film(shot, frame)
        found.append(Remark(verdict.level, verdict.text, place))
    return tuple(found)


def _rendered(manifest: Manifest) -> Mapping[str, Mapping[int, ManifestShot]]:
    """Every rendered take by its shot and number."""
    found: dict[str, dict[int, ManifestShot]] = {}
    for shot in (*manifest.shots, *manifest.others):
        if shot.missing is None:
            found.setdefault(shot.id, {}).setdefault(shot.take, shot)
    return found


def _takes(
    folder: Path, shot: ManifestShot, rendered: Mapping[int, ManifestShot], fps: Fraction
) -> tuple[TakeFacts, ...]:
    """The shot's rendered takes, in order, when there are several."""
    if len(rendered) < 2:
        return ()
    made = []
    for number, take in sorted(rendered.items()):
        master = master_of(folder, take.id, number)
        tag = tag_of(master)
        if tag is None:
            continue
        with suppress(StoreError):
            path = takes.playable(folder, master, tag, fps)
            address = quote(f"{takes.FOLDER}/{path.name}")
            start = shot.cut[0] if shot.cut else 0
            made.append(TakeFacts(number, take.seed, number == shot.take, address, start))
    return tuple(made) if len(made) > 1 else ()


def _forget_takes(folder: Path, rendered: Mapping[str, Mapping[int, ManifestShot]]) -> None:
    """Let go of copies for shots that have no other take any more."""
    several = {name: numbers for name, numbers in rendered.items() if len(numbers) > 1}
    compared = {master_of(folder, name, n).stem for name, ns in several.items() for n in ns}
    takes.forget_others(folder, compared)


def _length(frames: int, fps: Fraction) -> str:
    seconds = f"{frames / nominal(fps):.2f}".rstrip("0").rstrip(".")
    return f"{seconds} s"


def _video(folder: Path, manifest: Manifest) -> str | None:
    if manifest.film is None or not (folder / manifest.film.file).is_file():
        return None
    return quote(manifest.film.file)


def _quality(folder: Path) -> Quality | None:
    try:
        return read_quality(folder / FILE)
    except InputError:
        return None


def _measured(seen: list[_Seen]) -> str:
    full = sum(each.series is not None for each in seen)
    quick = sum(each.series is None and each.look is not None for each in seen)
    stale = " Its findings are of an older version of some shots." * any(s.stale for s in seen)
    if full and quick:
        return f"Every frame of {full} shots, some of the others: run storyflow qc.{stale}"
    if full:
        return f"Every frame, by storyflow qc.{stale}"
    return "Some frames of each shot; storyflow qc measures every one." if quick else ""


def _film_remarks(quality: Quality | None) -> tuple[Remark, ...]:
    if quality is None:
        return ()
    return tuple(Remark(v.level, v.text, v.frame) for v in quality.verdicts if v.shot is None)


def _delivery(quality: Quality | None, manifest: Manifest) -> str:
    made = None if quality is None else quality.delivery
    if made is None or manifest.film is None or made.sha256 != manifest.film.sha256:
        return ""
    vmaf = "" if made.vmaf is None else f", VMAF {made.vmaf:.1f}"
    return f"SSIM {made.ssim:.4f} (worst frame {made.frame}: {made.worst:.4f}){vmaf}"
