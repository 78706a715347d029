"""Reads every rendered shot back and compares it with what the storyboard asked for.

It warns. What is shown of each beat is read where it lies in the store, as a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from storyflow.cutting.aside import written_aside
from storyflow.errors import InputError
from storyflow.farm.lookup import look_up
from storyflow.film import Order, Production
from storyflow.media.spread import spread_of
from storyflow.planning.nodes import CutEntry, PlannedTake
from storyflow.prompts.asking import Manner, Trouble
from storyflow.prompts.caption import ShotCaption
from storyflow.prompts.describe import describe
from storyflow.prompts.instructions import instructions
from storyflow.qc.fields import Check, Verdict, compare, verdict
from storyflow.store.artifacts import FRAMES, Artifact
from storyflow.store.clip import iter_clip
from storyflow.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FILE = "qc-captions.json"
"""Written beside the film."""

CLIPS_AT_ONCE = 24
"""Clips held in memory, and asked in one batch."""

MOST_FRAMES = 240
"""Of a stretch that is measured, the first so many are looked at: ten seconds."""


@dataclass(frozen=True)
class BeatReport:
    """One beat of a take that the film shows: frames [start, stop) of the take.

    `trouble` says why it could not be read; it has no checks then.
    """

    shot: str
    take: int
    beat: int
    start: int
    stop: int
    checks: tuple[Check, ...]
    verdict: Verdict | Literal["not read"]
    trouble: str = ""


@dataclass(frozen=True)
class CaptionReport:
    """A whole film, as `reader` saw it."""

    title: str
    pipeline: str
    reader: str
    beats: tuple[BeatReport, ...]
    file: Path | None = None

    def as_data(self) -> dict[str, object]:
        """For JSON."""
        beats = [asdict(each) for each in self.beats]
        head = {"title": self.title, "pipeline": self.pipeline, "reader": self.reader}
        return {"storyflow": 1, **head, "beats": beats}


@dataclass(frozen=True)
class _Stretch:
    """What the film shows of one beat: for each segment its artifact and the frames to read."""

    take: PlannedTake
    beat: int
    start: int
    stop: int
    parts: tuple[tuple[Artifact | None, int, int], ...]

    @property
    def asked(self) -> ShotCaption:
        shot = self.take.shot
        return describe(shot, shot.beats[self.beat])

    @property
    def frames(self) -> int:
        return self.stop - self.start

    def read(self, store: Store) -> Iterator[NDArray[np.uint8]]:
        for artifact, first, last in self.parts:
            if artifact is not None:
                hashes = artifact.frames[first:last]
                yield from iter_clip(store.path(artifact, FRAMES), first, last, hashes)

    def report(self, checks: Sequence[Check], trouble: str = "") -> BeatReport:
        judged = "not read" if trouble else verdict(checks)
        shot, take = self.take.shot.id, self.take.take
        return BeatReport(
            shot, take, self.beat, self.start, self.stop, tuple(checks), judged, trouble
        )


def check_captions(
    what: Order, made: Production, notify: Callable[[str], None] = lambda _: None
) -> CaptionReport:
    """Read every shown beat of a film that the store has, write the report beside the film.

    The toybox is measured; other films are read by the captioner of the profile. Raises InputError:
    nobody to read them; StoreError, DamagedError, ModelError, EngineDied.
    """
    plan, kind = made.plan, made.kind
    store = what.open_store()
    found = look_up(plan, kind, store)
    stretches = [
        each
        for entry in plan.cut
        if what.shots is None or entry.shot in what.shots
        for each in _stretches(plan.take(entry.shot, entry.take), entry, found)
    ]
    if what.profile.model.id == "toybox":
        reader = "measured"
        beats = [_measured(each, store) for each in stretches]
    else:
        settings = what.profile.prompts
        if settings.captioner == "none":
            raise InputError(
                f"the pipeline {what.pipeline} has no captioner that could read its shots",
                cure="set prompts.captioner to vllm or to a server's address",
            )
        reader = settings.vision.model
        beats = list(_captioned(what, stretches, store, notify))
    report = CaptionReport(plan.title, what.pipeline, reader, tuple(beats), what.folder / FILE)
    return _written(report, what.folder / FILE)


def _stretches(
    take: PlannedTake, entry: CutEntry, found: Mapping[str, Artifact]
) -> Iterator[_Stretch]:
    for beat in range(len(take.shot.beats)):
        parts: list[tuple[Artifact | None, int, int]] = []
        places = []
        for segment in take.segments:
            start, stop = max(segment.start, entry.start), min(segment.stop, entry.stop)
            if segment.beat == beat and start < stop:
                artifact = found.get(segment.recipe)
                parts.append((artifact, start - segment.start, stop - segment.start))
                places += [start, stop]
        if places:
            yield _Stretch(take, beat, min(places), max(places), tuple(parts))


def _missing(stretch: _Stretch) -> str:
    lacking = any(artifact is None for artifact, _, _ in stretch.parts)
    return "it is not rendered yet" if lacking else ""


def _measured(stretch: _Stretch, store: Store) -> BeatReport:
    from storyflow.qc import toyworld

    if trouble := _missing(stretch):
        return stretch.report((), trouble)
    frames = np.stack(list(islice(stretch.read(store), MOST_FRAMES)))
    if len(frames) < toyworld.FEWEST_FRAMES:
        return stretch.report((), f"its {len(frames)} frames are too few to see a motion")
    return stretch.report(toyworld.check(stretch.asked, frames))


def _captioned(
    what: Order, stretches: Sequence[_Stretch], store: Store, notify: Callable[[str], None]
) -> Iterator[BeatReport]:
    from storyflow.farm.language import ProfileWriters
    from storyflow.prompts.captioner import SIGHT, caption_clips, seen

    settings = what.profile.prompts
    own = settings.instructions.captioner
    vision = settings.vision
    manner = Manner(
        instructions("captioner", Path(own) if own else None),
        max_tokens=vision.max_tokens,
        temperature=vision.temperature,
        seed=vision.seed,
    )
    fps = what.profile.fps
    if all(_missing(each) for each in stretches):
        yield from (each.report((), _missing(each)) for each in stretches)
        return
    with ProfileWriters(settings, what.cluster, notify).vision() as model:
        for first in range(0, len(stretches), CLIPS_AT_ONCE):
            batch = stretches[first : first + CLIPS_AT_ONCE]
            there = [each for each in batch if not _missing(each)]
            clips = [seen(spread_of(each.read(store), each.frames, fps, SIGHT)) for each in there]
            said = iter(caption_clips(clips, model, manner))
            for each in batch:
                if trouble := _missing(each):
                    yield each.report((), trouble)
                    continue
                answer = next(said)
                if isinstance(answer, Trouble):
                    yield each.report((), answer.cause)
                else:
                    yield each.report(compare(each.asked, answer))


def _written(report: CaptionReport, path: Path) -> CaptionReport:
    import json

    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as target:
        text = json.dumps(report.as_data(), indent=1, ensure_ascii=False)
        target.write_text(text + "\n", "utf-8")
    return report
