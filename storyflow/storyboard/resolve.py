"""From what the author wrote to what is meant: defaults applied, times in frames, names known.

    film = resolve(load("storyboards/first-light.yaml"))

Everything that can be wrong with a readable storyboard is found here, all of it at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from storyflow.documents import did_you_mean
from storyflow.errors import Problem, StoryboardError
from storyflow.storyboard.cascade import Above, Cast, resolve_beats
from storyflow.storyboard.clock import as_time, beat_frames, to_frames
from storyflow.storyboard.ids import PinnedShot, assign_ids, fingerprint
from storyflow.storyboard.joints import ends_of, join
from storyflow.storyboard.model import Authored, Film, Scene, Shot
from storyflow.storyboard.report import Report, Spot
from storyflow.storyboard.resolved import (
    Character,
    Place,
    ResolvedFilm,
    ResolvedScene,
    ResolvedShot,
    Transition,
)
from storyflow.storyboard.sources import Folder, refuse_cycles, source_of
from storyflow.storyboard.titles import titles_of

RATE = Fraction(24)
"""Frames per second where the film does not say."""
MOST_SHOTS = 20_000
"""More shots than this in one film are a mistake."""


def resolve(
    film: Film,
    pinned: Sequence[PinnedShot] = (),
    *,
    root: Path | None = None,
    allow_outside: bool = False,
) -> ResolvedFilm:
    """The film with every default applied. Raises StoryboardError with every error found.

    `pinned` is what the lock remembers of the shots, so that those without an id find theirs again.
    References start from `root`, else from the folder that the film was read from, else from the
    current one, and stay inside unless `allow_outside`.
    """
    resolved, problems = examine(film, pinned, root=root, allow_outside=allow_outside)
    errors = [problem for problem in problems if problem.level == "error"]
    if errors or resolved is None:
        raise StoryboardError(errors)
    return resolved


def examine(
    film: Film,
    pinned: Sequence[PinnedShot] = (),
    *,
    root: Path | None = None,
    allow_outside: bool = False,
) -> tuple[ResolvedFilm | None, list[Problem]]:
    """Like `resolve`, but hands every problem back, notices too; None where there are errors."""
    report = Report()
    top = Spot(film.origin)
    if not _has_shots(film, top, report):
        return None, report.problems
    folder = Folder(root or film.origin.root or Path.cwd(), allow_outside, film.origin.placed)
    rate = film.fps or RATE
    numbered = _number(film, pinned)
    _refuse_duplicates(numbered, report)
    cast, places = _people_and_places(film, folder, top, report)
    _check_names(film, numbered, cast, places, report)
    shots = _resolve_shots(film, numbered, rate, cast, places, folder, report)
    handles = 0 if film.handles is None else to_frames(film.handles, rate, top, "handles", report)
    _check_length(film, sum(shot.frames for shot in shots), rate, top, report)
    scenes = tuple(ResolvedScene(scene.scene) for scene in film.scenes) or (ResolvedScene(None),)
    resolved = ResolvedFilm(
        title=film.film,
        fps=rate,
        size=film.frame,
        handles=handles,
        seed=film.seed or 0,
        scenes=scenes,
        shots=tuple(shots),
        notices=tuple(problem for problem in report.problems if problem.level == "notice"),
        about=film.about or "",
    )
    return (None if report.failed else resolved), report.problems


@dataclass(frozen=True)
class _Numbered:
    """A shot with its number, id, scene and place in the file."""

    number: int
    id: str
    fingerprint: str
    shot: Shot
    scene_number: int
    scene: Scene
    spot: Spot
    scene_spot: Spot
    first: bool
    last: bool


def _has_shots(film: Film, top: Spot, report: Report) -> bool:
    if film.shots and film.scenes:
        what = "the film has both 'shots' and 'scenes'"
        report.error(top, "shots", "shots-and-scenes", what, cure="move the shots into a scene")
    elif not film.shots and not film.scenes:
        report.error(
            top, "", "empty-film", "the film has no shots", cure="add 'shots:' and one '- TEXT'"
        )
    for number, scene in enumerate(film.scenes):
        if not scene.shots:
            what, cure = "the scene has no shots", "add a shot, or remove the scene"
            report.error(Spot(scene.origin, f"scenes.{number}"), "", "empty-scene", what, cure=cure)
    count = sum(1 for _ in film.each_shot())
    if count > MOST_SHOTS:
        what = f"the film has {count:,} shots; {MOST_SHOTS:,} are the most"
        report.error(top, "shots", "too-many-shots", what, cure="split it into several films")
    return not report.failed


def _number(film: Film, pinned: Sequence[PinnedShot]) -> list[_Numbered]:
    prints = [fingerprint(shot) for _, _, shot in film.each_shot()]
    ids = assign_ids(film, pinned, prints)
    numbered: list[_Numbered] = []
    within = 0
    for number, (scene_number, scene, shot) in enumerate(film.each_shot()):
        within = within + 1 if numbered and numbered[-1].scene_number == scene_number else 0
        path = f"shots.{within}"
        scene_path = f"scenes.{scene_number}" if film.scenes else ""
        numbered.append(
            _Numbered(
                number=number,
                id=ids[number],
                fingerprint=prints[number],
                shot=shot,
                scene_number=scene_number,
                scene=scene,
                spot=Spot(shot.origin, ".".join(p for p in (scene_path, path) if p), ids[number]),
                scene_spot=Spot(scene.origin, scene_path, ids[number]),
                first=within == 0,
                last=within == len(scene.shots) - 1,
            )
        )
    return numbered


def _refuse_duplicates(numbered: Sequence[_Numbered], report: Report) -> None:
    seen: dict[str, _Numbered] = {}
    for each in numbered:
        other = seen.setdefault(each.id.lower(), each)
        if other is not each:
            what = "two shots have this id"
            if other.id != each.id:
                what = f"two shots have ids that differ only in case, this and {other.id}"
            line = other.spot.where("id").line
            place = f" (the other is on line {line})" if line else ""
            cure = f"give each its own{place}"
            report.error(each.spot, "id", "duplicate-id", what, value=each.id, cure=cure)


def _people_and_places(
    film: Film, folder: Folder, top: Spot, report: Report
) -> tuple[Cast, dict[str, Place]]:
    characters = {}
    for name, member in film.cast.items():
        home, spot, at = folder, top, f"cast.{name}.ref"
        if member.origin.root is not None:
            # From another file than the film's: its picture lies beside that.
            home = replace(folder, root=member.origin.root, placed=member.origin.placed)
            spot, at = Spot(member.origin, f"cast.{name}"), "ref"
        ref = None if member.ref is None else home.picture(member.ref, spot, at, report)
        characters[name] = Character(name, member.look, ref)
    places = {name: Place(name, place.look) for name, place in film.places.items()}
    return Cast(characters), places


def _check_names(
    film: Film,
    numbered: Sequence[_Numbered],
    cast: Cast,
    places: dict[str, Place],
    report: Report,
) -> None:
    """Names of cast and places, each where it is written."""

    def check(part: Authored, spot: Spot, at: str = "") -> None:
        prefix = f"{at}." if at else ""
        cast.refuse_unknown(getattr(part, "who", None) or (), spot, f"{prefix}who", report)
        place = getattr(part, "place", None)
        if place is not None and place not in places:
            cure = did_you_mean(place, places, otherwise="use one of")
            cure = cure if places else f"add '{place}' to places:"
            report.error(
                spot, f"{prefix}place", "unknown-place", "no such place", value=place, cure=cure
            )

    def check_level(level: Film | Scene, spot: Spot) -> None:
        check(level, spot)
        if level.defaults is None:
            return
        check(level.defaults, spot, "defaults")
        for key in ("light", "place"):
            if getattr(level, key) is not None and getattr(level.defaults, key) is not None:
                what = f"'{key}' stands here and in defaults"
                report.error(spot, key, "stands-twice", what, cure="remove one of them")

    check_level(film, Spot(film.origin))
    for number, scene in enumerate(film.scenes):
        check_level(scene, Spot(scene.origin, f"scenes.{number}"))
    for each in numbered:
        check(each.shot, each.spot)
        for number, beat in enumerate(each.shot.beats or ()):
            check(beat, each.spot, f"beats.{number}")


def _resolve_shots(
    film: Film,
    numbered: Sequence[_Numbered],
    rate: Fraction,
    cast: Cast,
    places: dict[str, Place],
    folder: Folder,
    report: Report,
) -> list[ResolvedShot]:
    authored = [each.shot for each in numbered]
    ids = [each.id for each in numbered]
    known = frozenset(ids)
    shots: list[ResolvedShot] = []
    ends = []
    scene, above = None, Above({}, (), ())
    for each in numbered:
        shot, spot = each.shot, each.spot
        defaults = [film.defaults, each.scene.defaults]
        frames = beat_frames(shot, defaults, rate, spot, report)
        if each.scene is not scene:
            scene = each.scene
            above = Above.of([film.defaults, film, scene.defaults, scene])
        source = source_of(each.number, authored, ids, known, folder, spot, report)
        if shot.fit is not None and source.source is None:
            what = "'fit' has no effect on a shot without a picture or clip"
            report.notice(
                spot, "fit", "fit-without-picture", what, value=shot.fit, cure="remove it"
            )
        takes = _default(shot, defaults, "takes") or 1
        if shot.take is not None and shot.take > takes:
            what = f"there is no take {shot.take}: this shot has {takes}"
            cure = f"write 'takes: {shot.take}', or choose another"
            report.error(spot, "take", "take-without-takes", what, cure=cure)
        ends.append(
            ends_of(
                shot, each.scene, spot, each.scene_spot, rate, report,
                first=each.first, last=each.last,
            )
        )  # fmt: skip
        shots.append(
            ResolvedShot(
                id=each.id,
                fingerprint=each.fingerprint,
                scene=each.scene_number,
                mode=source.mode,
                beats=resolve_beats(shot, above, frames, cast, places, spot, report),
                source=source.source,
                end=source.end,
                follows=source.follows,
                fit="pad" if _default(shot, defaults, "fit") == "pad" else "crop",
                titles=titles_of(shot, sum(frames), rate, spot, report),
                takes=takes,
                take=shot.take,
                seed=shot.seed,
                note=shot.note,
                where=spot.where(),
                source_at=spot.where("from"),
                end_at=spot.where("to"),
            )
        )
    spots = [each.spot for each in numbered]
    refuse_cycles({s.id: s.follows for s in shots}, dict(zip(ids, spots, strict=True)), report)
    continues = [shot.mode == "continue" for shot in shots]
    joints = join(ends, [shot.frames for shot in shots], continues, spots, rate, report)
    cuts = (Transition(), Transition())
    return [
        shot if joint == cuts else replace(shot, into=joint[0], out=joint[1])
        for shot, joint in zip(shots, joints, strict=True)
    ]


def _default(shot: Shot, defaults: Sequence[Authored | None], name: str) -> Any:
    for level in (shot, *reversed(defaults)):
        if (value := getattr(level, name, None)) is not None:
            return value
    return None


def _check_length(film: Film, frames: int, rate: Fraction, top: Spot, report: Report) -> None:
    if film.length is None:
        return
    length = to_frames(film.length, rate, top, "length", report, least=1)
    if length != frames:
        what = f"the shots last {as_time(frames, rate)}, length says {as_time(length, rate)}"
        cure = f"change a dur by {as_time(abs(length - frames), rate)}, or the length"
        report.error(top, "length", "length-differs", what, cure=cure)
