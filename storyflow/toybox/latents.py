"""The training set as latents: windows of the world, encoded once, kept on disk in half precision.

Every window is encoded by itself, from its own first frame, as history is in inference. Beside it
stands its last frame as a latent of its own, for the first-and-last-frame condition.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from storyflow.toybox.vae_stage import to_model
from storyflow.toybox.windows import Window

SHARD = 50
"""Windows per file."""


@dataclass(frozen=True)
class Encoded:
    """A window's latents, float16 [16, n, 8, 12], and those of its last frame, [16, 1, 8, 12]."""

    window: Window
    latents: NDArray[np.float16]
    last: NDArray[np.float16]


@torch.no_grad()
def encode(vae: Any, windows: list[Window], path: Path, clips: list[NDArray[np.uint8]]) -> None:
    """Encode drawn windows into one file."""
    arrays: dict[str, NDArray[Any]] = {}
    for i, clip in enumerate(clips):
        video = to_model(clip[None])
        for name, part in (("latents", video), ("last", video[:, :, -1:])):
            mean = vae.encode(part).latent_dist.mode()[0]
            arrays[f"{name}{i}"] = mean.numpy().astype(np.float16)
    said = json.dumps([asdict(window) for window in windows])
    arrays["windows"] = np.frombuffer(said.encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half")
    with half.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    half.rename(path)


class LatentSet:
    """The encoded windows of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.items: list[Encoded] = []
        self._read: set[str] = set()
        self._fixed: tuple[list[float], list[float]] | None = None
        self.refresh()

    def keep(self, mean: list[float], scale: list[float]) -> None:
        """Use these statistics: those of the weights that a training goes on from."""
        self._fixed = mean, scale

    def refresh(self) -> int:
        """Read files that are new; how many windows there are."""
        for path in sorted(self.folder.glob("*.npz")):
            if path.name in self._read:
                continue
            self._read.add(path.name)
            with np.load(path, allow_pickle=False) as data:
                for i, said in enumerate(json.loads(data["windows"].tobytes())):
                    window = Window(**said)
                    self.items.append(Encoded(window, data[f"latents{i}"], data[f"last{i}"]))
        return len(self.items)

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and scale per channel, for the VAE's `latents_mean` and `latents_std`.

        The scale is the geometric mean of the channel's standard deviation and all channels', so
        that strong channels, which say what is where, stay louder than those of fine detail.
        """
        if self._fixed is not None:
            return self._fixed
        numbers = np.concatenate(
            [item.latents.reshape(16, -1) for item in self.items[:200]], axis=1
        ).astype(np.float64)
        std = numbers.std(axis=1)
        scale = np.sqrt(std * std.max())
        scale *= np.sqrt(np.mean((std / scale) ** 2))
        return numbers.mean(axis=1).tolist(), scale.tolist()
