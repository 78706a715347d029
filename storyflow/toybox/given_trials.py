"""What a model makes of what it is given: a first picture, a last one, a history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from storyflow.renderer import Given, History
from storyflow.toybox import measure, world
from storyflow.toybox.exam import Question, question
from storyflow.toybox.studio import Studio

Clip = NDArray[np.uint8]

NEAR: Final = 8.0
"""Pixels within which a figure is where a picture showed it."""
SOON: Final = 12
"""New frames that are looked at for continuity."""


@dataclass(frozen=True)
class StartAnswer:
    """Image to video: how near the first frame is to the given one in dB, and the action."""

    question: int
    first: float
    action: bool


def starts(studio: Studio, numbers: range) -> Iterator[StartAnswer]:
    """Films of the questions that begin with their drawn first frame."""
    for asked in map(question, numbers):
        picture = world.draw(asked.scene, 1)[0]
        clip = studio.segment(asked.prompt, Given(start=picture), asked.seed)
        found = measure.read(clip).of(asked.scene.figures[0].colour)
        right = found is not None and found.action == asked.scene.actions(0)[0]
        yield StartAnswer(asked.number, measure.psnr(picture, clip[0]), right)


@dataclass(frozen=True)
class EndsAnswer:
    """First and last frame: is the first figure where each of them shows it."""

    question: int
    first: bool
    last: bool
    both: bool


def both_ends(studio: Studio, numbers: range) -> Iterator[EndsAnswer]:
    """Films of the questions between two drawn frames, the second right after the film's end."""
    window = studio.window
    for asked in map(question, numbers):
        true = world.draw(asked.scene, window + 1)
        given = Given(start=true[0], end=true[-1])
        clip = studio.segment(asked.prompt, given, asked.seed)
        first, last = (_astray(asked, clip[i : i + 1], true[i : i + 1]) for i in (0, window - 1))
        yield EndsAnswer(asked.number, first <= NEAR, last <= NEAR, max(first, last) <= NEAR)


@dataclass(frozen=True)
class HistoryAnswer:
    """How far the figure is from where it would go on, after its own history and after another
    shot's, in pixels."""

    question: int
    better: bool
    own: float
    other: float


def histories(studio: Studio, numbers: range) -> Iterator[HistoryAnswer]:
    """Segments that continue drawn frames: the question's own, or those of the question before."""
    overlap = studio.overlap
    asked_all = [question(number) for number in numbers]
    drawn = [world.draw(asked.scene, overlap + SOON) for asked in asked_all]
    for place, asked in enumerate(asked_all):
        true = drawn[place][overlap:]
        away = [
            _astray(
                asked,
                studio.segment(asked.prompt, Given(History(history[:overlap].copy())), asked.seed)[
                    :SOON
                ],
                true,
            )
            for history in (drawn[place], drawn[place - 1])
        ]
        yield HistoryAnswer(asked.number, away[0] < away[1], *away)


def _astray(asked: Question, clip: Clip, true: Clip) -> float:
    """Mean distance of the first figure from where it should be; the picture's width in frames
    where only one of the two shows it."""
    colour = tuple(world.COLOURS).index(asked.scene.figures[0].colour)
    places = [measure.track(measure.colours_of(part) == colour) for part in (clip, true)]
    (x, y, _), (true_x, true_y, _) = places
    away = np.hypot(x - true_x, y - true_y)
    neither = np.isnan(x) & np.isnan(true_x)
    away = np.where(np.isnan(away), float(world.WIDTH), away)[~neither]
    return float(away.mean()) if len(away) else 0.0
