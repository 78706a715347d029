"""What the driver sends to workers and what comes back: small picklable values, never frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from storyflow.pipeline import Profile
from storyflow.renderer import ModelKind, SegmentSpec
from storyflow.store.artifacts import Artifact, StoredSpan
from storyflow.store.nonce import Nonce
from storyflow.store.place import CacheLimit
from storyflow.store.store import Store

Role = Literal["prompt", "segment"]
"""What a worker is for: encoding prompts or rendering segments."""


@dataclass(frozen=True)
class PromptJob:
    """Encode one text and store the embedding. `inputs` is the JSON text of its key."""

    name: str
    key: str
    text: str
    inputs: str


@dataclass(frozen=True)
class SegmentJob:
    """Render one segment and store it. `inputs` is the JSON text of its key.

    `start_key`, `end_key` and `clip_key` name what it is given of the author's files: a picture to
    start from, one to end on, a clip's last frames in the place of history.
    `history_digest` is the hash of the history that the key was made from, `tail` how many of its
    last frames the worker keeps for what continues it.
    """

    name: str
    key: str
    recipe: str
    spec: SegmentSpec
    fps: Fraction
    inputs: str
    prompt_key: str | None = None
    negative_key: str | None = None
    history: tuple[StoredSpan, ...] = ()
    history_digest: str | None = None
    start_key: str | None = None
    end_key: str | None = None
    clip_key: str | None = None
    keeps_latents: bool = False
    tail: int = 0


Job = PromptJob | SegmentJob


@dataclass(frozen=True)
class Rendered:
    """A job's artifact; `adopted` if another writer had stored it before this one began.

    Until it is `settled`, the artifact is what is on its way into the store, without its files.
    """

    artifact: Artifact
    adopted: bool = False
    settled: bool = True


@dataclass(frozen=True)
class Progress:
    """How far a worker is with a segment, in solver steps.

    `beats` grows with every step and every chunk of frames: a sign of life.
    """

    name: str
    done: int
    total: int
    beats: int = 0


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker is made from, wherever it runs.

    `kind` makes the model kind from profile and threads; None is storyflow's own list of kinds.
    `store` is a location that means the same on every machine, `cache` where content of a store
    that is no folder is kept. `nonce` was left in it: a worker that doesn't find it sees another
    store.
    """

    profile: Profile
    store: str
    threads: int = 1
    kind: Callable[[Profile, int], ModelKind] | None = None
    cache: CacheLimit = CacheLimit()  # noqa: RUF009 - frozen
    nonce: Nonce | None = None

    def check_store(self, store: Store) -> None:
        """Raise StoreError unless a worker's store is the driver's own and can be written."""
        if self.nonce is not None:
            self.nonce.find(store)
        store.check_writable()

    def model_kind(self) -> ModelKind:
        """The model kind, without loading anything."""
        if self.kind is not None:
            return self.kind(self.profile, self.threads)
        from storyflow.kinds import kind_of

        return kind_of(self.profile, threads=self.threads)
