"""Long toybox shots to measure quality on: chains of segments with one prompt, kept in a folder.

    python tests/bench/qc_films.py --films 4 --segments 7 --to FOLDER

Shot n answers the toybox's exam question n with the shipped profile. A folder that has some
segments already is completed; each segment is saved as soon as it is there.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storyflow.farm.comparison import Comparison
from storyflow.kinds import kind_of
from storyflow.pipeline import load_profile
from storyflow.renderer import Given, History, SegmentSpec
from storyflow.store.artifacts import Regained
from storyflow.toybox.exam import question
from storyflow.toybox.world import HEIGHT, WIDTH

Clip = NDArray[np.uint8]


@dataclass(frozen=True)
class Shot:
    """A chain: its frames uint8 [n, 64, 96, 3], where each segment after the first begins, and how
    each of those got its history back."""

    number: int
    frames: Clip
    seams: tuple[int, ...]
    regained: tuple[Regained, ...]


class _Sink:
    def __init__(self, history: Clip | None) -> None:
        self.chunks: list[Clip] = []
        self.comparison = None if history is None else Comparison(history)

    def regained(self, chunk: Clip) -> None:
        if self.comparison is not None:
            self.comparison.add(chunk)

    def frames(self, chunk: Clip) -> None:
        self.chunks.append(chunk)

    def latents(self, chunk: NDArray[np.float32]) -> None:
        pass

    def step(self, done: int, total: int) -> None:
        pass


def render(folder: Path, number: int, segments: int) -> None:
    """Complete one shot in the folder."""
    kind = kind_of(load_profile("toybox")[1])
    assert kind.text_encoder is not None
    asked = question(number)
    overlap, window = kind.lattice.overlap, kind.lattice.new_frames(fresh=True)[-1]
    renderer = encoder = None
    film = np.zeros((0, HEIGHT, WIDTH, 3), np.uint8)
    for place in range(segments):
        file = folder / f"{number}-{place}.npz"
        if not file.exists():
            if renderer is None or encoder is None:
                encoder, renderer = kind.text_encoder(), kind.renderer()
                encoder.setup()
                renderer.setup()
                prompt, negative = encoder.encode(asked.prompt), encoder.encode("")
            past = film[-overlap:].copy() if place else None
            spec = SegmentSpec(
                WIDTH, HEIGHT, window, overlap if place else 0, asked.seed + 7919 * place
            )
            sink = _Sink(past)
            given = Given(None if past is None else History(past))
            renderer.render(spec, prompt, negative, given, sink)
            found = sink.comparison.result() if sink.comparison else None
            told = np.zeros(7) if found is None else [*found.gain, *found.offset, found.psnr or 99]
            partial = file.with_suffix(".part.npz")
            np.savez_compressed(partial, frames=np.concatenate(sink.chunks), regained=told)
            partial.replace(file)
            print(file, flush=True)
        film = np.concatenate([film, np.load(file)["frames"]])


def read(folder: Path, number: int) -> Shot | None:
    """A shot as far as it was rendered, None where there is nothing."""
    frames, seams, regained = [], [], []
    length = 0
    for place in range(100):
        file = folder / f"{number}-{place}.npz"
        if not file.exists():
            break
        kept = np.load(file)
        if place:
            seams.append(length)
            r = [float(x) for x in kept["regained"]]
            regained.append(Regained((r[0], r[1], r[2]), (r[3], r[4], r[5]), r[6]))
        frames.append(kept["frames"])
        length += len(frames[-1])
    if not frames:
        return None
    return Shot(number, np.concatenate(frames), tuple(seams), tuple(regained))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=4)
    parser.add_argument("--segments", type=int, default=7)
    parser.add_argument("--to", type=Path, required=True)
    given = parser.parse_args()
    given.to.mkdir(parents=True, exist_ok=True)
    for number in range(given.films):
        render(given.to, number, given.segments)


if __name__ == "__main__":
    main()
