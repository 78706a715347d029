"""Holding a run to one numerics class, for films whose bytes must be the same everywhere.

A key says nothing about the class, and what is stored is never overwritten. So where a key is taken
by an output of another class, the held class has a place of its own beside it: the *variant*, the
key with the class's hash behind it. Runs that are held to no class never look there.

Embeddings are made by other models than segments and have numerics classes of their own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from storyflow.errors import FarmError
from storyflow.farm.jobs import Job, Role, SegmentJob
from storyflow.store.artifacts import Artifact

Find = Callable[[str], Artifact | None]
"""Asks the store for the artifact of a key."""


def variant(name: str, numerics: str) -> str:
    """The place of a key's (or recipe's) output of one numerics class beside another's."""
    return f"{name}-{hashlib.sha256(numerics.encode()).hexdigest()[:16]}"


@dataclass
class Hold:
    """One numerics class for workers of one role; None until the first output or worker."""

    role: Role
    numerics: str | None = None

    def accepts(self, numerics: str) -> bool:
        """Whether this is the class; the first that is asked for becomes it, unless unrecorded."""
        if self.numerics is None:
            self.numerics = numerics or None
            return True
        return self.numerics == numerics

    def find(self, find: Find, key: str) -> tuple[Artifact | None, str]:
        """A key's output of this class, if there is one, and the key of its place."""
        artifact = find(key)
        if artifact is None or self.accepts(artifact.numerics):
            return artifact, key
        assert self.numerics is not None
        place = variant(key, self.numerics)
        return find(place), place

    def moved(self, job: Job) -> Job:
        """The job for the variant's place. Its recipe is one too: plans don't count on it."""
        assert self.numerics is not None
        place = variant(job.key, self.numerics)
        if isinstance(job, SegmentJob):
            return replace(job, key=place, recipe=variant(job.recipe, self.numerics))
        return replace(job, key=place)

    def check(self, worker: str, numerics: str) -> None:
        """Raises FarmError for a worker of another class."""
        if not self.accepts(numerics):
            raise FarmError(
                f"{worker} computes in the numerics class {numerics!r}, and the run is held to "
                f"{self.numerics!r}",
                cure="render on machines of that class, without --one-class, or into another store",
            )


@dataclass
class OneClass:
    """The holds of a run: its embeddings' class and its segments'."""

    prompt: Hold = field(default_factory=lambda: Hold("prompt"))
    segment: Hold = field(default_factory=lambda: Hold("segment"))

    def of(self, role: Role) -> Hold:
        """The hold of workers of this role."""
        return self.prompt if role == "prompt" else self.segment


def most_common(artifacts: Iterable[Artifact]) -> tuple[str, ...]:
    """The numerics classes of artifacts, those with the most first."""
    counts = Counter(artifact.numerics for artifact in artifacts)
    return tuple(sorted(counts, key=lambda name: (-counts[name], name)))
