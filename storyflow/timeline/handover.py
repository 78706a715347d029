"""A folder for editing programs: one file per take, timelines that point at them, a shot list.

    handover/
      media/1C_t2_v003.mov   ProRes 422 HQ or DNxHR HQ, the whole take with its handles
      stills/1C_t2_v003.png  a picture of each shot
      film.otio film.xml film.edl
      shots.csv
      handover.json          versions, reels and timecodes, see `handed.py`

A take whose pictures have not changed keeps its file; older versions stay. Every file is written
aside, opened again, compared with the plan and renamed, so the same call goes on where one ended.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from storyflow.cutting.aside import written_aside
from storyflow.cutting.check import check_film
from storyflow.cutting.coding import Coding, further_codings
from storyflow.cutting.encoders import VideoFile
from storyflow.cutting.geometry import Geometry, geometry
from storyflow.cutting.label import Label
from storyflow.errors import CutError, InputError
from storyflow.farm.lookup import look_up
from storyflow.film import Order, prepare
from storyflow.planning.nodes import CutEntry, Plan, PlannedTake
from storyflow.stopping import Check, go_on
from storyflow.store.artifacts import FRAMES, Artifact
from storyflow.store.clip import iter_clip
from storyflow.store.store import Store
from storyflow.timeline.beside import contents_of, whole_takes
from storyflow.timeline.build import Form, lines_left_out
from storyflow.timeline.files import write_timelines
from storyflow.timeline.handed import (
    MEDIA,
    Handed,
    HandedFile,
    HandedTake,
    read_handed,
    write_handed,
)
from storyflow.timeline.media import Media, TakeName, first_frame
from storyflow.timeline.shotlist import write_shot_list
from storyflow.timing import timecode

if TYPE_CHECKING:
    from numpy.typing import NDArray

HandoverFormat = Literal["prores", "dnxhr"]
"""ProRes 422 HQ or DNxHR HQ."""

STILLS = "stills"


@dataclass(frozen=True)
class Handover:
    """What lies in the folder now: files of takes, how many of them are new, timelines.

    `missing` are the shots of the film that are not rendered, `notes` say what a timeline's form
    has no words for.
    """

    folder: Path
    files: tuple[Path, ...]
    written: int
    timelines: tuple[Path, ...]
    shot_list: Path
    missing: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Footage:
    """A take whose segments are all there."""

    take: PlannedTake
    artifacts: tuple[Artifact, ...]


def hand_over(
    order: Order,
    folder: Path,
    *,
    format: HandoverFormat = "prores",
    notify: Callable[[str], None] = lambda _: None,
    check: Check = go_on,
) -> Handover:
    """Write or refresh a hand-over folder; renders nothing.

    Every rendered take is handed over, also those that a cut list doesn't show, whole. Raises
    InputError where nothing is rendered or the folder is another film's, CutError, StoreError.
    """
    plan = prepare(order).plan
    store = order.open_store()
    footage, artifacts = _rendered(order, plan, store)
    if not footage:
        raise InputError(f"nothing of {plan.title!r} is rendered", cure="render the film first")
    handed = _record(order, plan, folder)
    made = _Maker(order, plan, store, folder, format, check)
    current: dict[TakeName, HandedFile] = {}
    written = 0
    for name, each in footage.items():
        handed = handed.with_take(*name, each.take.generated)
        names = handed.named(*name)
        assert names is not None
        digest = made.digest(each)
        file = made.kept(handed, name, digest)
        if file is None:
            file = made.write(each, handed, names, digest)
            handed = handed.with_file(file)
            # At once: what is on disk is known when this is cut off.
            write_handed(folder, handed)
            written += 1
            notify(file.file)
        current[name] = file
    write_handed(folder, handed)
    media = {(m.shot, m.take): m for m in handed.media(current) if m.current}
    whole = whole_takes(plan, artifacts)
    shown = {name: media[name] for name in media if name in whole}
    missing = {e.shot: "not rendered yet" for e in plan.cut if (e.shot, e.take) not in whole}
    start = order.profile.deliver.timecode
    contents = contents_of(start, plan, shown, artifacts, missing, order.folder)
    contents = replace(contents, size=made.geometry.delivered)
    timelines = write_timelines(folder, "film", contents)
    made.stills(footage, shown)
    forms: tuple[Form, ...] = ("xml", "edl")
    return Handover(
        folder=folder,
        files=tuple(folder / MEDIA / file.file for file in current.values()),
        written=written,
        timelines=timelines,
        shot_list=write_shot_list(folder / "shots.csv", contents),
        missing=tuple(missing),
        notes=tuple(
            f"film.{form}: {line}" for form in forms for line in lines_left_out(contents, form)
        ),
    )


def _rendered(
    order: Order, plan: Plan, store: Store
) -> tuple[dict[TakeName, _Footage], Mapping[str, Artifact]]:
    """Every take that is whole in the store, in the storyboard's order, and the plan's artifacts.

    A cut list plans less of a take than its storyboard, or more: the longer one is handed over.
    """
    kind = order.kind
    artifacts = look_up(plan, kind, store)
    plans = [(plan, artifacts)]
    if order.cut is not None:
        whole = prepare(replace(order, cut=None)).plan
        plans.append((whole, look_up(whole, kind, store)))
    found: dict[TakeName, _Footage] = {}
    for each, stored in reversed(plans):
        complete = whole_takes(each, stored)
        for take in each.takes:
            name = (take.shot.id, take.take)
            if name not in complete:
                continue
            if name in found and found[name].take.generated >= take.generated:
                continue
            found[name] = _Footage(take, tuple(stored[s.recipe] for s in take.segments))
    return found, artifacts


def _record(order: Order, plan: Plan, folder: Path) -> Handed:
    file = order.film.origin.file
    storyboard = os.path.relpath(file, folder) if file else ""
    fps = str(plan.fps)
    handed = read_handed(folder)
    if handed is None:
        return Handed(plan.title, fps, storyboard, order.asked)
    if (handed.fps, handed.film) != (fps, plan.title):
        raise InputError(
            f"{folder} holds the film {handed.film!r} at {handed.fps} frames a second, this is "
            f"{plan.title!r} at {fps}",
            cure="name another folder with --to",
        )
    return replace(handed, storyboard=storyboard, asked=order.asked)


class _Maker:
    """Writes the files of takes."""

    def __init__(
        self,
        order: Order,
        plan: Plan,
        store: Store,
        folder: Path,
        format: HandoverFormat,
        check: Check,
    ) -> None:
        deliver = order.profile.deliver
        self.plan, self.store, self.folder, self.check = plan, store, folder, check
        wanted = deliver.model_copy(update={"formats": (format,)})
        self.coding: Coding = further_codings(wanted)[0]
        self.geometry: Geometry = geometry(plan.size, deliver)
        size = self.geometry.delivered
        if size.width < self.coding.least.width or size.height < self.coding.least.height:
            raise InputError(
                f"{format} holds no pictures of {size}, the least is {self.coding.least}",
                cure="use --format prores, or a larger deliver.size",
            )

    def digest(self, footage: _Footage) -> str:
        """What decides a file's content."""
        parts = [
            str(self.plan.fps),
            repr(self.coding),
            repr(self.geometry),
            str(first_frame(footage.take)),
            *(artifact.digest for artifact in footage.artifacts),
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def kept(self, handed: Handed, name: TakeName, digest: str) -> HandedFile | None:
        """The newest version with this content that is still there."""
        for file in reversed(handed.versions(*name)):
            path = self.folder / MEDIA / file.file
            if file.digest == digest and path.is_file() and path.stat().st_size == file.size:
                return file
        return None

    def write(
        self, footage: _Footage, handed: Handed, names: HandedTake, digest: str
    ) -> HandedFile:
        """Encode a new version of a take and check what was written. Raises CutError."""
        take, first = footage.take, first_frame(footage.take)
        version = 1 + max((f.version for f in handed.versions(names.shot, names.take)), default=0)
        path = self.folder / MEDIA / f"{names.name}_v{version:03}.mov"
        label = Label(
            title=path.stem,
            timecode=timecode(handed.start(names, first), self.plan.fps),
            reel=names.reel,
        )
        size, fps = self.geometry.delivered, self.plan.fps
        with written_aside(path) as target:
            with VideoFile(target, path, self.coding, size, fps, label) as file:
                for frame in self._frames(footage):
                    self.check()
                    file.write(self.geometry.apply(frame))
            check_film(target, take.generated, fps, size, codec=self.coding.shown_as)
            _check_label(target, label)
            bytes_written = target.stat().st_size
        return HandedFile(
            shot=names.shot,
            take=names.take,
            version=version,
            file=path.name,
            digest=digest,
            frames=take.generated,
            first=first,
            size=bytes_written,
        )

    def stills(self, footage: Mapping[TakeName, _Footage], media: Mapping[TakeName, Media]) -> None:
        """A PNG of the middle of each shot as the film shows it first."""
        from PIL import Image

        shots: dict[str, CutEntry] = {}
        for entry in self.plan.cut:
            shots.setdefault(entry.shot, entry)
        for entry in shots.values():
            name = (entry.shot, entry.take)
            if name not in media:
                continue
            planned = self.plan.take(*name)
            middle = (entry.start + entry.stop) // 2 + first_frame(planned) - media[name].first
            frame = self.geometry.apply(self._frame(footage[name], middle))
            path = self.folder / STILLS / f"{media[name].stem}.png"
            with written_aside(path) as target:
                Image.fromarray(frame).save(target, format="PNG")

    def _frames(self, footage: _Footage) -> Iterator[NDArray[np.uint8]]:
        for artifact in footage.artifacts:
            clip = self.store.path(artifact, FRAMES)
            yield from iter_clip(clip, 0, len(artifact.frames), artifact.frames)

    def _frame(self, footage: _Footage, place: int) -> NDArray[np.uint8]:
        for artifact in footage.artifacts:
            if place < len(artifact.frames):
                clip = self.store.path(artifact, FRAMES)
                return next(iter_clip(clip, place, place + 1, artifact.frames[place : place + 1]))
            place -= len(artifact.frames)
        raise CutError("a still lies outside its take", cure="hand the film over again")


def _check_label(path: Path, label: Label) -> None:
    """The timecode and the reel as a program reads them. Raises CutError."""
    import av

    with av.open(str(path)) as container:
        found = [dict(stream.metadata) for stream in container.streams]
    timecodes = {each["timecode"] for each in found if "timecode" in each}
    reels = {each["reel_name"] for each in found if "reel_name" in each}
    if timecodes != {label.timecode} or reels != {label.reel}:
        raise CutError(
            f"{path} reads back with timecode {timecodes} and reel {reels} instead of "
            f"{label.timecode} and {label.reel}",
            cure="hand over again; if it happens again, report it",
        )
