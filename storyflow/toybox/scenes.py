"""Which scenes there are: a seed becomes a `Scene`, and some combinations are never trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from storyflow.toybox.places import PLACES
from storyflow.toybox.shapes import SHAPES
from storyflow.toybox.world import (
    ACTIONS,
    CAMERAS,
    COLOURS,
    LIGHTS,
    SIZES,
    Figure,
    Scene,
    Turn,
)

ZOOMED: Final = ("rest", "bounce", "circle")
"""What figures do while the camera zooms: a growing figure would look the same."""

PAIRED: Final = ("left", "right", "up", "down", "rest", "bounce", "grow", "shrink")
"""What the first of two figures does while the second rests; or they both do it, or swap."""

_RNG = np.random.Generator


def held_out(scene: Scene) -> bool:
    """Whether colour, shape, first action and place together are kept from training (one in ten).

    Every value of every attribute still occurs in training, only not in these combinations.
    """
    first = scene.figures[0]
    numbers = (
        tuple(COLOURS).index(first.colour),
        tuple(SHAPES).index(first.shape),
        ACTIONS.index(scene.turns[0].actions[0]),
        PLACES.index(scene.place),
    )
    return sum(a * b for a, b in zip(numbers, (7, 3, 9, 1), strict=True)) % 10 == 4


def sample(seed: int, *, turn_at: int | None = None, test: bool = False) -> Scene:
    """A scene that depends on `seed` alone: never a held-out one, or with `test` always one.

    With `turn_at` the figures change what they do at that frame.
    """
    rng = np.random.default_rng([seed, 11 if test else 10])
    while True:
        scene = _draw(rng, turn_at)
        if held_out(scene) == test:
            return scene


def _draw(rng: _RNG, turn_at: int | None) -> Scene:
    camera = "static" if rng.random() < 0.4 else str(rng.choice(CAMERAS[1:]))
    two = rng.random() < 0.35
    if "zoom" in camera:
        actions: tuple[str, ...] = (str(rng.choice(ZOOMED)),)
    elif two:
        actions = (str(rng.choice([*PAIRED, "swap", "swap"])),)
    else:
        actions = (str(rng.choice(ACTIONS[:-1])),)
    size = str(rng.choice(list(SIZES))) if rng.random() < 0.6 else None
    if actions[0] in ("grow", "shrink"):
        size = None
    if two and size == "close_up":
        size = "medium_shot"
    figures, doing = _figures(rng, actions[0], size, two, camera)
    turns = [Turn(0, doing)]
    if turn_at is not None and "zoom" not in camera and doing[0] not in ("grow", "shrink"):
        turns.append(Turn(turn_at, _turned(rng, doing)))
    return Scene(
        seed=int(rng.integers(1 << 30)),
        figures=figures,
        turns=tuple(turns),
        place=str(rng.choice(PLACES)),
        light=str(rng.choice(LIGHTS)),
        camera=camera,
        size=size,
        pace=float(rng.uniform(0.9, 1.1)),
    )


def _figures(
    rng: _RNG, action: str, size: str | None, two: bool, camera: str
) -> tuple[tuple[Figure, ...], tuple[str, ...]]:
    """Who is in the picture, with room for what they do; and what each does."""
    radius = SIZES[size] if size else float(rng.uniform(9, 14))
    if action == "grow":
        radius = float(rng.uniform(6.5, 8.5))
    elif action == "shrink":
        radius = float(rng.uniform(15.5, 18.0))
    if two:
        radius = min(radius, 12.0)
    if camera == "zoom out" or (two and "zoom" in camera):
        radius = min(radius, 10.0)
    if action == "shrink":
        radius = max(radius, 11.5)
    x = {
        "right": rng.uniform(14, 36),
        "left": rng.uniform(60, 82),
    }.get(action, rng.uniform(32, 64))
    y = {
        "up": rng.uniform(38, 48),
        "down": rng.uniform(14, 24),
        "bounce": rng.uniform(38, 44),
        "circle": rng.uniform(22, 28),
    }.get(action, rng.uniform(32, 42))
    shapes, colours = list(SHAPES), list(COLOURS)
    first = Figure(str(rng.choice(shapes)), str(rng.choice(colours)), radius, float(x), float(y))
    if not two:
        return (first,), (action,)
    side = int(rng.integers(2))
    if action not in ("left", "right"):
        first = replace(first, x=float((29, 67)[side] + rng.uniform(-3, 3)))
    other_x = {"left": 29.0, "right": 67.0}.get(action, 96.0 - first.x)
    colours.remove(first.colour)
    second = Figure(
        shape=str(rng.choice(shapes)),
        colour=str(rng.choice(colours)),
        radius=float(np.clip(radius * rng.uniform(0.85, 1.0), 7.5, 11.0)),
        x=float(other_x + rng.uniform(-2, 2)),
        y=float(rng.uniform(33, 42)),
    )
    both = action == "swap" or (action in ("bounce", "up", "down") and rng.random() < 0.5)
    if action == "swap":
        second = replace(second, y=first.y)
    elif both:
        second = replace(second, y=first.y + float(rng.uniform(-2, 2)))
    return (first, second), (action, action if both else "rest")


def _turned(rng: _RNG, doing: tuple[str, ...]) -> tuple[str, ...]:
    """Another action for the first figure, often the opposite one."""
    opposite = {"left": "right", "right": "left", "up": "down", "down": "up"}
    now = doing[0]
    if now in opposite and rng.random() < 0.5:
        new = opposite[now]
    else:
        options = [a for a in ("left", "right", "up", "down", "rest", "bounce") if a != now]
        new = str(rng.choice(options))
    return (new, *("rest" for _ in doing[1:]))
