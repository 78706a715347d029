"""From series to verdicts: one take, or the joint of two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from storyflow.qc.faults import black as black_stretches
from storyflow.qc.faults import cut_ratios, frozen, repeated, trend
from storyflow.qc.limits import Limit, Limits
from storyflow.qc.seams import FEWEST, colour_jumps, drift, ratios, read_seam, rhythm
from storyflow.qc.series import Series
from storyflow.qc.verdicts import Drift, Level, Seam, SeamKind, TakeQuality, Verdict, worst

CHANCE = 0.01
"""A systematic step that chance gives more often than this is no drift."""

NEAR = 1
"""A cut so many frames from a seam is that seam's."""


_UNEXPLAINED = "{:.1f} times what motion can't explain"
_COLOUR = "colour jumps by dE {:.2f}"


@dataclass(frozen=True)
class Joint:
    """Where a segment begins in a take, inside of it."""

    frame: int
    kind: SeamKind
    segment: str


@dataclass(frozen=True)
class Subject:
    """A take to be judged: `shown` are the stretches [start, stop) that the film shows of it, all
    of it for a take that is not in the film."""

    shot: str
    take: int
    tag: str
    shown: tuple[tuple[int, int], ...]
    joints: tuple[Joint, ...]
    fps: Fraction

    @property
    def name(self) -> str:
        """`1A`, or `1A take 2`."""
        return self.shot if self.take == 1 else f"{self.shot} take {self.take}"


def judge(subject: Subject, series: Series, limits: Limits) -> TakeQuality:
    """All that is found in one take."""
    seams, verdicts = [], []
    for joint in subject.joints:
        seam, told = judge_seam(subject, series, joint, joint.frame, limits)
        shown = any(first < joint.frame < last for first, last in subject.shown)
        seams.append(seam if shown else replace(seam, level="pass", shown=False))
        verdicts += told if shown else []
    found = None
    if len(subject.joints) >= FEWEST:
        found = drift(series, [joint.frame for joint in subject.joints])
        verdicts += _drifting(subject, found, limits)
    for first, last in subject.shown:
        verdicts += _inside(subject, series, first, last, limits)
        verdicts += _jumps(subject, series, first, last, limits)
        verdicts += _trends(subject, series.cut(first, last), limits)
    pulse = rhythm(series, [joint.frame for joint in subject.joints])
    if pulse is not None and (level := limits.rhythm.level(pulse)) != "pass":
        text = f"brightness pulses every four frames: {pulse:.1f} times as much in one of them"
        verdicts.append(_verdict(subject, "rhythm", limits.rhythm, level, pulse, text))
    verdicts.sort(key=lambda v: -1 if v.frame is None else v.frame)
    return TakeQuality(
        shot=subject.shot,
        take=subject.take,
        tag=subject.tag,
        frames=series.frames,
        level=worst(verdict.level for verdict in verdicts),
        seams=tuple(seams),
        drift=found,
        rhythm=pulse,
        verdicts=tuple(verdicts),
    )


def judge_seam(
    subject: Subject, series: Series, joint: Joint, at: int, limits: Limits
) -> tuple[Seam, list[Verdict]]:
    """One seam, read at frame `at` of a series; it is told at the joint's own frame."""
    read = replace(read_seam(series, at, joint.kind, joint.segment), frame=joint.frame)
    factor = max(read.sharpness, 1 / max(read.sharpness, 1e-6))
    less = "more" if read.sharpness > 1 else "less"
    told = [
        ("seam_ratio", limits.seam_ratio, read.ratio, "{:.1f} times the motion around it"),
        ("warp_ratio", limits.warp_ratio, read.warp, _UNEXPLAINED),
        ("colour_step", limits.colour_step, read.colour, _COLOUR),
        ("sharpness_step", limits.sharpness_step, factor, f"{{:.2f}} times {less} detail after it"),
    ]
    verdicts = []
    for measure, limit, value, words in told:
        if (level := limit.level(value)) != "pass":
            text = f"seam at {joint.segment}: {words.format(value)}"
            verdicts.append(_verdict(subject, measure, limit, level, value, text, joint.frame))
    return replace(read, level=worst(verdict.level for verdict in verdicts)), verdicts


def judge_cut(series: Series, at: int, limits: Limits) -> bool:
    """Whether a cut is seen at frame `at` of a series, or one frame beside it."""
    found = cut_ratios(series)[max(1, at - NEAR) : at + NEAR + 1]
    return any(limits.cut_ratio.level(float(value)) != "pass" for value in found)


def _drifting(subject: Subject, found: Drift, limits: Limits) -> Iterator[Verdict]:
    for measure, limit, value, chance, words in (
        ("light_drift", limits.light_drift, found.light, found.light_chance, "{:+.2f} L*"),
        (
            "saturation_drift",
            limits.saturation_drift,
            found.saturation,
            found.saturation_chance,
            "{:+.1f} % saturation",
        ),
    ):
        level = limit.level(abs(value))
        if level != "pass" and chance < CHANCE:
            text = f"{words.format(value)} at each of {found.seams} seams, as a rule"
            yield _verdict(subject, measure, limit, level, value, text)


def _inside(
    subject: Subject, series: Series, first: int, last: int, limits: Limits
) -> Iterator[Verdict]:
    """Stretches that stand still, are black or repeat themselves, among frames [first, last)."""
    rate = float(subject.fps)
    for stretch in repeated(series):
        level = limits.repeats.level(stretch.frames)
        if level != "pass" and first < stretch.stop and stretch.start < last:
            text = _times(stretch.frames, "the frame before is repeated")
            yield _verdict(
                subject, "repeats", limits.repeats, level, stretch.frames, text,
                stretch.start, stretch.stop,
            )  # fmt: skip
    for measure, limit, stretches, words in (
        ("freeze", limits.freeze, frozen(series), "nothing moves for {:.1f} s"),
        ("black", limits.black, black_stretches(series), "black for {:.1f} s"),
    ):
        for stretch in stretches:
            start, stop = max(first, stretch.start), min(last, stretch.stop)
            seconds = (stop - start) / rate
            if stop > start and (level := limit.level(seconds)) != "pass":
                text = words.format(seconds)
                yield _verdict(subject, measure, limit, level, seconds, text, start, stop)


def _jumps(
    subject: Subject, series: Series, first: int, last: int, limits: Limits
) -> Iterator[Verdict]:
    """Cuts, jumps and flashes among frames [first, last), where no plan put them."""
    joints = {joint.frame + apart for joint in subject.joints for apart in range(-NEAR, NEAR + 1)}
    cuts, moved, coloured = cut_ratios(series), ratios(series.warp), colour_jumps(series)
    seen = -NEAR - 1
    for frame in range(first + 1, last):
        told: list[tuple[str, Limit, float, str]] = [
            ("cut", limits.cut_ratio, float(cuts[frame]), "a cut inside the shot"),
        ]
        if frame not in joints:
            told += [
                (
                    "jump",
                    limits.jump,
                    float(moved[frame]),
                    "{:.1f} times what motion can't explain",
                ),
                ("flash", limits.flash, float(coloured[frame]), _COLOUR),
            ]
        for measure, limit, value, words in told:
            level = limit.level(value)
            # A jump and back again, or a cut and the jump that it is, are told once.
            if level != "pass" and frame > seen + NEAR:
                seen = frame
                near = next((j for j in subject.joints if abs(j.frame - frame) <= NEAR), None)
                where = (
                    f": the segment {near.segment} doesn't continue the one before" if near else ""
                )
                text = words.format(value) + where
                yield _verdict(subject, measure, limit, level, value, text, frame)


def _trends(subject: Subject, shown: Series, limits: Limits) -> Iterator[Verdict]:
    grown = trend(shown.chroma)
    if grown is not None and (level := limits.chroma_trend.level(grown - 1)) != "pass":
        text = f"colour grows all the time, by {100 * (grown - 1):.0f} % in the end"
        yield _verdict(subject, "chroma_trend", limits.chroma_trend, level, grown - 1, text)
    left = trend(shown.sharpness)
    if left is not None and (level := limits.detail_trend.level(left, below=True)) != "pass":
        text = f"detail falls all the time, to {100 * left:.0f} % in the end"
        yield _verdict(subject, "detail_trend", limits.detail_trend, level, left, text)


def _verdict(
    subject: Subject,
    measure: str,
    limit: Limit,
    level: Level,
    value: float,
    text: str,
    frame: int | None = None,
    stop: int | None = None,
) -> Verdict:
    return Verdict(
        measure=measure,
        level=level,
        value=float(value),
        limit=limit.passed(level),
        text=text,
        shot=subject.shot,
        take=subject.take,
        frame=frame,
        stop=stop,
    )


def _times(count: int, text: str) -> str:
    return text if count == 1 else f"{text}, {count} times"
