"""The retry table: what each kind of failure costs. The only place that decides it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from storyflow.errors import InfrastructureError, InputError, SegmentError


class WorkerDied(Exception):
    """A worker ended without an answer: killed, crashed or its machine lost."""


class OutOfMemory(WorkerDied):
    """A worker was ended because its machine had no memory left."""


class WorkerStuck(WorkerDied):
    """A worker was ended because nothing was heard of it for too long."""


class Verdict(Enum):
    """What to do about a failure."""

    FAIL = "the task is at fault: it fails at once"
    RETRY = "the same worker may try again"
    REPLACE = "the worker is replaced, the task goes back to the queue"
    ABORT = "the farm or the store is at fault: nothing new is begun"


@dataclass(frozen=True)
class Caps:
    """When trying again ends.

    `task`: attempts of one task. `worker`: deaths of one worker in a row before it is not replaced.
    `machine`: tasks in which workers of one machine died, in a row, before no worker is placed
    there again while another machine can hold one. A finished task ends a row.
    """

    task: int = 3
    worker: int = 4
    machine: int = 3


@dataclass(frozen=True)
class Judgement:
    """A verdict and the number of attempts that the task has."""

    verdict: Verdict
    attempts: int


def out_of_memory(error: BaseException) -> bool:
    """Whether a failure says that memory ran out, on the accelerator or in the machine."""
    # torch's is known by name: this module must not import torch.
    if type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, MemoryError | OutOfMemory)


_TABLE: tuple[tuple[Callable[[BaseException], bool], Verdict, int | None], ...] = (
    # A fresh process has unfragmented memory; a second failure means that the segment is too big.
    (out_of_memory, Verdict.REPLACE, 2),
    # Once may be the machine; a segment that hangs twice would hang for ever.
    (lambda e: isinstance(e, WorkerStuck), Verdict.REPLACE, 2),
    (lambda e: isinstance(e, WorkerDied), Verdict.REPLACE, None),
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


def given_up(error: BaseException, attempts: int) -> SegmentError:
    """What a task fails with after its last attempt."""
    times = "once" if attempts == 1 else f"{attempts} times"
    cure = ""
    if out_of_memory(error):
        cure = "make the frame smaller or the window shorter, or see `storyflow plan` for settings"
    wrapped = SegmentError(f"failed {times}, last with {describe(error)}", cure=cure)
    wrapped.__cause__ = error
    return wrapped


def describe(error: BaseException) -> str:
    """A failure in a few words."""
    text = str(error)
    if isinstance(error, OutOfMemory):
        return text
    if out_of_memory(error):
        return f"no memory left ({type(error).__name__}{': ' + text if text else ''})"
    if isinstance(error, WorkerStuck):
        return f"a stuck worker ({text})"
    if isinstance(error, WorkerDied):
        return f"a dead worker ({text})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
