"""`run.json`: what a film was last made of and what that took, beside `film.json`.

Unlike the manifest it is written however a run ends, and a segment that the run didn't come to
keeps its older entry. So the next plan can say what has changed since, and a bill can be compared
with its estimate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from storyflow.asked import Asked
from storyflow.cutting.filed import Filed
from storyflow.cutting.manifest import Manifest, read_manifest
from storyflow.errors import CutError, InputError
from storyflow.events import CutStarted, Event, SegmentDone, ShotFailed, Spent
from storyflow.planning.diff import Place, Was, continued, places
from storyflow.planning.finish import Account, Estimate
from storyflow.planning.nodes import Plan

Emit = Callable[[Event], None]

RECORD = "run.json"
"""Name of the file in a film's folder."""


@dataclass(frozen=True)
class Record:
    """What a film in this folder was last made of.

    `when` is the time of its last run (ISO 8601), `last` the account of the last one that had
    anything to render, `asked` how the film was asked for.
    """

    title: str
    pipeline: str
    when: str = ""
    segments: tuple[Was, ...] = ()
    last: Account | None = None
    asked: Asked | None = None
    storyflow: Literal[1] = 1

    @property
    def past(self) -> dict[Place, Was]:
        """The segments by place."""
        return {was.place: was for was in self.segments}


class Recorder:
    """Notes what a run does, from its events."""

    def __init__(self, plan: Plan, estimate: Estimate | None, asked: Asked | None) -> None:
        self._plan, self._asked = plan, asked
        self._began = self._decided = time.monotonic()
        self._account = Account(datetime.now(UTC).isoformat(timespec="seconds"), estimate)
        self._keys: dict[str, str] = {}

    def note(self, event: Event) -> None:
        """Take in one event of the run."""
        match event:
            case SegmentDone(segment=name, key=key, reused=reused):
                self._keys[name] = key
                done = self._account
                self._account = replace(
                    done, rendered=done.rendered + (not reused), reused=done.reused + reused
                )
                self._decided = time.monotonic()
            case ShotFailed():
                self._decided = time.monotonic()
            case CutStarted():
                # Not the time now: Ray's own end is no part of it.
                self._account = replace(self._account, seconds=self._decided - self._began)

    def spent(self, spent: Spent, gpus: float) -> None:
        """What was used, once that is known; each worker holds so many GPUs."""
        self._account = replace(
            self._account,
            gpu_seconds=spent.worker_seconds * gpus + spent.prompt_seconds,
            useful_seconds=spent.useful_seconds * gpus,
            money=spent.money,
        )

    def record(self, before: Record | None) -> Record:
        """What to write: the run's segments, and older entries of those it didn't come to."""
        plan = self._plan
        where = places(plan)
        names = {segment.recipe: segment.name for segment in plan.segments}
        seeds = {(take.shot.id, take.take): take.seed for take in plan.takes}
        kept = before.past if before is not None and before.pipeline == plan.pipeline else {}
        # A shot that left the film keeps its entries: it may come back.
        found: dict[Place, Was] = dict(kept)
        for segment in plan.segments:
            key = self._keys.get(segment.name)
            if key is not None:
                place = where[segment.recipe]
                found[place] = Was(
                    name=segment.name,
                    place=place,
                    key=key,
                    prompt=segment.inputs.prompt,
                    negative=segment.inputs.negative,
                    seed=seeds[segment.shot, segment.take],
                    history=continued(segment, names),
                )
        account, when = self._account, self._account.began
        if before is not None and not account.rendered:
            # A run that rendered nothing doesn't hide the bill of the one that did.
            account, when = before.last or account, when if self._keys else before.when
        return Record(plan.title, plan.pipeline, when, tuple(found.values()), account, self._asked)


@contextmanager
def recording(
    folder: Path, plan: Plan, estimate: Estimate | None, emit: Emit, asked: Asked | None = None
) -> Iterator[tuple[Recorder, Emit]]:
    """Record what happens inside into the folder's `run.json`, however it ends.

    Yields the recorder, and an `emit` that lets it listen.
    """
    recorder = Recorder(plan, estimate, asked)

    def told(event: Event) -> None:
        recorder.note(event)
        emit(event)

    try:
        yield recorder, told
    except BaseException:
        with suppress(CutError):  # what went wrong is told, not that it can't be noted
            write_record(folder, recorder.record(read_record(folder)))
        raise
    write_record(folder, recorder.record(read_record(folder)))


def read_record(folder: Path) -> Record | None:
    """The record of a film's folder; of an older film, what its manifest tells; None without.

    A broken record is as good as none: it only explains what the store decides.
    """
    with suppress(InputError):
        return _FILED.read(folder / RECORD)
    try:
        return _of_manifest(read_manifest(folder / "film.json"))
    except InputError:
        return None


def write_record(folder: Path, record: Record) -> None:
    """Write `run.json`, aside and renamed. Raises CutError when the disk refuses."""
    _FILED.write(folder / RECORD, record)


def _of_manifest(manifest: Manifest) -> Record:
    found: list[Was] = []
    for shot in (*manifest.shots, *manifest.others):
        counts: dict[int, int] = {}
        for segment in shot.segments:
            place = counts.get(segment.beat, 0)
            counts[segment.beat] = place + 1
            if segment.key is not None:
                where = (shot.id, shot.take, segment.beat, place)
                found.append(
                    Was(
                        name=segment.name,
                        place=where,
                        key=segment.key,
                        prompt=segment.prompt,
                        negative=segment.negative,
                        seed=shot.seed,
                    )
                )
    return Record(manifest.title, manifest.pipeline, segments=tuple(found))


_FILED = Filed(Record, "a run's record", "render the film first", "render the film again")
