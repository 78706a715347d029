"""Asks a trained toybox the questions of `exam.py` and reads the answers from the pixels.

`python -m storyflow.toybox.evaluate --part films --count 50`. Every part prints a few numbers and,
with `--out`, writes a row per film. Films are rendered as the profile says, by the same engine.
`--first 100` begins with that question: so a part is divided among processes or machines.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from storyflow.errors import StoryflowError
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.loading import load_model
from storyflow.forcing.vae import to_bytes
from storyflow.kinds import kind_of
from storyflow.pipeline import load_profile
from storyflow.toybox import captions, measure, scenes, vae_stage, world
from storyflow.toybox.exam import Question, question
from storyflow.toybox.given_trials import both_ends, histories, starts
from storyflow.toybox.studio import Studio

Clip = NDArray[np.uint8]
PARTS = ("measure", "vae", "films", "chains", "turns", "starts", "ends", "histories")
TURNED_WITHIN = 12
"""Frames after a beat's start by which a figure must have turned."""


@dataclass(frozen=True)
class Answer:
    """What was right about one clip; `shape` and `action` are False where nothing was seen."""

    question: int
    prompt: str
    colour: bool
    shape: bool
    action: bool
    camera: bool
    place: bool
    light: bool


def mark(number: int, scene: world.Scene, prompt: str, clip: Clip) -> Answer:
    """Compare a clip with its scene; of two figures the first counts, and both colours."""
    seen = measure.read(clip)
    first = scene.figures[0]
    found = seen.of(first.colour)
    wanted = {figure.colour for figure in scene.figures}
    return Answer(
        question=number,
        prompt=prompt,
        colour={figure.colour for figure in seen.figures} == wanted,
        shape=found is not None and found.shape == first.shape,
        action=found is not None and found.action == scene.actions(0)[0],
        camera=seen.camera == scene.camera,
        place=seen.place == scene.place,
        light=seen.light == scene.light,
    )


def measured(numbers: range) -> Iterator[Answer]:
    """`measure` on freshly drawn clips."""
    for number in numbers:
        scene = scenes.sample(7_000_000 + number)
        yield mark(number, scene, "", world.draw(scene, 97))


@dataclass(frozen=True)
class Rebuilt:
    """A clip that went through the VAE: PSNR in dB, and whether it still reads right."""

    question: int
    whole: float
    subject: float
    colour: bool
    shape: bool
    action: bool
    camera: bool


def films(studio: Studio, numbers: range) -> Iterator[Answer]:
    """One-segment films of the questions."""
    for asked in map(question, numbers):
        clip = studio.chain([asked.prompt], asked.seed)
        yield mark(asked.number, asked.scene, asked.prompt, clip)


@dataclass(frozen=True)
class ChainAnswer:
    """A long shot: is the first figure still there in the last second, and how big are the steps
    at seams compared with the steps around them (median; None where the motion is wrong)."""

    question: int
    colour: bool
    shape: bool
    seam: float | None


def chains(studio: Studio, numbers: range, segments: int) -> Iterator[ChainAnswer]:
    """Long shots of the questions, one prompt all along."""
    for asked in map(question, numbers):
        clip = studio.chain([asked.prompt] * segments, asked.seed)
        yield _long(asked, clip, studio)


def _long(asked: Question, clip: Clip, studio: Studio) -> ChainAnswer:
    end = measure.read(clip[-25:])
    figure = asked.scene.figures[0]
    found = end.of(figure.colour)
    start = measure.read(clip[: studio.window]).of(figure.colour)
    moves = start is not None and start.action == asked.scene.actions(0)[0]
    moves = moves and start is not None and start.action != "rest"
    return ChainAnswer(
        question=asked.number,
        colour=found is not None,
        shape=found is not None and found.shape == figure.shape,
        seam=seam_ratio(clip, studio.window, studio.overlap) if moves else None,
    )


def seam_ratio(clip: Clip, window: int, overlap: int) -> float:
    """Median over the seams of: step at the seam by the mean of the eight steps around it."""
    steps = np.abs(np.diff(clip.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    ratios = []
    for seam in range(window, len(clip), window - overlap):
        around = np.r_[steps[seam - 5 : seam - 1], steps[seam : seam + 4]]
        ratios.append(float(steps[seam - 1] / max(around.mean(), 1e-6)))
    return float(np.median(ratios))


@dataclass(frozen=True)
class TurnAnswer:
    """A figure goes left, then right: is the turn there, and after how many frames."""

    question: int
    turned: bool
    frames: int | None


def turns(studio: Studio, numbers: range) -> Iterator[TurnAnswer]:
    """Two-beat shots: left to right at the beat."""
    window, overlap = studio.window, studio.overlap
    for asked in map(question, numbers):
        words = np.random.default_rng([asked.number, 13])
        prompts = [captions.prompt(_going(asked.scene, way), 0, words) for way in ("left", "right")]
        clip = studio.chain(prompts, asked.seed)
        found = measure.read(clip[window - overlap :]).of(asked.scene.figures[0].colour)
        frames = None
        if found is not None:
            # The steps of the history, then new ones; a turn is the first of 8 frames to the right.
            ahead = found.x[8:] - found.x[:-8]
            after = np.flatnonzero(ahead[overlap:] > 1.0)
            frames = int(after[0]) if len(after) else None
        yield TurnAnswer(asked.number, frames is not None and frames <= TURNED_WITHIN, frames)


def _going(scene: world.Scene, way: str) -> world.Scene:
    figure = scene.figures[0]
    alone = world.Figure(figure.shape, figure.colour, 11.0, 60.0, 38.0)
    turn = (world.Turn(0, (way,)),)
    return world.Scene(scene.seed, (alone,), turn, scene.place, scene.light, "static", None)


def rebuilt(model: str, numbers: range) -> Iterator[Rebuilt]:
    """Held-out clips through the VAE and back, as the engine does it."""
    vae = load_model(ForcingConfig(model, dtype="float32")).vae
    for number in numbers:
        scene = scenes.sample(number, test=True)
        clip = world.draw(scene, 97)
        with torch.inference_mode():
            frames = [to_bytes(part) for part in vae.decode(vae.encode(clip))]
        again = np.concatenate(frames)
        boxes = [measure.psnr(a, b) for a, b in vae_stage.boxes(scene, 0, clip, again)]
        said = mark(number, scene, "", again)
        yield Rebuilt(
            question=number,
            whole=measure.psnr(clip, again),
            subject=float(np.mean(boxes)),
            colour=said.colour,
            shape=said.shape,
            action=said.action,
            camera=said.camera,
        )


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first question")
    parser.add_argument("--segments", type=int, default=10, help="of a chain")
    parser.add_argument("--pipeline", default="toybox")
    parser.add_argument("--set", action="append", default=[], help="of the profile")
    parser.add_argument("--out", type=Path, help="a CSV file")
    given = parser.parse_args(arguments)
    if given.first < 0 or given.count < 1:
        parser.error(f"--first {given.first} --count {given.count} asks for no question")
    if given.out is not None:
        try:
            given.out.parent.mkdir(parents=True, exist_ok=True)
            given.out.open("a", encoding="utf-8").close()
        except OSError as error:
            parser.error(f"--out {given.out} can't be written: {error.strerror}")
    try:
        rows = [asdict(answer) for answer in _answers(given)]
    except StoryflowError as error:
        raise SystemExit(str(error)) from error
    _report(rows, given.out)


def _answers(given: argparse.Namespace) -> Iterator[Any]:
    numbers = range(given.first, given.first + given.count)
    if given.part == "measure":
        return measured(numbers)
    profile = load_profile(given.pipeline, given.set)[1]
    if given.part == "vae":
        return rebuilt(profile.model.id, numbers)
    studio = Studio(kind_of(profile))
    if given.part == "chains":
        return chains(studio, numbers, given.segments)
    parts: dict[str, Callable[[Studio, range], Iterator[Any]]] = {
        "films": films,
        "turns": turns,
        "starts": starts,
        "ends": both_ends,
        "histories": histories,
    }
    return parts[given.part](studio, numbers)


def _report(rows: list[dict[str, object]], out: Path | None) -> None:
    for name in rows[0]:
        values = [row[name] for row in rows if row[name] is not None]
        if values and isinstance(values[0], bool):
            print(f"{name}: {sum(map(bool, values))} of {len(values)}")
        elif values and isinstance(values[0], float):
            print(f"{name}: median {np.median(np.asarray(values, float)):.2f} of {len(values)}")
    if out is not None:
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
