"""Models that are asked nothing more once the work is to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from storyflow.prompts.model import Answer, LanguageModel, Question, Refusal
from storyflow.prompts.write import Writers


@dataclass(frozen=True)
class CheckedWriters:
    """Implements `Writers` with others, calling `check` before every batch of questions.

    What `check` raises ends the work; the models are closed on the way.
    """

    writers: Writers
    check: Callable[[], None]

    @contextmanager
    def language(self) -> Iterator[LanguageModel]:
        """The enhancer and fuser."""
        with self.writers.language() as model:
            yield _Checked(model, self.check)

    @contextmanager
    def vision(self) -> Iterator[LanguageModel]:
        """The captioner."""
        with self.writers.vision() as model:
            yield _Checked(model, self.check)


@dataclass(frozen=True)
class _Checked:
    model: LanguageModel
    check: Callable[[], None]

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def revision(self) -> str:
        return self.model.revision

    def setup(self) -> None:
        self.model.setup()

    def ask(self, questions: Sequence[Question]) -> list[Answer | Refusal]:
        self.check()
        return self.model.ask(questions)

    def close(self) -> None:
        self.model.close()
