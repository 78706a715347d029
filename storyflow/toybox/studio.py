"""Renders toy films with storyflow's own forcing engine, one segment after the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.renderer import ForcingRenderer
from storyflow.forcing.text import UMT5TextEncoder
from storyflow.renderer import Given, History, SegmentSpec
from storyflow.toybox import world

Clip = NDArray[np.uint8]


class _Frames:
    """A sink that keeps the frames."""

    def __init__(self) -> None:
        self.chunks: list[Clip] = []

    def regained(self, chunk: Clip) -> None:
        pass

    def frames(self, chunk: Clip) -> None:
        self.chunks.append(chunk)

    def latents(self, chunk: NDArray[np.float32]) -> None:
        pass

    def step(self, done: int, total: int) -> None:
        pass


class Studio:
    """Renders chains of segments with one loaded model."""

    def __init__(self, config: ForcingConfig) -> None:
        self.config = config
        self.text = UMT5TextEncoder(config)
        self.renderer = ForcingRenderer(config)
        self.negative = self.text.encode("")

    def segment(self, prompt: str, given: Given, seed: int) -> Clip:
        """The new frames of one segment, uint8 [n, 64, 96, 3]."""
        overlap = self.config.overlap if given.history else 0
        spec = SegmentSpec(world.WIDTH, world.HEIGHT, self.config.window, overlap, seed)
        sink = _Frames()
        self.renderer.render(spec, self.text.encode(prompt), self.negative, given, sink)
        return np.concatenate(sink.chunks)

    def chain(self, prompts: list[str], seed: int) -> Clip:
        """One segment per prompt, each continuing the last: uint8 [97 + 80k, 64, 96, 3]."""
        film = np.zeros((0, world.HEIGHT, world.WIDTH, 3), np.uint8)
        for number, prompt in enumerate(prompts):
            given = Given(History(film[-self.config.overlap :].copy()) if number else None)
            film = np.concatenate([film, self.segment(prompt, given, seed + 7919 * number)])
        return film
