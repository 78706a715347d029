"""A language model that says what a test wants, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from storyflow.prompts.model import Answer, EngineDied, Question, Refusal

Say = Callable[[Question], Answer | Refusal | str]


class Scripted:
    """Implements `LanguageModel`. `batches` are the questions of each call, `open` is its state."""

    name = "scripted"
    revision = "1"

    def __init__(self, say: Say) -> None:
        self._say = say
        self.batches: list[list[Question]] = []
        self.open = False

    @property
    def asked(self) -> list[Question]:
        """All questions so far."""
        return [question for batch in self.batches for question in batch]

    def setup(self) -> None:
        self.open = True

    def ask(self, questions: Sequence[Question]) -> list[Answer | Refusal]:
        self.batches.append(list(questions))
        said = [self._say(question) for question in questions]
        return [Answer(each, True) if isinstance(each, str) else each for each in said]

    def close(self) -> None:
        self.open = False


def dying(question: Question) -> str:
    """What to give `Scripted` for an engine that dies."""
    raise EngineDied("the engine died, as scripted")
