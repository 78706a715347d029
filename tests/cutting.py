"""Small films for the tests of the cut: plans whose segments are drawn instead of rendered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storyflow.planning.nodes import CutEntry, Plan, PlannedTake, Segment, SegmentInputs
from storyflow.renderer import SegmentSpec
from storyflow.store.artifacts import FRAMES, Artifact
from storyflow.store.clip import ClipWriter
from storyflow.store.hashing import digest_of, frame_hashes
from storyflow.store.store import Store
from storyflow.storyboard.resolved import ResolvedBeat, ResolvedShot
from storyflow.timing import Size

SIZE = Size(48, 32)


@dataclass(frozen=True)
class Sketch:
    """A shot: new frames of each segment, and the frames of the take that the cut shows."""

    id: str
    segments: tuple[int, ...] = (9, 8)
    cut: tuple[int, int] = (0, 14)
    takes: int = 1
    take: int = 1


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def drawn(frames: int, seed: int, size: Size = SIZE) -> NDArray[np.uint8]:
    """A moving pattern with grain, uint8 [n, height, width, 3]: no two frames or seeds alike."""
    y, x, n = np.mgrid[0 : size.height, 0 : size.width, 0:frames]
    waves = [
        np.sin((x + 3 * n + 7 * seed) / 9), np.cos((y + n) / 7), np.sin((x + y - 2 * n) / 11 + seed)
    ]  # fmt: skip
    grain = np.random.default_rng(seed).normal(0, 5, (3, *x.shape))
    picture = 128 + 90 * np.stack(waves) + grain
    return picture.clip(0, 255).astype(np.uint8).transpose(3, 1, 2, 0)


def plan_of(sketches: Iterable[Sketch], fps: Fraction = Fraction(24), size: Size = SIZE) -> Plan:
    """The plan of a film of these shots."""
    takes, cut = [], []
    for sketch in sketches:
        beat = ResolvedBeat(frames=sketch.cut[1] - sketch.cut[0], do="a swan")
        shot = ResolvedShot(
            id=sketch.id, fingerprint="", scene=0, mode="text", beats=(beat,), takes=sketch.takes
        )
        for take in range(1, sketch.takes + 1):
            takes.append(_take(shot, take, sketch, size))
        cut.append(CutEntry(sketch.id, sketch.take, *sketch.cut))
    return Plan(
        title="Test film",
        pipeline="drawn",
        fps=fps,
        size=size,
        takes=tuple(takes),
        cut=tuple(cut),
        keeps_latents=False,
        embeds_prompts=False,
        history="pixels",
    )


def _take(shot: ResolvedShot, take: int, sketch: Sketch, size: Size) -> PlannedTake:
    segments, start = [], 0
    for index, new in enumerate(sketch.segments):
        overlap = 5 if start else 0
        spec = SegmentSpec(
            size.width, size.height, new + overlap, overlap, seed=take * 100 + index + 1
        )
        inputs = SegmentInputs("drawn", (), f"a swan, {shot.id}", "text", spec)
        recipe = digest(f"{shot.id} {take} {index}")
        segments.append(Segment(recipe, shot.id, take, index, 0, start, inputs))
        start += new
    length = sketch.cut[1] - sketch.cut[0]
    return PlannedTake(shot, take, take * 100, tuple(segments), sketch.cut[0], length)


def render(
    store: Store, plan: Plan, scratch: Path, without: frozenset[str] = frozenset()
) -> dict[str, Artifact]:
    """Draw and commit every segment except those of the shots in `without`."""
    scratch.mkdir(exist_ok=True)
    done = {}
    for segment in plan.segments:
        if segment.shot in without:
            continue
        frames = drawn(segment.inputs.spec.new, int(segment.recipe[:6], 16) % 1000, plan.size)
        clip = scratch / f"{segment.recipe}.mov"
        with ClipWriter(clip, plan.size.width, plan.size.height, Fraction(24)) as writer:
            writer.write(frames)
        hashes = frame_hashes(frames)
        done[segment.recipe] = store.commit(
            key=digest(f"key {segment.recipe}"),
            recipe=segment.recipe,
            kind="segment",
            digest=digest_of(hashes),
            inputs="{}",
            files={FRAMES: clip},
            frames=hashes,
            numerics="drawn",
            seconds=0.5,
            worker="worker-1",
        )
    return done
