"""The border to a cluster's job server; `on_ray` implements it, tests have one in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Phase = Literal["pending", "running", "stopped", "succeeded", "failed"]


class JobExists(Exception):
    """The server has had a job of this id."""


@dataclass(frozen=True)
class ServerJob:
    """What the server knows of a job. Times are milliseconds since 1970 in UTC.

    `exit_code` is the command's own, negative for a signal; `message` is the server's words.
    """

    id: str
    phase: Phase
    labels: Mapping[str, str] = field(default_factory=dict)
    exit_code: int | None = None
    message: str = ""
    started: int | None = None
    ended: int | None = None


class JobServer(Protocol):
    """Runs commands on a cluster. Every method raises FarmError when the server can't be had."""

    def submit(
        self,
        id: str,
        command: Sequence[str],
        folder: Path,
        labels: Mapping[str, str],
        *,
        grace: int,
    ) -> None:
        """Send a folder and run a command in it; `grace` seconds pass from stop to kill.

        Raises JobExists for an id that was used before.
        """

    def find(self, id: str) -> ServerJob | None:
        """The job, or None."""

    def list(self) -> tuple[ServerJob, ...]:
        """Every job that the server remembers."""

    def stop(self, id: str) -> None:
        """Ask a job to end; returns at once. Harmless for one that has ended."""

    def log(self, id: str) -> str:
        """What the job has printed."""

    def tail(self, id: str) -> Iterator[str]:
        """What the job prints, piece by piece, from the beginning, until it has ended."""


def connect(address: str) -> JobServer:
    """The job server at a URL. Raises FarmError where none answers."""
    from storyflow.jobs.on_ray import RayJobs

    return RayJobs(address)
