"""The quality of a whole film, from its folder: `film.json`, the masters in `shots/`, the film."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from storyflow.cutting.cut import master_of
from storyflow.cutting.manifest import Manifest, ManifestFilm, ManifestShot, read_manifest
from storyflow.errors import InputError
from storyflow.qc.delivered import compare, film_sha256
from storyflow.qc.faults import LEAST_CHANGE
from storyflow.qc.filed import (
    FILE,
    joint_path,
    read_quality,
    read_series,
    series_path,
    write_quality,
    write_series,
)
from storyflow.qc.judge import Joint, Subject, judge, judge_cut, judge_seam
from storyflow.qc.limits import Limits
from storyflow.qc.measure import measure, measured, reading
from storyflow.qc.seams import AROUND
from storyflow.qc.series import Series
from storyflow.qc.verdicts import Delivery, Quality, SeamKind, TakeQuality, Verdict, worst
from storyflow.stopping import Check, go_on

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Progress = Callable[[int, int], None]
"""Takes measured so far, and all of them."""


def check_film(
    folder: Path,
    limits: Limits,
    *,
    vmaf: bool = False,
    check: Check = go_on,
    progress: Progress = lambda done, total: None,
) -> Quality:
    """Measure every take of a film, judge it, and write `qc.json` into its folder.

    What was measured before of the same content is read, not measured again. Raises InputError: no
    film, a master that is missing or damaged; CutError when the disk refuses.
    """
    manifest = read_manifest(folder / "film.json")
    shots = [*manifest.shots, *manifest.others]
    there = [shot for shot in shots if shot.missing is None]
    every = {(shot.id, shot.take): shot for shot in there}
    takes, kept = [], set()
    progress(0, len(every))
    for shot in every.values():
        takes.append(_take(folder, manifest, shot, limits, check))
        kept.add(series_path(folder, master_of(folder, shot.id, shot.take)))
        progress(len(takes), len(every))
    joined = _Joins(folder, {(take.shot, take.take): take for take in takes}, check)
    verdicts = list(_missing(manifest))
    verdicts += _cuts(manifest, joined, limits)
    takes = [_continued(take, manifest, joined, limits) for take in takes]
    delivery, film = None, manifest.film
    if film is not None and film.geometry is not None:
        delivery = _kept_delivery(folder, film, vmaf) or compare(
            folder, manifest, film, film.geometry, vmaf=vmaf, check=check
        )
        verdicts += _delivered(delivery, limits) if delivery is not None else ()
    quality = Quality(
        title=manifest.title,
        pipeline=manifest.pipeline,
        limits=limits.about,
        level=worst([*(v.level for v in verdicts), *(take.level for take in takes)]),
        takes=tuple(takes),
        verdicts=tuple(verdicts),
        delivery=delivery,
    )
    write_quality(folder / FILE, quality)
    _sweep(folder, kept | joined.used)
    return quality


def _take(
    folder: Path, manifest: Manifest, shot: ManifestShot, limits: Limits, check: Check
) -> TakeQuality:
    master = master_of(folder, shot.id, shot.take)
    tag, series = measured(master, folder, shot.frames, check)
    return judge(_subject(manifest, shot, tag), series, limits)


def _subject(manifest: Manifest, shot: ManifestShot, tag: str) -> Subject:
    shown = [each.cut for each in manifest.shots if (each.id, each.take) == (shot.id, shot.take)]
    joints = [
        Joint(after.start, "segment" if after.beat == before.beat else "beat", after.name)
        for before, after in pairwise(shot.segments)
    ]
    return Subject(
        shot=shot.id,
        take=shot.take,
        tag=tag,
        shown=tuple(cut for cut in shown if cut is not None) or ((0, shot.frames),),
        joints=tuple(joints),
        fps=Fraction(manifest.fps),
    )


class _Joins:
    """Measures where two takes meet: the last frames of one and the first of the other."""

    def __init__(
        self, folder: Path, takes: dict[tuple[str, int], TakeQuality], check: Check
    ) -> None:
        self._folder, self._takes, self._check = folder, takes, check
        self.used: set[Path] = set()

    def of(self, before: ManifestShot, after: ManifestShot) -> tuple[Series, int]:
        """The series around the joint, and the place of `after`'s first frame in it."""
        assert before.cut is not None and after.cut is not None
        first = max(before.cut[0], before.cut[1] - AROUND - 1)
        last = min(after.cut[1], after.cut[0] + AROUND + 1)
        ranges = ((before, first, before.cut[1]), (after, after.cut[0], last))
        tag = "\n".join(
            f"{self._takes[shot.id, shot.take].tag} {start} {stop}" for shot, start, stop in ranges
        )
        name = hashlib.sha256(tag.encode()).hexdigest()[:24]
        path = joint_path(self._folder, name)
        self.used.add(path)
        series = read_series(path, tag)
        if series is None:
            series = measure(chain.from_iterable(self._read(*each) for each in ranges), self._check)
            write_series(path, series, tag)
        return series, before.cut[1] - first

    def _read(self, shot: ManifestShot, start: int, stop: int) -> Iterator[NDArray[np.uint8]]:
        with reading(master_of(self._folder, shot.id, shot.take), start, stop) as frames:
            yield from frames


def _neighbours(manifest: Manifest) -> Iterator[tuple[ManifestShot, ManifestShot]]:
    """Shots that a plain cut joins, both of them there."""
    for before, after in pairwise(manifest.shots):
        whole = before.missing is None and after.missing is None
        if whole and before.out is None and after.into is None:
            yield before, after


def _goes_on(before: ManifestShot, after: ManifestShot) -> bool:
    """Whether the film shows `after` going on from the very frame that `before` ends with."""
    source = after.continues
    assert before.cut is not None and after.cut is not None
    if (before.id, before.take) == (after.id, after.take):
        return before.cut[1] == after.cut[0]
    return (
        source is not None
        and (source.shot, source.take, source.frame) == (before.id, before.take, before.cut[1])
        and after.cut[0] == 0
    )


def _cuts(manifest: Manifest, joined: _Joins, limits: Limits) -> Iterator[Verdict]:
    if limits.cut_ratio.warn is None and limits.cut_ratio.fail is None:
        return
    for before, after in _neighbours(manifest):
        if _goes_on(before, after):
            continue
        series, at = joined.of(before, after)
        if not judge_cut(series, at, limits):
            place = after.film[0] if after.film is not None else None
            text = f"the cut from {before.id} to {after.id} is not seen: they look alike"
            change = float(series.change[at])
            yield Verdict("cut_unseen", "warn", change, LEAST_CHANGE, text, frame=place)


def _continued(
    take: TakeQuality, manifest: Manifest, joined: _Joins, limits: Limits
) -> TakeQuality:
    """A take with the seam at which it continues the shot before it in the film."""
    for before, after in _neighbours(manifest):
        if (after.id, after.take) != (take.shot, take.take) or before.id == after.id:
            continue
        if not _goes_on(before, after):
            continue
        series, at = joined.of(before, after)
        kind: SeamKind = "continuation"
        joint = Joint(0, kind, after.segments[0].name)
        seam, told = judge_seam(_subject(manifest, after, take.tag), series, joint, at, limits)
        verdicts = (*told, *take.verdicts)
        return replace(
            take,
            level=worst(verdict.level for verdict in verdicts),
            seams=(seam, *take.seams),
            verdicts=verdicts,
        )
    return take


def _missing(manifest: Manifest) -> Iterator[Verdict]:
    for shot in manifest.shots:
        if shot.missing is not None:
            place = None if shot.film is None else shot.film[0]
            text = f"shot {shot.id} is missing: {shot.missing}"
            yield Verdict("missing", "fail", 1.0, 0.0, text, shot.id, shot.take, place)


def _kept_delivery(folder: Path, film: ManifestFilm, vmaf: bool) -> Delivery | None:
    """What was found before in the very same file. Raises InputError, as `film_sha256`."""
    sha256 = film_sha256(folder, film)
    with suppress(InputError):
        found = read_quality(folder / FILE).delivery
        if found is not None and found.sha256 == sha256 and (not vmaf or found.vmaf is not None):
            return found
    return None


def _delivered(found: Delivery, limits: Limits) -> Iterator[Verdict]:
    for measure_name, limit, value in (
        ("ssim", limits.ssim, found.ssim),
        ("vmaf", limits.vmaf, found.vmaf),
    ):
        if value is None:
            continue
        level = limit.level(value, below=True)
        if level != "pass":
            text = f"{found.file} differs from its masters: {measure_name.upper()} {value:.3f}"
            yield Verdict(measure_name, level, value, limit.passed(level), text)


def _sweep(folder: Path, used: set[Path]) -> None:
    """Series of what is no longer in the film go."""
    for path in (folder / "qc").glob("*.safetensors"):
        if path not in used:
            path.unlink(missing_ok=True)
