"""The questions that the trained toybox is asked; fixed before training, held out of it.

The combination of colour, shape, action and place of each was never trained on (`scenes.held_out`),
and its prompt states every attribute.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from storyflow.toybox import captions, scenes
from storyflow.toybox.world import Scene


@dataclass(frozen=True)
class Question:
    """Its number, a prompt, the scene that it describes and the seed to render it with."""

    number: int
    scene: Scene
    prompt: str
    seed: int


def question(number: int) -> Question:
    """Question `number`."""
    scene = scenes.sample(number, test=True)
    words = np.random.default_rng([number, 12])
    return Question(number, scene, captions.prompt(scene, 0, words, full=True), 1000 + number)
