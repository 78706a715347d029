"""The timelines that lie beside every film: `film.otio`, `film.xml`, `film.edl`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from storyflow.cutting.assemble import CutReport
from storyflow.errors import InputError
from storyflow.planning.nodes import Plan
from storyflow.qc.filed import FILE as QUALITY
from storyflow.qc.filed import read_quality
from storyflow.qc.verdicts import Quality
from storyflow.store.artifacts import Artifact
from storyflow.store.kept import StoredArtifacts
from storyflow.timeline.build import Contents
from storyflow.timeline.files import ADAPTERS, write_timelines
from storyflow.timeline.media import Media, TakeName, masters
from storyflow.timing import parse_timecode


def write_beside(
    film: CutReport, plan: Plan, artifacts: Mapping[str, Artifact], missing: Mapping[str, str]
) -> str:
    """Write a film's timelines beside it, pointing at its masters.

    A film that can't be put into words for other programs is a film all the same: the line says
    what went wrong, empty where nothing did.
    """
    folder = film.path.parent
    whole = whole_takes(plan, artifacts)
    media = {name: each for name, each in masters(plan).items() if name in whole}
    try:
        made = contents_of(film.timecode, plan, media, artifacts, missing, folder)
        write_timelines(folder, film.path.stem, made)
    except Exception as error:
        return f"no timeline was written for editing programs: {error}"
    if film.path.stem == "film":
        for form in ADAPTERS:
            (folder / f"film.partial.{form}").unlink(missing_ok=True)
    return ""


def contents_of(
    timecode: str,
    plan: Plan,
    media: Mapping[TakeName, Media],
    artifacts: Mapping[str, Artifact],
    missing: Mapping[str, str],
    folder: Path,
) -> Contents:
    """What a timeline is made of; `folder` is the film's. Raises InputError for a timecode."""
    try:
        start = parse_timecode(timecode, plan.fps)
    except ValueError as error:
        raise InputError(
            f"deliver.timecode {timecode} is none at {plan.fps} frames a second", cure=str(error)
        ) from None
    return Contents(plan, media, missing, start, _keys(artifacts), _quality(folder))


def whole_takes(plan: Plan, artifacts: Mapping[str, Artifact]) -> frozenset[TakeName]:
    """The takes whose segments are all there."""
    return frozenset(
        (take.shot.id, take.take)
        for take in plan.takes
        if all(segment.recipe in artifacts for segment in take.segments)
    )


def _keys(artifacts: Mapping[str, Artifact]) -> Mapping[str, str]:
    """Their keys, by recipe."""
    if isinstance(artifacts, StoredArtifacts):
        return {recipe: artifacts.key(recipe) for recipe in artifacts}
    return {recipe: artifact.key for recipe, artifact in artifacts.items()}


def _quality(folder: Path) -> Quality | None:
    """What was found of the film, if it was looked at."""
    try:
        return read_quality(folder / QUALITY)
    except InputError:
        return None
