"""Thin shots become full ones: a language model completes what the storyboard leaves open.

One question for each beat. All answers are captions under one schema, a broken one costs one beat,
and when one beat is edited no other is written anew. What must agree is carried from answer to
answer instead: first the first beat of each scene is written, then the first of every other shot
in view of it, then the rest in view of their shot's first. Each of these waves is one batch over
the whole film.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from storyflow.errors import Problem
from storyflow.prompts.asking import Manner, Trouble, ask_twice, question, read_caption
from storyflow.prompts.caption import ShotCaption
from storyflow.prompts.model import LanguageModel
from storyflow.prompts.neighbours import BeatKey, Context, Surroundings
from storyflow.prompts.schema import caption_schema
from storyflow.storyboard.resolved import ResolvedFilm, ResolvedShot


@dataclass(frozen=True)
class Proposals:
    """Captions that the model proposes, by beat, and a notice for each beat that has none.

    A proposal is what a model said: it may lack or contradict what the storyboard states.
    """

    captions: Mapping[BeatKey, ShotCaption]
    problems: tuple[Problem, ...] = ()


def enhance(
    film: ResolvedFilm,
    model: LanguageModel,
    manner: Manner,
    *,
    beats: Collection[BeatKey] | None = None,
    context: Context | None = None,
    alone: bool = False,
) -> Proposals:
    """A proposal for each of the `beats`, or for all of the film.

    `context` holds captions that are already written, and what the captioner has seen; `alone`
    treats every shot as a film of its own. An answer that can't be used is asked for once more,
    then given up: the beat is missing from the captions. Raises EngineDied, StoryboardError.
    """
    context = context or Context()
    told = Surroundings(film, context, alone=alone)
    everything = [(shot, number) for shot in film.shots for number in range(len(shot.beats))]
    wanted = [
        (shot, number) for shot, number in everything if beats is None or (shot.id, number) in beats
    ]
    asked = {(shot.id, number) for shot, number in wanted}
    known = {key: said for key, said in context.written.items() if key not in asked}
    found: dict[BeatKey, ShotCaption] = {}
    problems: dict[BeatKey, Problem] = {}
    for wave in _waves(wanted, told, known):
        models = [_models(shot, number, told, known | found) for shot, number in wave]
        questions = [
            question(manner, told.tell(shot, number, each), caption_schema())
            for (shot, number), each in zip(wave, models, strict=True)
        ]
        answers = ask_twice(model, questions, read_caption, caption_schema())
        for (shot, number), said in zip(wave, answers, strict=True):
            if isinstance(said, Trouble):
                problems[shot.id, number] = _problem(shot, number, said)
            else:
                found[shot.id, number] = said
    order = [(shot.id, number) for shot, number in wanted]
    return Proposals(
        captions={key: found[key] for key in order if key in found},
        problems=tuple(problems[key] for key in order if key in problems),
    )


def _waves(
    wanted: list[tuple[ResolvedShot, int]], told: Surroundings, known: Mapping[BeatKey, ShotCaption]
) -> Iterator[list[tuple[ResolvedShot, int]]]:
    """The beats in the order in which they are asked about, batch by batch."""
    begun = {shot for shot, _ in known}
    opened: set[str] = set()
    second: set[str] = set()
    waves: tuple[list[tuple[ResolvedShot, int]], ...] = ([], [], [])
    for shot, number in wanted:
        if all(each.id not in begun and each.id not in opened for each in told.scene(shot)):
            opened.add(shot.id)
            waves[0].append((shot, number))
        elif shot.id in opened or shot.id in begun or shot.id not in second:
            second.add(shot.id)
            waves[1].append((shot, number))
        else:
            waves[2].append((shot, number))
    return (wave for wave in waves if wave)


def _models(
    shot: ResolvedShot, number: int, told: Surroundings, written: Mapping[BeatKey, ShotCaption]
) -> dict[str, ShotCaption]:
    """Captions that this beat is to agree with: its own shot's, and the first of its scene."""
    models: dict[str, ShotCaption] = {}
    own = [n for n in range(len(shot.beats)) if n != number and (shot.id, n) in written]
    if own:
        nearest = min(own, key=lambda n: (n > number, abs(n - number)))
        models["another moment of this shot"] = written[shot.id, nearest]
    for each in told.scene(shot):
        first = next((n for n in range(len(each.beats)) if (each.id, n) in written), None)
        if each.id != shot.id and first is not None:
            models["another shot of this scene"] = written[each.id, first]
            break
    return models


def _problem(shot: ResolvedShot, number: int, trouble: Trouble) -> Problem:
    beat = shot.beats[number]
    which = f"beat {number + 1}" if len(shot.beats) > 1 else "the shot"
    return Problem(
        code="not-enhanced",
        what=f"the enhancer gave no description of {which} that can be used: {trouble.cause}",
        cure="the storyboard's own words stand in; run storyflow prompts to ask again",
        file=beat.where.file,
        line=beat.where.line,
        shot=shot.id,
        level="notice",
    )
