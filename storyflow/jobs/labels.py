"""What the cluster's job server keeps with a job, for the verbs that find it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from storyflow.jobs.server import ServerJob

_PREFIX = "storyflow."
FILM = f"{_PREFIX}film"
"""A job without this label is not storyflow's."""


@dataclass(frozen=True)
class Labels:
    """See JobHandle and JobStatus for what each one means."""

    film: str
    plan: str = ""
    attempt: int = 0
    store: str = ""
    title: str = ""
    sender: str = ""
    origin: str = ""

    def write(self) -> Mapping[str, str]:
        """As the server keeps them."""
        return {_PREFIX + name: str(value) for name, value in asdict(self).items()}

    @classmethod
    def read(cls, job: ServerJob) -> Labels:
        """The labels of a job; what is missing is empty."""
        found = {f.name: job.labels.get(_PREFIX + f.name, "") for f in fields(cls)}
        attempt = found.pop("attempt")
        return cls(**found, attempt=int(attempt) if attempt.isdigit() else 0)
