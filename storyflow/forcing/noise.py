"""Where a segment's random numbers come from: its own streams, never the global generator."""

from __future__ import annotations

import hashlib
from typing import Protocol

import torch
from torch import Tensor


class NoiseSource(Protocol):
    """Standard normal noise for one segment, float32 on the CPU."""

    def initial(self, shape: tuple[int, ...]) -> Tensor:
        """What denoising starts from; asked once."""

    def history(self, shape: tuple[int, ...]) -> Tensor:
        """What is mixed into the given first frames; asked once per forward pass, in order."""

    def consistency(self, shape: tuple[int, ...]) -> Tensor:
        """What the consistency solver adds anew; asked once per step and block, in order."""


def stream(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose of one segment; the same on every device and machine.

    The salt keeps the streams of a segment apart: equal seeds give unrelated noise per purpose.
    Torch's CPU generator reads only 32 bits of a seed: in about one of a hundred films of 10,000
    segments two segments start from the same noise, under other prompts and histories.
    """
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "little"))


class SeededNoise:
    """The noise of the segment with this seed."""

    def __init__(self, seed: int) -> None:
        self._initial = stream(seed, "noise")
        self._history = stream(seed, "history noise")
        self._consistency = stream(seed, "consistency noise")

    def initial(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._initial, dtype=torch.float32)

    def history(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._history, dtype=torch.float32)

    def consistency(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._consistency, dtype=torch.float32)


def moved(noise: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Noise from the CPU on its way to `device`, without waiting for the device's queue."""
    if device.type == "cuda":
        noise = noise.pin_memory()
    return noise.to(device, non_blocking=True).to(dtype)
