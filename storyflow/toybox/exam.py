"""The questions that the trained toybox is asked; fixed before training, held out of it.

Question n is the same however many are asked. Its combination of colour, shape, action and place
was never trained on (`scenes.held_out`), and its prompt states every attribute.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from storyflow.toybox import captions, scenes
from storyflow.toybox.world import Scene


@dataclass(frozen=True)
class Question:
    """A prompt, the scene that it describes and the seed to render it with."""

    scene: Scene
    prompt: str
    seed: int


def questions(count: int) -> tuple[Question, ...]:
    """The first `count` questions."""
    return tuple(_question(number) for number in range(count))


def _question(number: int) -> Question:
    scene = scenes.sample(number, test=True)
    words = np.random.default_rng([number, 12])
    return Question(scene, captions.prompt(scene, 0, words, full=True), 1000 + number)
