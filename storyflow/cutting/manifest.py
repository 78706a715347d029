"""`film.json`: what the film is made of, beside the film.

Every shot with its place in the film, every segment with its key, seed, prompt and frames, and
whether it was rendered or reused. Apart from `seconds`, `worker` and `rendered`, equal films have
equal manifests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from storyflow.cutting.assemble import CutReport
from storyflow.cutting.colourmatch import ColourMatch, colour_match
from storyflow.cutting.filed import Filed
from storyflow.cutting.geometry import Geometry
from storyflow.cutting.shown import (
    ManifestTitle,
    ManifestTransition,
    into_of,
    out_of,
    titles_of,
)
from storyflow.events import ShotFailed
from storyflow.planning.nodes import CutEntry, Plan, PlannedTake, Segment
from storyflow.store.artifacts import Artifact, Regained
from storyflow.store.kept import ready
from storyflow.timing import timecode


@dataclass(frozen=True)
class ManifestSegment:
    """One segment. Frames [start, stop) count within the take; `window` includes `overlap`.

    `key`, `digest` and what follows are None for a segment that isn't in the store. `digest` is
    the hash over the hashes of its frames, `rendered` is False where it was reused, `seconds` is
    what rendering it took when it was rendered.
    """

    name: str
    recipe: str
    beat: int
    seed: int
    prompt: str
    negative: str
    window: int
    overlap: int
    start: int
    stop: int
    key: str | None = None
    digest: str | None = None
    rendered: bool | None = None
    seconds: float | None = None
    numerics: str | None = None
    worker: str | None = None
    regained: Regained | None = None


@dataclass(frozen=True)
class ManifestSource:
    """What a shot goes on from: the frames before `frame` of a take."""

    shot: str
    take: int
    frame: int


@dataclass(frozen=True)
class ManifestBeat:
    """A beat as the storyboard tells it; it begins at the take's frame `start`."""

    start: int
    do: str
    say: str | None = None


@dataclass(frozen=True)
class ManifestShot:
    """One take of one shot.

    `film` is its range of frames in the film and `timecode` the same as text, both None for a take
    that the film doesn't show; `cut` is the range of the take's own frames that is shown. `missing`
    is the cause where a card stands in for the shot. `continues` is what its first segment goes on
    from, where that is another take's frames; `beats` are what the storyboard says. `into`, `out`
    (None for cuts) and `titles` say which frames of the film show more than this shot's own; a
    missing shot's titles are not shown. `match` is what the cut did to its colours, `scene` its
    place in the manifest's `scenes`.
    """

    id: str
    take: int
    mode: str
    seed: int
    frames: int
    film: tuple[int, int] | None
    timecode: tuple[str, str] | None
    cut: tuple[int, int] | None
    segments: tuple[ManifestSegment, ...]
    missing: str | None = None
    continues: ManifestSource | None = None
    beats: tuple[ManifestBeat, ...] = ()
    into: ManifestTransition | None = None
    out: ManifestTransition | None = None
    titles: tuple[ManifestTitle, ...] = ()
    match: ColourMatch | None = None
    scene: int = 0


@dataclass(frozen=True)
class ManifestFile:
    """Another file that holds the film: its format, and its path beside the film's."""

    format: str
    file: str


@dataclass(frozen=True)
class ManifestFilm:
    """The film file: its name, its own sha256, and the digest over its raw frames.

    The file may be a preview, which has no such digest (empty). `timecode` is its first frame's,
    `poster` a picture's path beside it, `geometry` how its pictures came from the masters'.
    """

    file: str
    sha256: str
    frames_sha256: str
    width: int
    height: int
    timecode: str = ""
    poster: str | None = None
    others: tuple[ManifestFile, ...] = ()
    geometry: Geometry | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The whole film. `storyflow` is the file's format version, `made_with` the program's.

    `fps` is exact ("24000/1001"), `frames` its planned length.

    `shots` are in film order, `others` are takes that were rendered but not chosen. `film` is None
    where nothing was cut, as when only some shots were rendered. `scenes` are the headings.
    """

    storyflow: Literal[1] = 1
    made_with: str = ""
    title: str
    pipeline: str
    fps: str
    width: int
    height: int
    frames: int
    complete: bool
    film: ManifestFilm | None
    shots: tuple[ManifestShot, ...]
    others: tuple[ManifestShot, ...] = ()
    scenes: tuple[str | None, ...] = ()


def make_manifest(
    plan: Plan,
    artifacts: Mapping[str, Artifact],
    reused: frozenset[str],
    failures: Iterable[ShotFailed],
    film: CutReport | None,
) -> Manifest:
    """The manifest of a run: `artifacts` are by recipe, `reused` are recipes."""
    causes = missing_shots(failures)
    shots, position = [], 0
    for entry in plan.cut:
        length = entry.stop - entry.start
        take = plan.take(entry.shot, entry.take)
        shot = _shot(plan, take, artifacts, reused, causes, entry, position)
        if film is not None and shot.missing is None:
            shot = replace(shot, match=colour_match(plan, take, artifacts, film.colour_match))
        shots.append(shot)
        position += length
    shown = {(entry.shot, entry.take) for entry in plan.cut}
    others = [
        _shot(plan, take, artifacts, reused, causes)
        for take in plan.takes
        if (take.shot.id, take.take) not in shown
    ]
    return Manifest(
        title=plan.title,
        pipeline=plan.pipeline,
        fps=f"{plan.fps.numerator}/{plan.fps.denominator}",
        width=plan.size.width,
        height=plan.size.height,
        frames=plan.frames,
        complete=film is not None and not film.missing,
        film=None if film is None else _film(film),
        shots=tuple(shots),
        others=tuple(others),
        made_with=f"storyflow {version('storyflow')}",
        scenes=plan.scenes,
    )


def missing_shots(failures: Iterable[ShotFailed]) -> dict[str, str]:
    """The cause for each shot that failures leave incomplete; the first one counts."""
    causes: dict[str, str] = {}
    for failure in failures:
        for shot in (failure.shot, *failure.missing):
            where = "" if shot == failure.shot else f"continues {failure.shot}: "
            causes.setdefault(shot, f"{where}segment {failure.segment}: {failure.error}")
    return causes


def write_manifest(path: Path, manifest: Manifest) -> Path:
    """Write `film.json`, aside and renamed. Raises CutError when the disk refuses."""
    return _FILED.write(path, manifest)


def read_manifest(path: Path) -> Manifest:
    """The manifest that `write_manifest` wrote. Raises InputError: absent or broken."""
    return _FILED.read(path)


_FILED = Filed(Manifest, "a manifest", "render the film first", "render the film again")


def _film(film: CutReport) -> ManifestFilm:
    folder = film.path.parent
    others = ((other.format, other.path.relative_to(folder)) for other in film.others)
    return ManifestFilm(
        file=film.path.name,
        sha256=film.sha256,
        frames_sha256=film.frames_sha256,
        width=film.size.width,
        height=film.size.height,
        timecode=film.timecode,
        poster=None if film.poster is None else film.poster.name,
        others=tuple(ManifestFile(name, path.as_posix()) for name, path in others),
        geometry=film.geometry,
    )


def _shot(
    plan: Plan,
    take: PlannedTake,
    artifacts: Mapping[str, Artifact],
    reused: frozenset[str],
    causes: Mapping[str, str],
    entry: CutEntry | None = None,
    position: int = 0,
) -> ManifestShot:
    place = None if entry is None else (position, position + entry.stop - entry.start)
    whole = all(segment.recipe in artifacts for segment in take.segments)
    ready(artifacts, (segment.recipe for segment in take.segments))
    return ManifestShot(
        id=take.shot.id,
        take=take.take,
        mode=take.mode,
        seed=take.seed,
        frames=take.generated,
        film=place,
        timecode=place and (timecode(place[0], plan.fps), timecode(place[1], plan.fps)),
        cut=None if entry is None else (entry.start, entry.stop),
        segments=tuple(
            _segment(segment, artifacts.get(segment.recipe), segment.recipe in reused)
            for segment in take.segments
        ),
        missing=None if whole else causes.get(take.shot.id, "not rendered"),
        continues=_source(plan, take),
        beats=tuple(_beats(take)),
        into=None if entry is None else into_of(entry, position),
        out=None if entry is None else out_of(entry, position),
        titles=() if entry is None else titles_of(entry, position),
        scene=take.shot.scene,
    )


def _beats(take: PlannedTake) -> Iterator[ManifestBeat]:
    starts = {segment.beat: segment.start for segment in reversed(take.segments)}
    for index, beat in enumerate(take.shot.beats):
        if index in starts:
            yield ManifestBeat(starts[index], beat.do, beat.say)


def _source(plan: Plan, take: PlannedTake) -> ManifestSource | None:
    spans = take.segments[0].history if take.segments else ()
    if not spans:
        return None
    last = spans[-1]
    source = plan.by_recipe[last.segment]
    return ManifestSource(source.shot, source.take, source.start + last.stop)


def _segment(segment: Segment, artifact: Artifact | None, reused: bool) -> ManifestSegment:
    spec = segment.inputs.spec
    planned = ManifestSegment(
        name=segment.name,
        recipe=segment.recipe,
        beat=segment.beat,
        seed=spec.seed,
        prompt=segment.inputs.prompt,
        negative=segment.inputs.negative,
        window=spec.window,
        overlap=spec.overlap,
        start=segment.start,
        stop=segment.stop,
    )
    if artifact is None:
        return planned
    return replace(
        planned,
        key=artifact.key,
        digest=artifact.digest,
        rendered=not reused,
        seconds=artifact.seconds,
        numerics=artifact.numerics,
        worker=artifact.worker,
        regained=artifact.regained,
    )
