"""Questions to a language model, and once more those whose answers can't be used."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from storyflow.errors import InputError
from storyflow.prompts.caption import ShotCaption, from_json
from storyflow.prompts.model import Answer, LanguageModel, Question, Refusal

T = TypeVar("T")

_CONTROL = re.compile(r"[\x00-\x1f]")


@dataclass(frozen=True)
class Manner:
    """How a task is asked: what the model is told first, and how it samples.

    `guided` holds the first answer to the schema, too; a second one is always held to it.
    """

    instructions: str
    max_tokens: int = 1024
    temperature: float = 0.0
    seed: int = 0
    guided: bool = True


@dataclass(frozen=True)
class Trouble:
    """A question without an answer that can be used, and why."""

    cause: str


def question(manner: Manner, user: str, schema: str | None = None) -> Question:
    """One question in this manner."""
    return Question(
        system=manner.instructions,
        user=user,
        schema=schema if manner.guided else None,
        max_tokens=manner.max_tokens,
        temperature=manner.temperature,
        seed=manner.seed,
    )


def ask_twice(
    model: LanguageModel,
    questions: Sequence[Question],
    read: Callable[[Answer], T],
    schema: str | None = None,
) -> list[T | Trouble]:
    """What `read` makes of the answers, in the order of the questions.

    An answer of which it raises InputError is asked for once more, all of them in one batch, with
    the reason, under `schema` and with more room where there was too little. What the engine
    refuses is not asked again. Raises EngineDied.
    """
    found: list[T | Trouble] = []
    again: list[tuple[int, Question]] = []
    for place, (asked, said) in enumerate(
        zip(questions, model.ask(questions) if questions else [], strict=True)
    ):
        made = _read(said, read)
        if isinstance(made, Trouble) and isinstance(said, Answer):
            again.append((place, _once_more(asked, said, made, schema)))
        found.append(made)
    if again:
        second = model.ask([asked for _, asked in again])
        for (place, _), said in zip(again, second, strict=True):
            found[place] = _read(said, read)
    return found


def read_caption(said: Answer) -> ShotCaption:
    """A structured caption from an answer. Raises InputError."""
    text = said.text.strip()
    if text.startswith("```"):
        # Chat models like to fence what they were asked to give bare.
        text = text.removeprefix("```json").removeprefix("```").removesuffix("```")
    # Guided engines let raw tabs and the like into texts of limited length; JSON doesn't.
    text = _CONTROL.sub(" ", text)
    try:
        return from_json(text)
    except InputError:
        if not said.finished:
            raise InputError("the answer was cut off before its end") from None
        raise


def _read(said: Answer | Refusal, read: Callable[[Answer], T]) -> T | Trouble:
    if isinstance(said, Refusal):
        return Trouble(said.cause)
    try:
        return read(said)
    except InputError as error:
        return Trouble(error.what)


def _once_more(asked: Question, said: Answer, made: Trouble, schema: str | None) -> Question:
    told = f"{asked.user}\n\nAn answer to this could not be used: {made.cause}. Answer in full."
    return replace(
        asked,
        user=told,
        schema=asked.schema or schema,
        max_tokens=asked.max_tokens if said.finished else 2 * asked.max_tokens,
        seed=asked.seed + 1,
    )
