"""How long segments took, from the store's own artifacts.

The index that planning reads anyway lists finished segments by model, settings, frame size and
length too, under names of their own beside the recipes; only a few artifacts of each are opened.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from storyflow.planning.finish import CPU_SPEED, GPU_SPEED, Timing, Timings
from storyflow.planning.keys import canonical
from storyflow.planning.nodes import Segment, SegmentInputs
from storyflow.renderer import ModelKind
from storyflow.store.artifacts import Artifact
from storyflow.store.store import Store

SAMPLE = 15
"""Artifacts that are opened for each length: a median of so many is steady."""


def timing_entry(inputs: SegmentInputs) -> str:
    """The name that finished segments of this model, settings, frame size and length share."""
    spec = inputs.spec
    return f"{_family(inputs)}-{spec.window}-{spec.overlap}"


def prompt_entry(encoder: str) -> str:
    """The name that the embeddings of a text encoder share."""
    return f"time-{_digest(encoder)}-prompt"


def read_timings(
    store: Store,
    index: Mapping[str, Sequence[str]],
    segments: Iterable[Segment],
    kind: ModelKind,
    *,
    threads: int = 1,
) -> Timings:
    """What the store knows about how long these segments take; assumptions where it knows nothing.

    `index` is `Store.recipes()`; `threads` are a CPU worker's. Of several numerics classes the one
    with the most timings counts. Raises StoreError.
    """
    segments = tuple(segment for segment in segments if segment.key is None)
    # Thousands of segments share one tuple of fields: it is hashed once.
    inputs = {(s.inputs.model, id(s.inputs.pixel_fields)): s.inputs for s in segments}
    families = {_family(i) for i in inputs.values()}
    lengths: dict[tuple[int, int], list[Artifact]] = {}
    for name, keys in index.items():
        family, _, length = _split(name)
        if family in families:
            window, overlap = length
            lengths[window, overlap] = _sample(store, keys)
    numerics = _most_common(a.numerics for found in lengths.values() for a in found)
    kept = {
        length: [a for a in found if a.numerics == numerics] for length, found in lengths.items()
    }
    speed = 0.0
    if any(segment.flops for segment in segments):
        speed = GPU_SPEED if kind.wants_gpu else CPU_SPEED * threads
    prompts = _sample(store, index.get(prompt_entry(kind.encoder), ()))
    measured = (
        Timing(
            window,
            overlap,
            seconds=median(a.seconds for a in found),
            count=len(found),
            flops=kind.cost(window, overlap).flops,
        )
        for (window, overlap), found in sorted(kept.items())
        if found
    )
    return Timings(
        lengths=tuple(measured),
        numerics=numerics,
        setup=_setup(a for found in kept.values() for a in found),
        prompt=median(a.seconds for a in prompts) if prompts else 0.0,
        prompt_setup=_setup(prompts),
        speed=speed,
    )


def _family(inputs: SegmentInputs) -> str:
    spec = inputs.spec
    body = [inputs.model, dict(inputs.pixel_fields), spec.width, spec.height]
    return f"time-{_digest(canonical(body))}"


def _split(name: str) -> tuple[str, str, tuple[int, int]]:
    """(family, name, (window, overlap)) of a timing's name; an empty family for other names."""
    parts = name.split("-")
    if len(parts) != 4 or parts[0] != "time":
        return "", name, (0, 0)
    return f"time-{parts[1]}", name, (int(parts[2]), int(parts[3]))


def _sample(store: Store, keys: Sequence[str]) -> list[Artifact]:
    # Keys are hashes: their first ones are as good as any chosen at random.
    found: list[Artifact] = []
    for key in keys:
        artifact = store.find(key)
        if artifact is not None and artifact.seconds > 0:
            found.append(artifact)
        if len(found) == SAMPLE:
            break
    return found


def _most_common(numerics: Iterable[str]) -> str:
    counts = Counter(numerics)
    return min(counts, key=lambda name: (-counts[name], name), default="")


def _setup(artifacts: Iterable[Artifact]) -> float:
    seconds = [a.origin.setup for a in artifacts if a.origin is not None]
    return median(seconds) if seconds else 0.0


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
