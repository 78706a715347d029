"""What the verbs about jobs take and return: frozen values, with nothing of Ray in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from storyflow.jobs.merge import Conflict

State = Literal["waiting", "running", "complete", "partial", "failed", "cancelled"]
"""Waiting for the cluster, at work, or how it ended; a partial film lacks some shots."""

LIVE: tuple[State, ...] = ("waiting", "running")


@dataclass(frozen=True)
class JobHandle:
    """One attempt at rendering one plan of a film on one cluster.

    `film` is the film's name on the cluster, `plan` 12 hex digits of what it shows and how it is
    rendered, `attempt` counts from 1, and `id` is made of the three. `address` is the URL of the
    cluster's job API, `store` the folder or URL of the store that both sides see. `storyboard` is
    the file here that it was made from, None for a film that was made in Python or submitted
    elsewhere; `folder` is where `fetch` puts the film. `submitted` is False where an attempt of
    the same plan was found and nothing new was begun.
    """

    id: str
    film: str
    plan: str
    attempt: int
    address: str
    store: str
    folder: Path
    storyboard: Path | None = None
    submitted: bool = False


@dataclass(frozen=True)
class JobStatus:
    """How far a job is.

    `exit_code` is None while it lives, then what `storyflow render` would have ended with:
    0 complete, 1 refused input, 3 partial, 4 budget, 5 infrastructure, 143 cancelled. `message` is
    one line about an end that isn't complete. `sender` is USER@HOST of who submitted it, `origin`
    the storyboard's path there. Times are in UTC, None where the cluster doesn't say.
    """

    job: JobHandle
    state: State
    exit_code: int | None = None
    message: str = ""
    title: str = ""
    sender: str = ""
    origin: str = ""
    started: datetime | None = None
    ended: datetime | None = None

    @property
    def live(self) -> bool:
        """Whether it waits or is at work."""
        return self.state in LIVE


@dataclass(frozen=True)
class Fetched:
    """What `fetch` brought. `film` and `manifest` are None where the job made none.

    `lock` is the lock that was brought up to date, or None where that was not done: the job was
    fetched without its storyboard, or there are `conflicts`. Then the film's own lock is
    `film_lock`, in the film's folder.
    """

    job: JobHandle
    complete: bool
    film: Path | None
    manifest: Path | None
    files: tuple[Path, ...]
    film_lock: Path
    lock: Path | None = None
    conflicts: tuple[Conflict, ...] = ()
