"""Where a segment's history lies in the store, and the hashes that put it in the key."""

from __future__ import annotations

from collections.abc import Mapping

from storyflow.planning.nodes import Segment
from storyflow.store.artifacts import Artifact, StoredSpan


def latent_stretch(start: int, stop: int, grid: int, *, fresh: bool) -> tuple[int, int]:
    """The latents [first, last) that hold a segment's new frames [start, stop).

    The first latent of a fresh segment holds one frame and every other `grid` frames; a continuing
    segment's new latents hold `grid` frames each.
    """
    last = stop - 1
    if fresh:
        return -(-start // grid), -(-last // grid) + 1
    return start // grid, last // grid + 1


def locate(
    segment: Segment,
    parents: Mapping[str, Segment],
    artifacts: Mapping[str, Artifact],
    grid: int | None,
) -> tuple[tuple[StoredSpan, ...], tuple[str, ...]]:
    """The stored spans that a segment continues, and the hash of each of their frames, in order.

    `parents` and `artifacts` are by recipe. With `grid` (frames per latent) the hashes are those of
    latent frames, else those of pixels.
    """
    spans: list[StoredSpan] = []
    hashes: list[str] = []
    for span in segment.history:
        artifact = artifacts[span.segment]
        latents = None
        if grid is not None:
            fresh = parents[span.segment].inputs.spec.overlap == 0
            latents = latent_stretch(span.start, span.stop, grid, fresh=fresh)
            hashes += artifact.latents[slice(*latents)]
        else:
            hashes += artifact.frames[span.start : span.stop]
        spans.append(StoredSpan(artifact.key, span.start, span.stop, latents))
    return tuple(spans), tuple(hashes)
