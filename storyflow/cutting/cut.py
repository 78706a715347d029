"""From artifacts to the film: masters for every finished take, then one pass over the cut."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from storyflow.cutting.aside import remove
from storyflow.cutting.assemble import CutReport, assemble
from storyflow.cutting.masters import master
from storyflow.cutting.pictures import Entry, Footage, MasterError, Missing
from storyflow.errors import CutError
from storyflow.pipeline import DeliverSection
from storyflow.planning.nodes import CutEntry, Plan, PlannedTake
from storyflow.stopping import Check, go_on
from storyflow.store.artifacts import Artifact
from storyflow.store.store import Store

FILM = "film.mp4"
PARTIAL = "film.partial.mp4"

_ESCAPES = str.maketrans({character: f"%{ord(character):02X}" for character in "%./:"})


def cut_film(
    plan: Plan,
    artifacts: Mapping[str, Artifact],
    store: Store,
    folder: Path,
    deliver: DeliverSection,
    missing: Mapping[str, str],
    check: Check = go_on,
) -> CutReport:
    """Write `shots/*.mov` and `film.mp4` into `folder`; `film.partial.mp4` where shots are missing.

    `artifacts` are by recipe, `missing` gives the cause for every shot that has no whole take.
    Shots are joined by straight cuts. A whole film replaces a partial one; a partial one leaves
    the last whole film where it is. A master that turns out to be damaged is made again, once.
    `check` is called between frames; what it raises ends the cut, and what had a final name before
    is left as it was. Raises CutError, StoreError, and DamagedError when a stored segment is
    damaged: render it again.
    """
    write_masters(plan, artifacts, store, folder, check)
    entries = [_entry(plan, entry, artifacts, folder, missing) for entry in plan.cut]
    whole = all(isinstance(entry, Footage) for entry in entries)
    path = folder / (FILM if whole else PARTIAL)
    join = partial(
        assemble, entries, path, fps=plan.fps, size=plan.size, deliver=deliver, check=check
    )
    try:
        report = join()
    except MasterError as error:
        remove(error.path)
        write_masters(plan, artifacts, store, folder, check)
        report = join()
    if whole:
        remove(folder / PARTIAL)
    return report


def write_masters(
    plan: Plan,
    artifacts: Mapping[str, Artifact],
    store: Store,
    folder: Path,
    check: Check = go_on,
) -> tuple[Path, ...]:
    """The master of every take whose segments are all there, in the plan's order."""
    return tuple(
        master(store, segments, master_path(folder, take), plan.fps, check)
        for take in plan.takes
        if (segments := _segments(take, artifacts)) is not None
    )


def master_path(folder: Path, take: PlannedTake) -> Path:
    """`shots/1A.mov`, `shots/1A.2.mov` for take 2. A dot in an id can't be taken for a take."""
    number = "" if take.take == 1 else f".{take.take}"
    return folder / "shots" / f"{take.shot.id.translate(_ESCAPES)}{number}.mov"


def _segments(take: PlannedTake, artifacts: Mapping[str, Artifact]) -> list[Artifact] | None:
    found = [artifacts.get(segment.recipe) for segment in take.segments]
    whole = [artifact for artifact in found if artifact is not None]
    return whole if len(whole) == len(found) else None


def _entry(
    plan: Plan,
    entry: CutEntry,
    artifacts: Mapping[str, Artifact],
    folder: Path,
    missing: Mapping[str, str],
) -> Entry:
    take = plan.take(entry.shot, entry.take)
    segments = _segments(take, artifacts)
    if segments is not None:
        hashes = [sha256 for segment in segments for sha256 in segment.frames]
        return Footage(
            shot=entry.shot,
            master=master_path(folder, take),
            start=entry.start,
            stop=entry.stop,
            hashes=tuple(hashes[entry.start : entry.stop]),
        )
    if entry.shot not in missing:
        absent = next(s for s in take.segments if s.recipe not in artifacts)
        raise CutError(
            f"shot {entry.shot} can't be cut: segment {absent.name} is not in the store",
            cure="render the film first",
        )
    return Missing(entry.shot, missing[entry.shot], entry.stop - entry.start)
