"""From artifacts to the film: masters for every finished take, then one pass over the cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import overload

from storyflow.cutting.aside import remove
from storyflow.cutting.assemble import CutReport, assemble
from storyflow.cutting.colourmatch import Mode, colour_match
from storyflow.cutting.geometry import geometry
from storyflow.cutting.label import label_of
from storyflow.cutting.masters import master
from storyflow.cutting.pictures import Entry, Footage, MasterError, Missing
from storyflow.cutting.preview import write_preview
from storyflow.errors import CutError
from storyflow.pipeline import DeliverSection
from storyflow.planning.nodes import CutEntry, Plan, PlannedTake
from storyflow.stopping import Check, go_on
from storyflow.store.artifacts import Artifact
from storyflow.store.kept import ready
from storyflow.store.store import Store

FILM = "film.mp4"
PARTIAL = "film.partial.mp4"
PREVIEW = "film.preview.mp4"

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
    """Write `shots/*.mov` and `film.mp4` into `folder`; `film.partial.mp4` where shots are missing,
    `film.preview.mp4` where `deliver` asks for a preview.

    `artifacts` are by recipe, `missing` gives the cause for every shot that has no whole take.
    A whole film replaces a partial one and a preview, which leave the last whole film where it is.
    A master that turns out to be damaged is made again, once. `check` is called between frames;
    what it raises ends the cut, and what had a final name before is left as it was. Raises
    CutError, StoreError, and DamagedError when a stored segment is damaged: render it again.
    """
    write_masters(plan, artifacts, store, folder, check)
    match = deliver.colour_match
    entries = [_entry(plan, entry, artifacts, folder, missing, match) for entry in plan.cut]
    whole = all(isinstance(entry, Footage) for entry in entries)
    name = PREVIEW if deliver.preview else FILM if whole else PARTIAL
    label = label_of(plan, deliver)
    join = partial(
        write_preview if deliver.preview else assemble,
        entries,
        folder / name,
        fps=plan.fps,
        size=plan.size,
        deliver=deliver,
        label=label,
        check=check,
    )
    try:
        report = join()
    except MasterError as error:
        remove(error.path)
        write_masters(plan, artifacts, store, folder, check)
        report = join()
    if name == FILM:
        for stale in (PARTIAL, PREVIEW):
            remove(folder / stale)
            remove((folder / stale).with_suffix(".jpg"))
    return replace(report, geometry=geometry(plan.size, deliver), colour_match=match)


def write_masters(
    plan: Plan,
    artifacts: Mapping[str, Artifact],
    store: Store,
    folder: Path,
    check: Check = go_on,
) -> tuple[Path, ...]:
    """The master of every take whose segments are all there, in the plan's order."""
    return tuple(
        master(store, _segments(take, artifacts), master_path(folder, take), plan.fps, check)
        for take in plan.takes
        if _is_whole(take, artifacts)
    )


def master_path(folder: Path, take: PlannedTake) -> Path:
    """Where a planned take's master is."""
    return master_of(folder, take.shot.id, take.take)


def master_of(folder: Path, shot: str, take: int) -> Path:
    """`shots/1A.mov`, `shots/1A.2.mov` for take 2. A dot in an id can't be taken for a take."""
    number = "" if take == 1 else f".{take}"
    return folder / "shots" / f"{shot.translate(_ESCAPES)}{number}.mov"


def _is_whole(take: PlannedTake, artifacts: Mapping[str, Artifact]) -> bool:
    return all(segment.recipe in artifacts for segment in take.segments)


def _segments(take: PlannedTake, artifacts: Mapping[str, Artifact]) -> list[Artifact]:
    recipes = [segment.recipe for segment in take.segments]
    ready(artifacts, recipes)
    return [artifacts[recipe] for recipe in recipes]


class _Hashes(Sequence[str]):
    """The hashes of frames [start, stop) of a take, read from its artifacts when they are used:
    a long film has more of them than memory should hold."""

    def __init__(
        self, take: PlannedTake, artifacts: Mapping[str, Artifact], start: int, stop: int
    ) -> None:
        self._take, self._artifacts = take, artifacts
        self._range = range(take.generated)[start:stop]

    def __len__(self) -> int:
        return len(self._range)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._read()[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def _read(self) -> list[str]:
        segments = _segments(self._take, self._artifacts)
        hashes = [sha256 for segment in segments for sha256 in segment.frames]
        return hashes[self._range.start : self._range.stop]


def _entry(
    plan: Plan,
    entry: CutEntry,
    artifacts: Mapping[str, Artifact],
    folder: Path,
    missing: Mapping[str, str],
    match: Mode,
) -> Entry:
    take = plan.take(entry.shot, entry.take)
    if _is_whole(take, artifacts):
        first = entry.start - entry.into.before + entry.hold
        return Footage(
            shot=entry.shot,
            master=master_path(folder, take),
            start=entry.start,
            stop=entry.stop,
            hashes=_Hashes(take, artifacts, first, entry.stop + entry.out.after),
            hold=entry.hold,
            into=entry.into,
            out=entry.out,
            titles=entry.titles,
            grade=colour_match(plan, take, artifacts, match),
        )
    if entry.shot not in missing:
        absent = next(s for s in take.segments if s.recipe not in artifacts)
        raise CutError(
            f"shot {entry.shot} can't be cut: segment {absent.name} is not in the store",
            cure="render the film first",
        )
    length = entry.stop - entry.start
    return Missing(entry.shot, missing[entry.shot], length, entry.into, entry.out)
