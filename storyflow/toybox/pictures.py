"""Clips as tensors for the VAE's stages: pools of them, how much their pixels count, rates."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from storyflow.toybox import scenes, world

FRAMES: Final = 13
"""Of a pool's windows: four of the VAE's chunks."""


class Pool:
    """Drawn windows of 13 frames: `clips` uint8 [size, 13, 64, 96, 3]."""

    def __init__(self, clips: NDArray[np.uint8]) -> None:
        self.clips = clips

    @classmethod
    def draw(cls, size: int, seed: int) -> Pool:
        """Fresh ones, each of a scene of its own."""
        clips = np.empty((size, FRAMES, world.HEIGHT, world.WIDTH, 3), np.uint8)
        for i in range(size):
            number = seed * 1_000_000 + i
            clips[i] = world.draw(scenes.sample(number), FRAMES, (number * 37) % 88)
        return cls(clips)

    @classmethod
    def read(cls, drawn: Path, size: int, seed: int) -> Pool:
        """From the training set's longer stretches, at random places.

        Raises FileNotFoundError where there are none.
        """
        files = [np.load(path, mmap_mode="r") for path in sorted(drawn.glob("*.npy"))]
        files = [file for file in files if file.shape[1] > FRAMES]
        if not files:
            raise FileNotFoundError(f"{drawn} has no long stretches; run the stage `draw` first")
        rng = np.random.default_rng([seed, 3])
        clips = np.empty((size, FRAMES, world.HEIGHT, world.WIDTH, 3), np.uint8)
        for i in range(size):
            file = files[int(rng.integers(len(files)))]
            first = int(rng.integers(file.shape[1] - FRAMES + 1))
            clips[i] = file[int(rng.integers(len(file))), first : first + FRAMES]
        return cls(clips)


def to_model(clips: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, frames, h, w, 3] to float32 [n, 3, frames, h, w] in -1..1."""
    return torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float().div(127.5).sub(1)


def to_pixels(video: Tensor) -> NDArray[np.uint8]:
    """The way back, clamped."""
    scaled = video.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 4, 1).contiguous().cpu().numpy()


def importance(clips: Tensor, figures: float) -> Tensor:
    """[n, 1, frames, h, w]: `figures` where saturated colours are near, else 1."""
    vivid = (clips.amax(dim=1) - clips.amin(dim=1) > 1.0).float()
    return 1 + (figures - 1) * F.max_pool2d(vivid, 7, stride=1, padding=3)[:, None]


def cosine(step: int, steps: int) -> float:
    """The rate's share: up over 100 steps, then down to a twentieth."""
    warm = min(1.0, (step + 1) / 100)
    return warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))
