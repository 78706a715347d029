"""The retry table: what each kind of failure costs. The only place that decides it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from storyflow.errors import InfrastructureError, InputError, SegmentError


class WorkerDied(Exception):
    """A worker ended without an answer: killed, crashed, its machine lost or out of memory."""


class Verdict(Enum):
    """What to do about a failure."""

    FAIL = "the task is at fault: it fails at once"
    RETRY = "the same worker may try again"
    REPLACE = "the worker is replaced, the task goes back to the queue"
    ABORT = "the farm or the store is at fault: nothing new is begun"


@dataclass(frozen=True)
class Caps:
    """Attempts of one task before it fails; deaths of one worker before it is not replaced."""

    task: int = 3
    worker: int = 4


@dataclass(frozen=True)
class Judgement:
    """A verdict and the number of attempts that the task has."""

    verdict: Verdict
    attempts: int


def _out_of_memory(error: BaseException) -> bool:
    # torch's is known by name: this module must not import torch.
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


_TABLE: tuple[tuple[Callable[[BaseException], bool], Verdict, int | None], ...] = (
    (lambda e: isinstance(e, WorkerDied), Verdict.REPLACE, None),
    # A fresh process has unfragmented memory; a second failure means that the segment is too big.
    (_out_of_memory, Verdict.REPLACE, 2),
    (lambda e: isinstance(e, SegmentError | InputError), Verdict.FAIL, None),
    (lambda e: isinstance(e, InfrastructureError), Verdict.ABORT, None),
    (lambda e: True, Verdict.RETRY, None),
)


def judge(error: BaseException, caps: Caps) -> Judgement:
    """Look a failure up."""
    for matches, verdict, attempts in _TABLE:
        if matches(error):
            return Judgement(verdict, min(caps.task, attempts or caps.task))
    raise AssertionError("the table's last row matches everything")
