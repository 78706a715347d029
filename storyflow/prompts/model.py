"""The border between prompts and language models: questions go in, answers come out.

Nothing here imports an engine. A language model may read pictures, too; a question that needs them
carries a `Clip`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

from storyflow.errors import InfrastructureError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames as a captioner sees them.

    `frames` is uint8 [T, height, width, 3], RGB, spread evenly over the clip; `fps` is the rate of
    these frames, not of the file they are from, and `seconds` the length of the clip.
    """

    frames: NDArray[np.uint8]
    fps: Fraction
    seconds: Fraction


@dataclass(frozen=True)
class Question:
    """One question to a language model, independent of all others.

    `schema` is the text of a JSON Schema that the answer is to be valid under; the model is guided
    by it where its engine can. Equal questions get equal answers at temperature 0.
    """

    system: str
    user: str
    schema: str | None = None
    clip: Clip | None = None
    max_tokens: int = 1024
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    """What the model said. `finished` is False when `max_tokens` cut it off."""

    text: str
    finished: bool


@dataclass(frozen=True)
class Refusal:
    """This question got no answer, for `cause`; the engine lives on."""

    cause: str


class EngineDied(InfrastructureError):
    """The engine is gone, and with it all questions that it had not answered."""


class LanguageModel(Protocol):
    """A language model behind whatever engine. `name` and `revision` tell which words it has."""

    @property
    def name(self) -> str:
        """Hub id, folder or the name that a server knows it by."""

    @property
    def revision(self) -> str:
        """Commit, tag or branch of the weights; empty where nobody said."""

    def setup(self) -> None:
        """Load the model or find the server.

        Raises ModelError (not this model, or an engine that is not installed), EngineDied.
        """

    def ask(self, questions: Sequence[Question]) -> list[Answer | Refusal]:
        """The answers, in the order of the questions, which go to the engine as one batch.

        Raises EngineDied.
        """

    def close(self) -> None:
        """Give the memory back. Harmless when already closed, or never set up."""
