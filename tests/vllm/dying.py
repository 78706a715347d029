"""vLLM in an actor that is killed in the middle of a batch, for as long as a file says so."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from storyflow.prompts.engines.vllm import VllmModel
from storyflow.prompts.model import Answer, Question, Refusal

MARK = "KILLED_ONCE"
"""Names the file; its absence is the death sentence."""


class DyingVllm(VllmModel):
    """The real engine; its process gets SIGKILL after three answers, once."""

    def answers(
        self, questions: Sequence[Question]
    ) -> Iterator[tuple[int, Answer | Refusal] | None]:
        """The answers until death."""
        mark = Path(self.name) / MARK
        count = 0
        for said in super().answers(questions):
            yield said
            count += said is not None
            if count == 3 and not mark.exists():
                mark.write_text(f"{os.getpid()}")
                os.kill(os.getpid(), signal.SIGKILL)
