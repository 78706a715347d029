"""How long segments took, from the store's own artifacts.

The index that planning reads anyway lists finished segments by model, settings, frame size and
length too, under names of their own beside the recipes; only a few artifacts of each are opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median

from storyflow.farm.oneclass import most_common
from storyflow.planning.finish import CPU_SPEED, GPU_SPEED, Timing, Timings
from storyflow.planning.keys import canonical
from storyflow.planning.nodes import Segment, SegmentInputs
from storyflow.renderer import ModelKind
from storyflow.store.artifacts import Artifact
from storyflow.store.store import Store

_PREFIX = "time-"

SAMPLE = 15
"""Artifacts that are opened for each length: a mean of so many is steady."""


def timing_entry(inputs: SegmentInputs) -> str:
    """The name that finished segments of this model, settings, frame size and length share."""
    spec = inputs.spec
    return f"{_family(inputs)}-{spec.window}-{spec.overlap}"


def prompt_entry(encoder: str) -> str:
    """The name that the embeddings of a text encoder share."""
    return f"{_PREFIX}{_digest(encoder)}-prompt"


class Past:
    """What the store knows of how long segments took, read once for any number of plans.

    `index` is `Store.recipes()`.
    """

    def __init__(self, store: Store, index: Mapping[str, Sequence[str]]) -> None:
        self._store = store
        self._times = {name: keys for name, keys in index.items() if name.startswith(_PREFIX)}
        self._known: dict[tuple[frozenset[str], str, float], Timings] = {}

    def timings(self, segments: Iterable[Segment], kind: ModelKind, *, threads: int = 1) -> Timings:
        """How long these segments take; assumptions where the store knows nothing.

        `threads` are a CPU worker's. Of several numerics classes the one with the most timings
        counts. Raises StoreError.
        """
        segments = tuple(segment for segment in segments if segment.key is None)
        # Thousands of segments share one tuple of fields: it is hashed once.
        inputs = {(s.inputs.model, id(s.inputs.pixel_fields)): s.inputs for s in segments}
        families = frozenset(_family(i) for i in inputs.values())
        speed = 0.0
        if any(segment.flops for segment in segments):
            speed = GPU_SPEED if kind.wants_gpu else CPU_SPEED * threads
        # What a length costs is the model's, which the families name.
        about = (families, kind.encoder, speed)
        if about not in self._known:
            self._known[about] = self._read(families, kind, speed)
        return self._known[about]

    def _read(self, families: frozenset[str], kind: ModelKind, speed: float) -> Timings:
        lengths: dict[tuple[int, int], Sequence[str]] = {}
        for name, keys in self._times.items():
            family, length = _split(name)
            if family in families:
                lengths[length] = keys[:SAMPLE]
        texts = self._times.get(prompt_entry(kind.encoder), ())[:SAMPLE]
        # Keys are hashes: their first ones are as good as any chosen at random.
        read = self._store.artifacts([*texts, *(key for keys in lengths.values() for key in keys)])
        timed = {key: artifact for key, artifact in read.items() if artifact.seconds > 0}
        used = (key for keys in lengths.values() for key in keys if key in timed)
        numerics = next(iter(most_common(timed[key] for key in used)), "")
        kept = {
            length: [timed[k] for k in keys if k in timed and timed[k].numerics == numerics]
            for length, keys in lengths.items()
        }
        prompts = [timed[key] for key in texts if key in timed]
        measured = (
            Timing(
                window,
                overlap,
                seconds=_mean([a.seconds for a in found]),
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


def _mean(seconds: Sequence[float]) -> float:
    """The mean, as a film takes the sum; without what took three times as long as usual, for then
    the machine slept or was at something else."""
    most = 3 * median(seconds)
    return fmean(each for each in seconds if each <= most)


def _family(inputs: SegmentInputs) -> str:
    spec = inputs.spec
    body = [inputs.model, dict(inputs.pixel_fields), spec.width, spec.height]
    return f"{_PREFIX}{_digest(canonical(body))}"


def _split(name: str) -> tuple[str, tuple[int, int]]:
    """(family, (window, overlap)) of a timing's name; an empty family for other names."""
    parts = name.split("-")
    if len(parts) != 4:
        return "", (0, 0)
    return f"{_PREFIX}{parts[1]}", (int(parts[2]), int(parts[3]))


def _setup(artifacts: Iterable[Artifact]) -> float:
    seconds = [a.origin.setup for a in artifacts if a.origin is not None]
    return median(seconds) if seconds else 0.0


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
