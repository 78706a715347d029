"""Captions of toy scenes, in the varied words that authors of storyboards use.

A scene becomes a `ShotCaption`, and the storyboard's own composer makes the prose, so the toy model
learns the language of its prompts. What varies is chosen by a generator that the caller seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from storyflow.prompts.caption import ShotCaption, Subject
from storyflow.prompts.compose import compose
from storyflow.storyboard.grammar import move_prose
from storyflow.toybox.world import Figure, Scene

_RNG = np.random.Generator


@dataclass(frozen=True)
class Verb:
    """An action for one figure ("drifts"), for several ("drift"), and what follows ("left")."""

    one: str
    many: str
    tail: str = ""

    def said(self, several: bool) -> str:
        return f"{self.many if several else self.one} {self.tail}".strip()


def _verbs(pairs: str, *tails: str) -> tuple[Verb, ...]:
    made = []
    for pair in pairs.split(","):
        one, many = pair.strip().split("/")
        made += [Verb(one, many, tail) for tail in tails or ("",)]
    return tuple(made)


_GOING: Final = "moves/move, drifts/drift, glides/glide, slides/slide, travels/travel"
_AFOOT: Final = "walks/walk, runs/run, goes/go, wanders/wander, floats/float"

VERBS: Final[dict[str, tuple[Verb, ...]]] = {
    "left": _verbs(f"{_GOING}, {_AFOOT}", "left", "to the left", "to the left", "slowly left"),
    "right": _verbs(f"{_GOING}, {_AFOOT}", "right", "to the right", "to the right", "slowly right"),
    "up": (
        *_verbs("rises/rise, climbs/climb", "", "up", "into the sky", "slowly"),
        *_verbs("moves/move, floats/float, drifts/drift, flies/fly", "up", "upwards"),
    ),
    "down": (
        *_verbs("sinks/sink, falls/fall, descends/descend", "", "down", "slowly"),
        *_verbs("moves/move, floats/float, drifts/drift", "down", "downwards"),
    ),
    "rest": (
        *_verbs("rests/rest, waits/wait, sleeps/sleep, stays still/stay still"),
        *_verbs("stands still/stand still, sits still/sit still, sits quietly/sit quietly"),
    ),
    "bounce": (
        *_verbs("bounces/bounce, hops/hop, jumps/jump", "", "up and down", "in place", "happily"),
        *_verbs("leaps/leap", "up and down"),
    ),
    "circle": (
        *_verbs("moves/move, flies/fly, runs/run, goes/go", "in a circle", "in circles"),
        *_verbs("circles/circle", "", "around", "slowly"),
        *_verbs("loops/loop", "around"),
    ),
    "grow": (
        *_verbs("grows/grow", "", "larger", "bigger", "slowly"),
        *_verbs("gets/get", "bigger", "larger"),
        *_verbs("swells/swell, expands/expand"),
    ),
    "shrink": (
        *_verbs("shrinks/shrink", "", "slowly", "away"),
        *_verbs("gets/get, grows/grow", "smaller"),
        *_verbs("dwindles/dwindle"),
    ),
    "swap": (*_verbs("changes/change, swaps/swap, trades/trade, exchanges/exchange", "places"),),
}
SHAPE_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "circle": ("circle", "circle", "ball", "disc"),
    "square": ("square", "square", "box", "block"),
    "triangle": ("triangle", "triangle", "triangle", "pyramid"),
    "star": ("star",),
    "heart": ("heart",),
}
COLOUR_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "red": ("red", "red", "bright red", "scarlet"),
    "orange": ("orange", "orange", "bright orange"),
    "yellow": ("yellow", "yellow", "golden"),
    "green": ("green", "green", "bright green"),
    "teal": ("teal", "teal", "cyan", "turquoise"),
    "blue": ("blue", "blue", "deep blue"),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink", "pink", "bright pink", "magenta"),
}
PLACE_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "meadow": (
        "meadow",
        "green meadow",
        "grassy field",
        "meadow with trees",
        "meadow with round trees and flowers",
        "green hills",
        "grassy hills with trees",
    ),
    "desert": (
        "desert",
        "sandy desert",
        "desert with cactus",
        "sand dunes",
        "desert of sand dunes",
        "dunes and cactus",
    ),
    "sea": (
        "the sea",
        "the open sea",
        "calm sea",
        "the ocean",
        "sea with boats",
        "sea with small white boats",
        "calm ocean with boats",
    ),
    "city": (
        "city",
        "city street",
        "city skyline",
        "town with tall buildings",
        "street in a city",
        "city of tall towers",
    ),
    "snow": (
        "snow",
        "snowy hills",
        "snowfield",
        "winter landscape",
        "snow hills with trees",
        "snowy hills with dark trees",
        "winter hills",
    ),
}
LIGHT_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "day": (
        "day",
        "daylight",
        "bright daylight",
        "clear daylight",
        "a sunny day",
        "bright sunlight",
        "midday sun",
        "sunny morning",
    ),
    "dusk": (
        "dusk",
        "dusk",
        "warm dusk",
        "sunset",
        "warm evening light",
        "evening glow",
        "a low warm sun",
        "twilight",
        "sunrise",
        "dawn",
        "golden hour",
    ),
    "night": (
        "night",
        "night",
        "moonlight",
        "cold moonlight",
        "a starry night",
        "dark night with stars",
        "midnight",
    ),
}
IN_PLACE: Final[dict[str, str]] = {
    "day": "by day",
    "dusk": "at dusk",
    "night": "at night",
}
MOVES: Final[dict[str, tuple[str, ...]]] = {
    "static": ("static", "locked", "still", "fixed", "the camera holds still"),
    "pan left": ("pan left", "pan left", "slow pan left", "camera panning left"),
    "pan right": ("pan right", "pan right", "slow pan right", "camera panning right"),
    "tilt up": ("tilt up", "tilt up", "slow tilt up", "camera tilting up"),
    "tilt down": ("tilt down", "tilt down", "slow tilt down", "camera tilting down"),
    "zoom in": ("zoom in", "zoom in", "slow zoom in", "push in", "camera zooming in"),
    "zoom out": ("zoom out", "zoom out", "slow zoom out", "pull out", "camera zooming out"),
}
STYLES: Final = ("flat animation", "simple cartoon", "a clean cartoon", "paper animation")
MOODS: Final = ("happy", "lonely", "curious", "playful", "shy", "brave", "cheerful", "weary")
"""Adjectives that change nothing in the picture; the tokenizer knows only some of them."""


def prompt(scene: Scene, frame: int, rng: _RNG, *, full: bool = False) -> str:
    """The composed prose of a caption for what happens from `frame` on."""
    return compose(caption(scene, frame, rng, full=full))


def caption(scene: Scene, frame: int, rng: _RNG, *, full: bool = False) -> ShotCaption:
    """A structured caption, in words that `rng` chooses.

    With `full` every attribute is stated; otherwise place, light, size and a still camera are
    sometimes left out, as authors do.
    """
    told = full or rng.random() < 0.5
    place = told or rng.random() < 0.85
    light = told or rng.random() < 0.7
    moving = scene.camera != "static"
    move = (full and moving) or rng.random() < (0.95 if moving else 0.35)
    size = scene.size if rng.random() < 0.8 else None
    # Short prompts put place and light into the sentence: "a red star rests in a meadow at night".
    short = not full and rng.random() < 0.2
    subjects = _subjects(scene, frame, rng, told_size=size is not None)
    where = _article(_pick(rng, PLACE_WORDS[scene.place]))
    if short:
        tail = f" {_pick(rng, ('in', 'over', 'across'))} {where}" if place else ""
        tail += f" {IN_PLACE[scene.light]}" if light else ""
        subjects = _with_tail(subjects, tail)
        place = light = False
    elif light and rng.random() < 0.15:
        where, light = f"{where} {IN_PLACE[scene.light]}", rng.random() < 0.5
        place = True
    return ShotCaption(
        subjects=subjects,
        shot_type=size,
        shot_angle="eye_level" if rng.random() < 0.1 else None,
        shot_position="front_view" if rng.random() < 0.1 else None,
        camera_motion=move_prose(_pick(rng, MOVES[scene.camera])) if move else "",
        environment=where if place else "",
        lighting=_pick(rng, LIGHT_WORDS[scene.light]) if light else "",
        style=_pick(rng, STYLES) if rng.random() < 0.08 else "",
    )


def _subjects(scene: Scene, frame: int, rng: _RNG, *, told_size: bool) -> tuple[Subject, ...]:
    doing = scene.actions(frame)
    names = [_name(figure, rng, told_size) for figure in scene.figures]
    verbs = [_pick(rng, VERBS[action]) for action in doing]
    if len(names) == 1:
        return (_one(names[0], verbs[0].said(False), rng, main=True),)
    if doing[0] == doing[1]:
        order = names if rng.random() < 0.7 else names[::-1]
        if doing[0] == "swap" and rng.random() < 0.3:
            clause = f"{order[0]} {verbs[0].said(False)} with {order[1]}"
        else:
            clause = f"{order[0]} and {order[1]} {verbs[0].said(True)}"
        return (Subject(action=clause, is_main_subject=True),)
    form = rng.random()
    if form < 0.35:
        clause = f"{names[0]} {verbs[0].said(False)} while {names[1]} {verbs[1].said(False)}"
        return (Subject(action=clause, is_main_subject=True),)
    if form < 0.55:
        beside = _pick(rng, ("beside", "near", "next to", "past", "in front of"))
        clause = f"{names[0]} {verbs[0].said(False)} {beside} {names[1]}"
        return (Subject(action=clause, is_main_subject=True),)
    first = _one(names[0], verbs[0].said(False), rng, main=True)
    if form < 0.8:
        return (first, _one(names[1], verbs[1].said(False), rng, main=False))
    return (first, Subject(appearance=names[1]))


def _one(name: str, does: str, rng: _RNG, *, main: bool) -> Subject:
    if rng.random() < 0.6:
        return Subject(action=f"{name} {does}", is_main_subject=main)
    return Subject(appearance=name, action=does, is_main_subject=main)


def _name(figure: Figure, rng: _RNG, told_size: bool) -> str:
    pieces = [_pick(rng, COLOUR_WORDS[figure.colour]), _pick(rng, SHAPE_WORDS[figure.shape])]
    if not told_size and rng.random() < 0.4:
        if figure.radius < 9.5:
            pieces.insert(0, _pick(rng, ("small", "little", "tiny")))
        elif figure.radius > 14.5:
            pieces.insert(0, _pick(rng, ("big", "large")))
    if rng.random() < 0.12:
        pieces.insert(0, _pick(rng, MOODS))
    return _article(" ".join(pieces))


def _with_tail(subjects: tuple[Subject, ...], tail: str) -> tuple[Subject, ...]:
    first = subjects[0]
    if not tail or not first.action:
        return subjects
    longer = Subject(
        appearance=first.appearance,
        action=first.action + tail,
        is_main_subject=first.is_main_subject,
    )
    return (longer, *subjects[1:])


_BARE: Final = (
    "the ",
    "a ",
    "snow",
    "sand ",
    "dunes",
    "green hills",
    "grassy hills",
    "winter hills",
)


def _article(text: str) -> str:
    if text.startswith(_BARE) and not text.startswith("snowfield"):
        return text
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"


def _pick(rng: _RNG, options: tuple[Verb, ...] | tuple[str, ...]) -> Any:
    return options[int(rng.integers(len(options)))]
