"""Renders toy films as a pipeline does, one segment after the other, without a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from storyflow.errors import ModelError
from storyflow.renderer import Given, History, ModelKind, SegmentSpec
from storyflow.toybox import world

Clip = NDArray[np.uint8]
SEEDS_APART = 7919
"""Between the seeds of a shot's segments."""


class _Kept:
    """A sink that keeps frames and latents."""

    def __init__(self) -> None:
        self.chunks: list[Clip] = []
        self.made: list[NDArray[np.float32]] = []

    def regained(self, chunk: Clip) -> None:
        pass

    def frames(self, chunk: Clip) -> None:
        self.chunks.append(chunk)

    def latents(self, chunk: NDArray[np.float32]) -> None:
        self.made.append(chunk)

    def step(self, done: int, total: int) -> None:
        pass


class Studio:
    """Renders chains of segments with one loaded model of a kind that has a text encoder.

    Raises ModelError for a kind without one.
    """

    def __init__(self, kind: ModelKind) -> None:
        if kind.text_encoder is None:
            raise ModelError(
                "this pipeline's model reads no prompts, so its films have no answers",
                cure="name a pipeline of a diffusion model, such as toybox",
            )
        self.overlap = kind.lattice.overlap
        self.window = kind.lattice.new_frames(fresh=True)[-1]
        self._tail = (self.overlap - 1) // kind.lattice.grid + 1
        self._text, self._renderer = kind.text_encoder(), kind.renderer()
        self._negative = self._text.encode("")

    def segment(self, prompt: str, given: Given, seed: int) -> Clip:
        """The new frames of one segment, uint8 [n, 64, 96, 3]."""
        return np.concatenate(self._render(prompt, given, seed).chunks)

    def segments(self, prompts: Sequence[str], seed: int) -> Iterator[Clip]:
        """A shot's segments, one per prompt, each continuing the last: 97 frames, then 80 each."""
        before: History | None = None
        for number, prompt in enumerate(prompts):
            made = self._render(prompt, Given(before), seed + SEEDS_APART * number)
            clip, latents = np.concatenate(made.chunks), np.concatenate(made.made, axis=1)
            if self.overlap:
                before = History(clip[-self.overlap :].copy(), latents[:, -self._tail :])
            yield clip

    def chain(self, prompts: Sequence[str], seed: int) -> Clip:
        """The same as one clip, uint8 [97 + 80k, 64, 96, 3]."""
        return np.concatenate(list(self.segments(prompts, seed)))

    def close(self) -> None:
        """Give the memory back."""
        self._renderer.close()
        self._text.close()

    def _render(self, prompt: str, given: Given, seed: int) -> _Kept:
        overlap = self.overlap if given.history else 0
        spec = SegmentSpec(world.WIDTH, world.HEIGHT, self.window, overlap, seed)
        kept = _Kept()
        self._renderer.render(spec, self._text.encode(prompt), self._negative, given, kept)
        return kept
