"""The dispatcher's borders: what it runs on, what it asks, what it tells, what it ends with."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

Job = TypeVar("Job")
Output = TypeVar("Output")
_Job = TypeVar("_Job", contravariant=True)


class OtherOutput(Exception):
    """Another writer was faster: what is stored for the job is `output`, not what was promised."""

    def __init__(self, output: object) -> None:
        super().__init__("another writer's output is stored")
        self.output = output


@dataclass(frozen=True)
class Started:
    """A worker is ready: its numerics class, the machine it runs on, and how long it loaded.

    `machine` is empty where there is only one. `seconds` leaves out the wait for a place.
    """

    numerics: str
    machine: str = ""
    seconds: float = 0.0


class Pool(Protocol[_Job, Output]):
    """Workers by name; how and where they run is the pool's own affair."""

    async def workers(self) -> tuple[str, ...]:
        """The names of the workers that can be had; asked once, when there is first work.

        Raises FarmError when there can be none.
        """

    async def start(self, worker: str, avoid: frozenset[str]) -> Started:
        """Get a fresh worker and load its model; not on the machines `avoid`, if others can do.

        Raises WorkerDied, FarmError when it can't be had, ModelError.
        """

    def submit(self, worker: str, job: _Job, attempt: int) -> Awaitable[Output]:
        """Do the job. Raises WorkerDied, or what the job raised."""

    def settle(self, worker: str, output: Output) -> Awaitable[Output] | None:
        """What the worker's last output is once it is stored; None if it is stored already.

        The worker may be given its next job meanwhile. Raises as `submit` does, and OtherOutput.
        """

    async def release(self, worker: str) -> None:
        """Let an idle worker unload its model and end it; what it held is free afterwards."""

    async def kill(self, worker: str) -> None:
        """End the worker now, whatever it is doing; harmless when it is dead."""

    async def close(self) -> None:
        """End all workers in order."""


@dataclass(frozen=True)
class Reuse(Generic[Output]):
    """The task's output exists already."""

    output: Output


@dataclass(frozen=True)
class Do(Generic[Job]):
    """The task must be done by a worker."""

    job: Job


@dataclass(frozen=True)
class WorkerUp:
    """A worker is ready for work."""

    worker: str
    numerics: str


@dataclass(frozen=True)
class WorkerDown:
    """A worker is lost; `task` is what it was doing."""

    worker: str
    task: str | None
    cause: str


@dataclass(frozen=True)
class WorkerRested:
    """An idle worker is let go; it may be started again."""

    worker: str


@dataclass(frozen=True)
class MachineLeft:
    """A machine on which worker after worker died gets no more of them."""

    machine: str
    deaths: int


@dataclass(frozen=True)
class TaskStarted:
    """A worker began a task."""

    task: str
    worker: str
    attempt: int


@dataclass(frozen=True)
class TaskRetried:
    """An attempt failed; the task is in the queue again."""

    task: str
    worker: str
    attempt: int
    error: BaseException


@dataclass(frozen=True)
class TaskPromised(Generic[Output]):
    """A task's output is known, and on its way into the store."""

    task: str
    output: Output


@dataclass(frozen=True)
class TaskDone(Generic[Output]):
    """A task's output exists; `worker` is None where it existed before."""

    task: str
    output: Output
    worker: str | None
    seconds: float


@dataclass(frozen=True)
class TaskFailed:
    """A task failed for good after so many attempts; `blocked` are the tasks that hang on it."""

    task: str
    error: BaseException
    blocked: tuple[str, ...]
    attempts: int = 0


@dataclass
class Outcome:
    """How a film's tasks ended. `outputs` names the tasks that have one; whose is neither there nor
    among the failures was not begun (drained or aborted).

    `worker_seconds` is the time that workers were held for the film: loading, idle, failed and lost
    work too; `useful_seconds` the part that ended in an output. `error` is the reason where the
    farm or the store broke down, or a limit was reached.
    """

    outputs: set[str] = field(default_factory=set)
    failures: list[TaskFailed] = field(default_factory=list)
    worker_seconds: float = 0.0
    useful_seconds: float = 0.0
    complete: bool = False
    error: BaseException | None = None
