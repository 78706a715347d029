"""The training set: stretches of the world, drawn once as pixels, then encoded once as latents.

Of a stretch of 4k + 1 frames there are k chunks of four frames, and every fourth frame is also
there as a latent of its own: that is what a window begins with, and what it may be told to end in.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from storyflow.toybox import world
from storyflow.toybox.codec import FastEncoder, fast_encoder
from storyflow.toybox.encoding import encode_fast
from storyflow.toybox.scene_map import scene_map
from storyflow.toybox.windows import NAMES, Portion, Stretch

SEED = 3
BATCH = 64
"""Latents that are encoded at a time."""


@dataclass(frozen=True)
class Encoded:
    """A stretch: its single frames, float16 [16, k + 1, 8, 12], and its chunks, [16, k, 8, 12];
    which of their cells a figure touches, bool [1, k + 1, 8, 12] and [1, k, 8, 12]; and what their
    tokens show (`scene_map.py`), float16 [1, k + 1, 24, 62] and [1, k, 24, 62].

    `number` is its place in its portion.
    """

    number: int
    stretch: Stretch
    singles: NDArray[np.float16]
    chunks: NDArray[np.float16]
    single_figures: NDArray[np.bool_]
    chunk_figures: NDArray[np.bool_]
    single_map: NDArray[np.float16]
    chunk_map: NDArray[np.float16]

    @property
    def length(self) -> int:
        """Latents of a window of the whole stretch."""
        return int(self.singles.shape[1])

    def window(self, first: int, latents: int, *, ended: bool = False) -> NDArray[np.float16]:
        """The window [16, latents, 8, 12] that begins with single frame number `first`; `ended`
        has the single frame of its end in place of the last chunk."""
        return _window(self.singles, self.chunks, first, latents, ended)

    def figures(self, first: int, latents: int, *, ended: bool = False) -> NDArray[np.bool_]:
        """The cells [latents, 8, 12] of a window that a figure touches."""
        found: NDArray[np.bool_] = _window(
            self.single_figures, self.chunk_figures, first, latents, ended
        )[0]
        return found

    def shown(self, first: int, latents: int, *, ended: bool = False) -> NDArray[np.float16]:
        """What the tokens of a window show, [latents, 24, 62]."""
        found: NDArray[np.float16] = _window(
            self.single_map, self.chunk_map, first, latents, ended
        )[0]
        return found


def _window(
    singles: NDArray[Any], chunks: NDArray[Any], first: int, latents: int, ended: bool
) -> NDArray[Any]:
    if latents == 1:
        return singles[:, first : first + 1]
    last = first + latents - 1
    parts = [singles[:, first : first + 1], chunks[:, first : last - ended]]
    if ended:
        parts.append(singles[:, last : last + 1])
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
    encoder = fast_encoder(vae)
    for portion in portions:
        for number in range(-(-portion.count // portion.shard)):
            path = folder / f"{portion.name}{number:04d}.npz"
            if path.exists():
                continue
            clips = np.load(drawn / f"{portion.name}{number:04d}.npy", allow_pickle=False)
            _encode(encoder, clips, _shard(portion, number), path)


@torch.no_grad()
def _encode(
    encoder: FastEncoder, clips: NDArray[np.uint8], stretches: list[Stretch], path: Path
) -> None:
    n, frames = clips.shape[:2]
    singles = clips[:, ::4].reshape(-1, 1, *clips.shape[2:])
    moving = clips[:, 1:].reshape(-1, 4, *clips.shape[2:])

    def codes(parts: NDArray[np.uint8], each: int) -> NDArray[np.float16]:
        done = [
            encode_fast(encoder, parts[i : i + BATCH]).cpu().numpy().astype(np.float16)
            for i in range(0, len(parts), BATCH)
        ]
        if not done:
            return np.zeros((n, 16, 0, 8, 12), np.float16)
        return np.concatenate(done)[:, :, 0].reshape(n, each, 16, 8, 12).swapaxes(1, 2)

    # A chunk is looked at between its second and third frame.
    times = np.arange(0, frames, 4), np.arange(3, frames, 4)
    touched = [[figure_cells(stretch, which) for stretch in stretches] for which in times]
    shown = [
        [scene_map(each.scene(), each.start + which)[None] for each in stretches] for which in times
    ]
    said = json.dumps([asdict(stretch) for stretch in stretches])
    half = path.with_suffix(".half")
    with half.open("wb") as file:
        np.savez(
            file,
            singles=codes(singles, (frames + 3) // 4),
            chunks=codes(moving, (frames - 1) // 4),
            single_figures=np.stack(touched[0]),
            chunk_figures=np.stack(touched[1]),
            single_map=np.stack(shown[0]),
            chunk_map=np.stack(shown[1]),
            stretches=np.frombuffer(said.encode(), np.uint8),
        )
    half.rename(path)


def figure_cells(stretch: Stretch, which: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """The cells bool [1, len(which), 8, 12] that a figure touches at those frames of a stretch."""
    scene, frames = stretch.scene(), stretch.start + which
    touched = np.zeros((1, len(which), 8, 12), np.bool_)
    if not len(which):
        return touched
    where = world.tracks(scene, int(frames[-1]) + 1)
    zoom = where.zoom[frames]
    rows, columns = np.mgrid[:8, :12] * 8.0 + 4
    for i in range(len(scene.figures)):
        x = world.WIDTH / 2 + (where.x[i, frames] - world.WIDTH / 2) * zoom
        y = world.HEIGHT / 2 + (where.y[i, frames] - world.HEIGHT / 2) * zoom
        reach = where.radius[i, frames] * zoom + 5
        away = np.hypot(columns - x[:, None, None], rows - y[:, None, None])
        touched[0] |= away < reach[:, None, None]
    return touched


class LatentSet:
    """The encoded stretches of a folder."""

    def __init__(self, folder: Path, names: Iterable[str] = NAMES) -> None:
        self.items: dict[str, list[Encoded]] = {name: [] for name in names}
        for name, items in self.items.items():
            for path in sorted(folder.glob(f"{name}*.npz")):
                with np.load(path, allow_pickle=False) as data:
                    said = json.loads(data["stretches"].tobytes())
                    columns = [data[field.name] for field in fields(Encoded)[2:]]
                for i, each in enumerate(said):
                    parts = (column[i] for column in columns)
                    items.append(Encoded(len(items), Stretch(**each), *parts))
