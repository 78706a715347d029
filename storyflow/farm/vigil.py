"""Notices an engine that hangs: too long without a sign of life, or too long over one batch.

Plain data; the clock is the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from storyflow.farm.retries import WorkerStuck
from storyflow.prompts.model import Question

BATCH_SECONDS = 600.0
"""What any batch may take."""

TOKENS_PER_SECOND = 20.0
"""What the slowest engine that is worth waiting for writes, over all questions of a batch: a large
model on a small GPU. A hundred times as many are usual."""


def batch_seconds(questions: Sequence[Question]) -> float:
    """How long a batch may take where nobody said it: long enough for every question to be answered
    at its full length, slowly."""
    tokens = sum(question.max_tokens for question in questions)
    return BATCH_SECONDS + tokens / TOKENS_PER_SECOND


class Vigil:
    """Watches one piece of an engine's work, from `now` on.

    `silence` is how many seconds it may give no sign of life, `most` how many it has in all.
    """

    def __init__(self, silence: float, most: float = math.inf, *, now: float) -> None:
        self._silence, self._most = silence, most
        self._began = self._heard = now

    def heard(self, now: float) -> None:
        """A sign of life."""
        self._heard = now

    def check(self, now: float) -> None:
        """Raise WorkerStuck once it has taken too long."""
        quiet, all_in_all = now - self._heard, now - self._began
        if quiet > self._silence:
            raise WorkerStuck(
                f"it gave no sign of life for {quiet:.0f} s, the limit is {self._silence:.0f} s"
            )
        if all_in_all > self._most:
            raise WorkerStuck(
                f"it has been at one batch for {all_in_all:.0f} s, the limit is {self._most:.0f} s"
            )
