"""How well defects are found: detection and false-alarm rates, and what colour match does to drift.

    python tests/bench/bench_qc.py --films FOLDER [--places 24]

FOLDER holds toybox shots that `qc_films.py` made; shots 0 and 1 were looked at to set the limits,
shots 2 and 3 are measured here. Beside them stand clips that the toy world draws: real motion
without a model's noise, drawn from other seeds than those that were looked at. Each defect is put
at `--places` frames of each kind, away from seams.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from qc_defects import Clip, defects
from qc_films import Shot, read

from storyflow.cutting.colourmatch import ColourMatch, Correction, Stretch
from storyflow.qc.judge import Joint, Subject, judge, judge_seam
from storyflow.qc.limits import Limits, load_limits
from storyflow.qc.measure import measure
from storyflow.qc.seams import drift
from storyflow.qc.series import Series
from storyflow.toybox import scenes, world

CALIBRATION, TEST = (0, 1), (2, 3)
"""Toybox shots for the limits, and for these rates."""

WORLD_SEEDS = range(8_300_000, 8_300_006)
"""The limits were set in view of 8,200,000 and following."""

AROUND = 16
"""Frames on either side of a defect that are measured."""


@dataclass(frozen=True)
class Clean:
    """A clip and the frames that are seams already."""

    name: str
    frames: Clip
    seams: tuple[int, ...] = ()

    def places(self, count: int, random: np.random.Generator) -> list[int]:
        """Frames away from ends and seams."""
        near = {q + apart for q in self.seams for apart in range(-AROUND - 2, AROUND + 20)}
        free = [t for t in range(AROUND + 1, len(self.frames) - AROUND - 20) if t not in near]
        return sorted(int(t) for t in random.choice(free, min(count, len(free)), replace=False))


@dataclass
class Rate:
    """How often a defect was found: as a seam's step, and as a fault inside a shot."""

    asked: int = 0
    at_seam: int = 0
    failed: int = 0
    inside: int = 0


def found_at(series: Series, at: int, limits: Limits) -> tuple[bool, bool, bool]:
    """Whether a seam at this frame warns, fails, and whether the shot's own faults name it."""
    whole = ((0, series.frames),)
    joint = Joint(at, "segment", "1A/2")
    subject = Subject("1A", 1, "", whole, (joint,), Fraction(24))
    seam, _ = judge_seam(subject, series, joint, at, limits)
    alone = judge(replace(subject, joints=()), series, limits)
    local = ("cut", "jump", "flash", "repeats", "freeze")
    inside = any(
        v.measure in local and v.frame is not None and abs(v.frame - at) <= 1
        for v in alone.verdicts
    )
    return seam.level != "pass", seam.level == "fail", inside


def rates(clips: list[Clean], places: int, limits: Limits) -> dict[str, Rate]:
    """Rates by defect; `none` is the false alarms."""
    random = np.random.default_rng(1)
    found: dict[str, Rate] = {}
    each = max(1, places // len(clips))
    for number, clip in enumerate(clips):
        other = clips[number - 1].frames
        for at in clip.places(each, random):
            around = clip.frames[at - AROUND : at + AROUND + 18]
            put = {"none": lambda c, _: c, **defects(other)}
            for name, defect in put.items():
                series = measure(defect(around, AROUND)[: 2 * AROUND + 1])
                seam, failed, inside = found_at(series, AROUND, limits)
                rate = found.setdefault(name, Rate())
                rate.asked += 1
                rate.at_seam += seam
                rate.failed += failed
                rate.inside += inside
    return found


def power(clips: list[Clean], limits: Limits) -> Iterator[tuple[str, float, float]]:
    """Of steps at every 40th frame: detection on toybox shots, each with several sets of places."""
    measured = [(clip, measure(clip.frames)) for clip in clips]
    steps = [("none", 0.0, 0.0)]
    steps += [(f"{x:+g} L*", x, 0.0) for x in (0.1, 0.25, 0.5, 1.0)]
    steps += [(f"{x:+g} % chroma", 0.0, x) for x in (0.5, 1.0, 2.0, 5.0)]
    for name, light, chroma in steps:
        hits = asked = 0
        warned = 0
        for clip, series in measured:
            for first in range(20, 36, 2):
                seams = [
                    t
                    for t in range(first, series.frames - 14, 40)
                    if all(abs(t - q) > 14 for q in clip.seams)
                ]
                after = np.searchsorted(seams, np.arange(series.frames), side="right")
                made = replace(
                    series,
                    luma=(series.luma + light * after).astype(np.float32),
                    chroma=(series.chroma * (1 + chroma / 100) ** after).astype(np.float32),
                )
                seen = drift(made, seams)
                asked += 1
                chance = min(seen.light_chance, seen.saturation_chance)
                hits += chance < 0.01
                big = (
                    limits.light_drift.level(abs(seen.light)) != "pass" and seen.light_chance < 0.01
                ) or (
                    limits.saturation_drift.level(abs(seen.saturation)) != "pass"
                    and seen.saturation_chance < 0.01
                )
                warned += big
        yield name, hits / asked, warned / asked


def matched(shot: Shot, mode: str) -> ColourMatch:
    """What the cut would do to the shot's colours."""
    fades = mode == "seams"
    stretches = [Stretch(0, shot.seams[0], Correction(), fades)]
    for seam, after, back in zip(
        shot.seams, (*shot.seams[1:], len(shot.frames)), shot.regained, strict=True
    ):
        own = Correction(back.gain, back.offset) if mode != "none" else Correction()
        begin = stretches[-1].at(seam).after(own)
        stretches.append(Stretch(seam, after, begin, fades))
    return ColourMatch(tuple(stretches))


def drifting(shot: Shot) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Per mode: light and saturation per segment, the median seam's colour step, and how far the
    last second's mean colour is from the first's."""
    from storyflow.qc.seams import read_seam

    for mode in ("none", "seams", "first"):
        match = matched(shot, mode)
        series = measure(match.apply(index, frame) for index, frame in enumerate(shot.frames))
        seen = drift(series, shot.seams)
        steps = [read_seam(series, seam, "segment", "").colour for seam in shot.seams]
        lab = np.stack([series.luma, series.a, series.b])
        away = float(np.linalg.norm(lab[:, -24:].mean(axis=1) - lab[:, :24].mean(axis=1)))
        yield mode, np.array([seen.light, seen.saturation, np.median(steps), away])


def natural(clips: list[Clean]) -> Iterator[str]:
    """False alarms of whole clips: verdicts of each measure over all clips."""
    limits = load_limits()
    told: dict[str, int] = {}
    frames = 0
    for clip in clips:
        series = measure(clip.frames)
        frames += series.frames
        subject = Subject("1A", 1, "", ((0, series.frames),), (), Fraction(24))
        joints = tuple(Joint(q, "segment", "") for q in clip.seams)
        for verdict in judge(replace(subject, joints=joints), series, limits).verdicts:
            if verdict.frame not in clip.seams and "drift" not in verdict.measure:
                told[verdict.measure] = told.get(verdict.measure, 0) + 1
    yield f"{len(clips)} clips, {frames} frames without a defect: {told or 'nothing told'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=Path, required=True)
    parser.add_argument("--places", type=int, default=24, help="0 leaves single defects out")
    given = parser.parse_args()
    limits = load_limits()
    shots = [shot for number in TEST if (shot := read(given.films, number)) is not None]
    films = [Clean(f"toybox {s.number}", s.frames, s.seams) for s in shots]
    worlds = [Clean(f"world {seed}", world.draw(scenes.sample(seed), 145)) for seed in WORLD_SEEDS]
    print(f"{platform.machine()}, {platform.python_version()}", flush=True)
    for name, clips in (("drawn clips", worlds), ("toybox shots", films)):
        print(*natural(clips), flush=True)
        if given.places:
            print(f"| {name} | warned as a seam | failed as a seam | told inside a shot | places |")
            for defect, rate in rates(clips, given.places, limits).items():
                parts = [n / rate.asked for n in (rate.at_seam, rate.failed, rate.inside)]
                print(f"| {defect} |", *(f"{p:.2f} |" for p in parts), rate.asked, "|", flush=True)
        print("| step at every 40th frame | chance < 1 % | warned |")
        for step, hits, warned in power(clips, limits):
            print(f"| {step} | {hits:.2f} | {warned:.2f} |", flush=True)
    for number in (*CALIBRATION, *TEST):
        shot = read(given.films, number)
        if shot is not None and shot.seams:
            for mode, values in drifting(shot):
                print(f"| {number} | {mode} |", *(f"{v:+.2f} |" for v in values), flush=True)


if __name__ == "__main__":
    main()
