"""A segment's true key: known as soon as its parents' artifacts and its prompts' embeddings are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from storyflow.farm.history import locate
from storyflow.planning.keys import hashed, history_digest, key_inputs
from storyflow.planning.nodes import Plan, Segment
from storyflow.renderer import ModelKind
from storyflow.store.artifacts import Artifact, StoredSpan


@dataclass(frozen=True)
class Embedding:
    """An encoded text in the store: its key and the digest that stands in the keys of segments."""

    key: str
    digest: str


@dataclass(frozen=True)
class Identity:
    """A segment's key, the JSON text it was made from, where its history is stored, and the hash of
    that history (None without one)."""

    key: str
    inputs: str
    history: tuple[StoredSpan, ...]
    history_digest: str | None = None


def identify(
    segment: Segment,
    segments: Mapping[str, Segment],
    artifacts: Mapping[str, Artifact],
    prompt: Embedding | None,
    negative: Embedding | None,
    grid: int | None,
) -> Identity:
    """`segments` and `artifacts` are by recipe and hold the parents; `grid` is `history_grid`'s."""
    spans, hashes = locate(segment, segments, artifacts, grid)
    history = history_digest(hashes) if spans else None
    digests = (prompt.digest if prompt else None, negative.digest if negative else None)
    inputs = key_inputs(segment.inputs, history, *digests)
    return Identity(hashed(inputs), inputs, spans, history)


def history_grid(plan: Plan, kind: ModelKind) -> int | None:
    """Frames per latent where a segment's history is latents, None where it is pixels."""
    return kind.lattice.grid if plan.history == "latents" and plan.keeps_latents else None
