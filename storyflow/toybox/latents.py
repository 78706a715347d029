"""The training set: stretches of the world, drawn once as pixels, then encoded once as latents.

Of a stretch of 4k + 1 frames there are k chunks of four frames, and every fourth frame is also
there as a latent of its own: that is what a window begins with, and what it may be told to end in.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from storyflow.toybox.encoding import encode_fast, fast_encoder
from storyflow.toybox.windows import Portion, Stretch

SEED = 3
BATCH = 64
"""Latents that are encoded at a time."""


@dataclass(frozen=True)
class Encoded:
    """A stretch: its single frames, float16 [16, k + 1, 8, 12], and its chunks, [16, k, 8, 12]."""

    stretch: Stretch
    singles: NDArray[np.float16]
    chunks: NDArray[np.float16]

    @property
    def length(self) -> int:
        """Latents of a window of the whole stretch."""
        return int(self.singles.shape[1])

    def window(self, first: int, latents: int, *, ended: bool = False) -> NDArray[np.float16]:
        """The window [16, latents, 8, 12] that begins with single frame number `first`; `ended`
        has the single frame of its end in place of the last chunk."""
        parts = [self.singles[:, first : first + 1]]
        last = first + latents - 1
        if ended:
            parts += [self.chunks[:, first : last - 1], self.singles[:, last : last + 1]]
        else:
            parts.append(self.chunks[:, first:last])
        return np.concatenate(parts, axis=1)


def draw(folder: Path, portions: Iterable[Portion], processes: int = 1) -> None:
    """Draw the pixels of every stretch, in files of the portions' shards; files that are there
    already are kept. The files are the same for any number of processes."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (folder / f"{portion.name}{number:04d}.npy", portion, number)
        for portion in portions
        for number in range(-(-portion.count // portion.shard))
    ]
    todo = [job for job in jobs if not job[0].exists()]
    if processes == 1:
        for job in todo:
            _draw(job)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for _ in pool.imap_unordered(_draw, todo):
            pass


def _draw(job: tuple[Path, Portion, int]) -> None:
    path, portion, number = job
    half = path.with_suffix(".half")
    with half.open("wb") as file:
        np.save(file, np.stack([each.draw() for each in _shard(portion, number)]))
    half.rename(path)


def _shard(portion: Portion, number: int) -> list[Stretch]:
    return list(portion.stretches(SEED))[number * portion.shard : (number + 1) * portion.shard]


def encode(vae: Any, drawn: Path, folder: Path, portions: Iterable[Portion]) -> None:
    """Encode the drawn files; those that are there already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    sketch, way = fast_encoder(vae)
    for portion in portions:
        for number in range(-(-portion.count // portion.shard)):
            path = folder / f"{portion.name}{number:04d}.npz"
            if path.exists():
                continue
            clips = np.load(drawn / f"{portion.name}{number:04d}.npy", allow_pickle=False)
            _encode(sketch, way, clips, _shard(portion, number), path)


@torch.no_grad()
def _encode(
    sketch: Any, way: Any, clips: NDArray[np.uint8], stretches: list[Stretch], path: Path
) -> None:
    n, frames = clips.shape[:2]
    singles = clips[:, ::4].reshape(-1, 1, *clips.shape[2:])
    moving = clips[:, 1:].reshape(-1, 4, *clips.shape[2:])

    def codes(parts: NDArray[np.uint8], each: int) -> NDArray[np.float16]:
        done = [
            encode_fast(sketch, way, parts[i : i + BATCH]).cpu().numpy().astype(np.float16)
            for i in range(0, len(parts), BATCH)
        ]
        if not done:
            return np.zeros((n, 16, 0, 8, 12), np.float16)
        return np.concatenate(done)[:, :, 0].reshape(n, each, 16, 8, 12).swapaxes(1, 2)

    said = json.dumps([asdict(stretch) for stretch in stretches])
    half = path.with_suffix(".half")
    with half.open("wb") as file:
        np.savez(
            file,
            singles=codes(singles, (frames + 3) // 4),
            chunks=codes(moving, (frames - 1) // 4),
            stretches=np.frombuffer(said.encode(), np.uint8),
        )
    half.rename(path)


class LatentSet:
    """The encoded stretches of a folder."""

    def __init__(self, folder: Path, names: Iterable[str] = ("still", "short", "long")) -> None:
        self.items: dict[str, list[Encoded]] = {name: [] for name in names}
        for name, items in self.items.items():
            for path in sorted(folder.glob(f"{name}*.npz")):
                with np.load(path, allow_pickle=False) as data:
                    singles, chunks = data["singles"], data["chunks"]
                    said = json.loads(data["stretches"].tobytes())
                items += [
                    Encoded(Stretch(**each), singles[i], chunks[i]) for i, each in enumerate(said)
                ]

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and scale per channel, for the VAE's `latents_mean` and `latents_std`."""
        first = next(iter(self.items))
        numbers = np.concatenate(
            [item.singles.reshape(16, -1) for item in self.items[first][:2000]], axis=1
        ).astype(np.float64)
        return numbers.mean(axis=1).tolist(), numbers.std(axis=1).tolist()
