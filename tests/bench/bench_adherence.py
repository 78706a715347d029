"""What the composer's full structure is worth: the same shots asked for in three ways.

    python tests/bench/bench_adherence.py --shots 24 --out /tmp/adherence.csv

Each exam question of the toybox is rendered from one seed with three prompts: `thin` says only what
the figures look like and do, `typed` has all that a storyboard states as words with commas between
them, `composed` the same facts as the composer writes them. What is seen is read from the pixels.
The command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from storyflow.forcing.config import ForcingConfig
from storyflow.pipeline import load_profile
from storyflow.prompts.caption import ShotCaption
from storyflow.prompts.compose import compose
from storyflow.toybox import captions
from storyflow.toybox.evaluate import Answer, mark
from storyflow.toybox.exam import question
from storyflow.toybox.studio import Studio

SEEN = ("colour", "shape", "action", "camera", "place", "light")


def prompts(number: int) -> dict[str, str]:
    """The three prompts of a question, from one structured caption."""
    scene = question(number).scene
    told = captions.caption(scene, 0, np.random.default_rng([number, 12]), full=True)
    return {
        "thin": compose(ShotCaption(subjects=told.subjects)),
        "typed": typed(told),
        "composed": compose(told),
    }


def typed(told: ShotCaption) -> str:
    """The facts of a caption in a row, as tags."""
    facts = [word for each in told.subjects for word in (each.appearance, each.action)]
    facts += [told.environment, told.lighting, told.camera_motion]
    size = (told.shot_type or "").replace("_", " ")
    return ", ".join(fact for fact in (size, *facts) if fact)


def answers(studio: Studio, count: int, done: set[tuple[int, str]]) -> Iterator[tuple[str, Answer]]:
    """One film per question and way of asking, those that are `done` left out."""
    for number in range(count):
        asked = question(number)
        for way, prompt in prompts(number).items():
            if (number, way) not in done:
                clip = studio.chain([prompt], asked.seed)
                yield way, mark(number, asked.scene, prompt, clip)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, default=24)
    parser.add_argument("--out", type=Path, required=True, help="a CSV file")
    parser.add_argument("--model", help="a Diffusers folder in place of the shipped weights")
    given = parser.parse_args()
    sampler = load_profile("toybox")[1].forcing
    config = ForcingConfig(
        model=given.model or "toybox",
        dtype="float32",
        steps=sampler.steps,
        guidance=sampler.guidance,
        shift=sampler.shift,
        history_noise=sampler.history_noise,
    )
    rows: list[dict[str, str]] = []
    if given.out.exists():
        with given.out.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    done = {(int(row["question"]), row["way"]) for row in rows}
    with given.out.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["way", "question", "prompt", *SEEN])
        if not rows:
            writer.writeheader()
        for way, answer in answers(Studio(config), given.shots, done):
            row = {"way": way, **{name: str(value) for name, value in asdict(answer).items()}}
            writer.writerow(row)
            file.flush()
            rows.append(row)
    for way in ("thin", "typed", "composed"):
        mine = [row for row in rows if row["way"] == way and int(row["question"]) < given.shots]
        right = [f"{name} {sum(row[name] == 'True' for row in mine)}" for name in SEEN]
        print(f"{way:9} of {len(mine)}: {', '.join(right)}")


if __name__ == "__main__":
    main()
