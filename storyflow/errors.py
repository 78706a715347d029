"""What can go wrong, split by what the user can do about it.

    StoryflowError
    ├── InputError            exit 1   change the file or the object that was given
    │   ├── StoryboardError            the storyboard (carries every Problem found)
    │   ├── ProfileError               a pipeline or cluster file, or a --set
    │   └── ModelError                 the model folder or hub id
    ├── SegmentError          exit 3   one segment can't be rendered; the rest of the film can
    ├── BudgetError           exit 4   a limit the user set was reached
    ├── InfrastructureError   exit 5   disk, store, Ray: repair it and run the same command again
    │   ├── StoreError
    │   │   └── DamagedError           one artifact; it was set aside and can be rendered again
    │   ├── FarmError
    │   └── CutError
    └── Cancelled             exit 130/143

Each message says what, where and the value; `cure` is the next thing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Problem:
    """One thing wrong with (or, as a notice, adjusted in) something a person wrote.

    `path` is the place in the data ("scenes.0.shots.2.size"), `line` and `column` count from 1 and
    are None for objects built in Python, `shot` is the shot's id where one is known.
    """

    code: str
    what: str
    path: str = ""
    value: object = None
    cure: str = ""
    file: str | None = None
    line: int | None = None
    column: int | None = None
    shot: str | None = None
    level: Literal["error", "notice"] = "error"

    def __str__(self) -> str:
        """`file:line:column: shot 1C: what, value, cure`."""
        place = ":".join(str(p) for p in (self.file, self.line, self.column) if p is not None)
        head = [place or self.path]
        if self.shot is not None:
            head.append(f"shot {self.shot}")
        tail = [self.what]
        if self.value is not None:
            shown = repr(self.value)
            tail.append(f"got {shown if len(shown) <= 120 else shown[:117] + '...'}")
        if self.cure:
            tail.append(self.cure)
        return ": ".join([h for h in head if h] + [", ".join(tail)])


class StoryflowError(Exception):
    """Base of all errors that storyflow raises on purpose."""

    exit_code = 1

    def __init__(self, what: str, *, cure: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.what}; {self.cure}" if self.cure else self.what


class InputError(StoryflowError):
    """Something that was given can't be used; nothing was rendered."""


class NoStoreError(InputError):
    """A store was named that isn't there; most likely it is spelt otherwise."""

    exit_code = 2


class _Problems(InputError):
    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))

    def __reduce__(self) -> tuple[type[_Problems], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


class StoryboardError(_Problems):
    """The storyboard is wrong; `problems` lists everything found."""


class ProfileError(_Problems):
    """A pipeline profile, a cluster file or a --set is wrong; `problems` lists everything found."""


class ModelError(InputError):
    """The model can't be loaded: wrong kind of folder, missing or unsafe files, unknown id."""


class SegmentError(StoryflowError):
    """One segment failed for good; what hangs on it is missing from the film."""

    exit_code = 3


class BudgetError(StoryflowError):
    """A budget or time window that the user set was reached."""

    exit_code = 4


class InfrastructureError(StoryflowError):
    """The machine, not the film, is at fault; the same command goes on after repair."""

    exit_code = 5


class BusyError(InfrastructureError):
    """Somebody else is at the same work already."""


class StoreError(InfrastructureError):
    """The store can't be read or written, or an artifact in it is damaged."""


class DamagedError(StoreError):
    """Stored content doesn't match its hashes. The same command renders it again."""


class LedgerError(InfrastructureError):
    """The ledger of a series can't be read or written."""


class FarmError(InfrastructureError):
    """Ray or its workers can't be had."""


class CutError(InfrastructureError):
    """The film can't be joined or written."""


class Cancelled(StoryflowError):
    """The user stopped the run; finished segments are in the store."""

    exit_code = 130
