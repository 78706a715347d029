"""Workers: plain classes with `setup()`, one verb and `close()`; they know nothing of Ray.

A worker reads its history in the stored form. What it rendered last it may still have in memory:
the same pixels and latents, hash by hash, on their way into the store while it goes on. Frames stay
in the worker.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from storyflow.errors import Cancelled, DamagedError
from storyflow.farm.jobs import (
    Job,
    Progress,
    PromptJob,
    Rendered,
    Role,
    SegmentJob,
    WorkerConfig,
)
from storyflow.farm.recorder import Recorder, Tail
from storyflow.farm.retries import WorkerDied
from storyflow.farm.storing import Storing
from storyflow.farm.threads import pinned_threads
from storyflow.planning.keys import history_digest
from storyflow.renderer import Given, History, Renderer, TextEncoder
from storyflow.store.artifacts import EMBEDDING, FRAMES, LATENTS, Artifact, Origin, StoredSpan
from storyflow.store.clip import read_clip
from storyflow.store.hashing import array_hash, digest_of
from storyflow.store.store import Store
from storyflow.store.tensors import load_tensor, save_tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EMBEDDINGS_KEPT = 4
"""Embeddings that a worker keeps in memory: the negative one and those of the last beats."""


class Worker(Protocol):
    """What a pool runs."""

    def setup(self) -> str:
        """Load the model; its numerics class. Raises ModelError, StoreError."""

    def run(self, job: Job, attempt: int) -> Rendered:
        """Do one job. Raises SegmentError, StoreError, Cancelled after `stop`."""

    def run_ahead(self, job: Job, attempt: int) -> Rendered:
        """As `run`, but answers as soon as the output is known; `settle` waits until it is stored.

        The worker may be given its next job in between.
        """

    def settle(self, key: str) -> Rendered:
        """Wait until an output is stored; from another thread. Raises StoreError."""

    def progress(self) -> Progress | None:
        """How far the running job is; may be called from another thread."""

    def stop(self) -> None:
        """Make the running job end with Cancelled soon; may be called from another thread."""

    def close(self) -> None:
        """Give the memory back."""


@runtime_checkable
class Scripted(Protocol):
    """A renderer that can be told what to pretend in the next segment."""

    def cue(self, name: str, attempt: int, die: Callable[[], None]) -> None:
        """`die` ends the worker."""


@runtime_checkable
class Classed(Protocol):
    """A text encoder that says what its last bits depend on."""

    def numerics(self) -> str:
        """Its numerics class, as a renderer's."""


def make_worker(role: Role, config: WorkerConfig, name: str, *, own_process: bool) -> Worker:
    """A worker for this role. `own_process` says whether it may be killed without the driver."""
    if role == "prompt":
        return PromptWorker(config, name)
    return SegmentWorker(config, name, own_process=own_process)


def origin_of(job: Job, config: WorkerConfig, setup: float) -> Origin:
    """What a job's artifact is made from, to be stored beside it."""
    profile = config.profile.model_dump_json()
    if isinstance(job, PromptJob):
        return Origin(job.name, profile, config.threads, setup)
    return Origin(
        name=job.name,
        profile=profile,
        threads=config.threads,
        setup=setup,
        fps=str(job.fps),
        prompt=job.prompt_key,
        negative=job.negative_key,
        history=job.history,
        start=job.start_key,
        end=job.end_key,
        clip=job.clip_key,
    )


class PromptWorker:
    """Encodes prompts and stores the embeddings."""

    def __init__(self, config: WorkerConfig, name: str) -> None:
        self._config = config
        self._name = name
        self._store = Store(config.store, config.cache)
        self._encoder: TextEncoder | None = None
        self._numerics = ""
        self._setup = 0.0

    def setup(self) -> str:
        """Load the text encoder."""
        self._config.check_store(self._store)
        began = time.perf_counter()
        factory = self._config.model_kind().text_encoder
        assert factory is not None, "this model kind encodes no prompts"
        self._encoder = factory()
        with pinned_threads(self._config.threads):
            self._encoder.setup()
            if isinstance(self._encoder, Classed):
                self._numerics = self._encoder.numerics()
        self._setup = time.perf_counter() - began
        return self._numerics

    def run(self, job: Job, attempt: int) -> Rendered:
        """Encode one text."""
        assert isinstance(job, PromptJob) and self._encoder is not None
        if (found := self._store.find(job.key)) is not None:
            return Rendered(found, adopted=True)
        began = time.perf_counter()
        with pinned_threads(self._config.threads):
            embedding = self._encoder.encode(job.text)
        with self._store.scratch("job") as folder:
            save_tensor(folder / EMBEDDING, embedding)
            artifact = self._store.commit(
                key=job.key,
                recipe=job.key,
                kind="prompt",
                digest=array_hash(embedding),
                inputs=job.inputs,
                files={EMBEDDING: folder / EMBEDDING},
                numerics=self._numerics,
                seconds=time.perf_counter() - began,
                worker=self._name,
                origin=origin_of(job, self._config, self._setup),
            )
        return Rendered(artifact)

    def run_ahead(self, job: Job, attempt: int) -> Rendered:
        """An embedding is small: it is stored at once."""
        return self.run(job, attempt)

    def settle(self, key: str) -> Rendered:
        """Nothing is ever under way."""
        raise KeyError(key)

    def progress(self) -> Progress | None:
        """A text is encoded in one step."""
        return None

    def stop(self) -> None:
        """A text is encoded in one step: nothing to stop in between."""

    def close(self) -> None:
        """Unload the text encoder."""
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None


class SegmentWorker:
    """Renders segments and stores them."""

    def __init__(self, config: WorkerConfig, name: str, *, own_process: bool) -> None:
        self._config = config
        self._name = name
        self._own_process = own_process
        self._store = Store(config.store, config.cache)
        self._renderer: Renderer | None = None
        self._numerics = ""
        self._setup = 0.0
        self._stopped = threading.Event()
        self._progress: Progress | None = None
        self._embeddings: dict[str, NDArray[np.float32]] = {}
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="encoding")
        self._storing = Storing()
        self._tail: Tail | None = None

    def setup(self) -> str:
        """Load the model."""
        self._config.check_store(self._store)
        began = time.perf_counter()
        self._renderer = self._config.model_kind().renderer()
        with pinned_threads(self._config.threads):
            self._renderer.setup()
            self._numerics = self._renderer.numerics()
        self._setup = time.perf_counter() - began
        return self._numerics

    def run(self, job: Job, attempt: int) -> Rendered:
        """Render one segment into the store."""
        rendered = self.run_ahead(job, attempt)
        return rendered if rendered.settled else self.settle(job.key)

    def run_ahead(self, job: Job, attempt: int) -> Rendered:
        """Render one segment and begin to store it."""
        assert isinstance(job, SegmentJob) and self._renderer is not None
        if (found := self._store.find(job.key)) is not None:
            return Rendered(found, adopted=True)
        try:
            return self._render(job, attempt)
        finally:
            self._progress = None

    def settle(self, key: str) -> Rendered:
        """Wait until a segment is stored."""
        return Rendered(self._storing.settle(key))

    def _render(self, job: SegmentJob, attempt: int) -> Rendered:
        assert self._renderer is not None
        began = time.perf_counter()
        prompt = self._embedding(job.prompt_key)
        negative = self._embedding(job.negative_key)
        given = Given(self._history(job), self._picture(job.start_key), self._picture(job.end_key))
        if isinstance(self._renderer, Scripted):
            self._renderer.cue(job.name, attempt, self._die)
        with ExitStack() as leaving:
            folder = leaving.enter_context(self._store.scratch("job"))
            with Recorder(job, folder, self._encoder, self._report, given.history) as recorder:
                with pinned_threads(self._config.threads):
                    self._renderer.render(job.spec, prompt, negative, given, recorder)
                files = recorder.finish()
            promised = Artifact(
                key=job.key,
                recipe=job.recipe,
                kind="segment",
                digest=digest_of(recorder.frame_hashes),
                blobs=(),
                inputs=job.inputs,
                frames=recorder.frame_hashes,
                latents=recorder.latent_hashes,
                numerics=self._numerics,
                seconds=time.perf_counter() - began,
                worker=self._name,
                origin=origin_of(job, self._config, self._setup),
                regained=recorder.comparison,
            )
            self._tail = recorder.tail()
            folders = leaving.pop_all()

        def store() -> Artifact:
            with folders:
                return self._store.commit(
                    key=promised.key,
                    recipe=promised.recipe,
                    kind=promised.kind,
                    digest=promised.digest,
                    inputs=promised.inputs,
                    files=files,
                    frames=promised.frames,
                    latents=promised.latents,
                    numerics=promised.numerics,
                    seconds=promised.seconds,
                    worker=promised.worker,
                    origin=promised.origin,
                    regained=promised.regained,
                )

        self._storing.put(job.key, store)
        return Rendered(promised, settled=False)

    def progress(self) -> Progress | None:
        """How far the running segment is."""
        return self._progress

    def stop(self) -> None:
        """Make the running segment end with Cancelled at its next step or frames."""
        self._stopped.set()

    def close(self) -> None:
        """Unload the model, once everything is stored."""
        self._storing.close()
        self._encoder.shutdown(wait=True)
        self._tail = None
        self._embeddings.clear()
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _report(self, progress: Progress) -> None:
        """Note progress; raises Cancelled after `stop`."""
        self._progress = progress
        if self._stopped.is_set():
            raise Cancelled("the run was stopped")

    def _artifact(self, key: str) -> Artifact:
        artifact = self._store.find(key)
        if artifact is None:
            raise _vanished(key, self._store)
        return artifact

    def _embedding(self, key: str | None) -> NDArray[np.float32] | None:
        if key is None:
            return None
        embedding = self._embeddings.pop(key, None)
        if embedding is None:
            artifact = self._artifact(key)
            path = self._store.path(artifact, EMBEDDING)
            embedding = load_tensor(path, artifact.digest)
        self._embeddings[key] = embedding  # the latest used is the last
        if len(self._embeddings) > EMBEDDINGS_KEPT:
            del self._embeddings[next(iter(self._embeddings))]
        return embedding

    def _history(self, job: SegmentJob) -> History | None:
        """The last frames before the segment, each checked against its hash."""
        if job.clip_key is not None:
            return History(self._media(job.clip_key))
        if not job.history:
            return None
        parts = [self._near(span) or self._far(span) for span in job.history]
        if not _fits(job, parts):
            # Another writer was faster, with other bits: the key tells of what is stored.
            parts = [self._far(span) for span in job.history]
        if not _fits(job, parts):
            raise RuntimeError(f"{job.name}: its history is not the one it was planned with")
        import numpy as np

        latents = [part.latents for part in parts if part.latents is not None]
        return History(
            pixels=np.concatenate([part.pixels for part in parts]),
            latents=np.concatenate(latents, axis=1) if latents else None,
        )

    def _near(self, span: StoredSpan) -> _Part | None:
        """A stretch of the segment that was just rendered; it may still be on its way."""
        tail = self._tail
        if tail is None or tail.key != span.key or tail.start > span.start:
            return None
        here = slice(span.start - tail.start, span.stop - tail.start)
        if span.latents is None:
            return _Part(tail.pixels[here], tail.frame_hashes[here])
        if tail.latents is None:
            return None
        stretch = slice(*span.latents)
        return _Part(tail.pixels[here], tail.latent_hashes[stretch], tail.latents[:, stretch])

    def _far(self, span: StoredSpan) -> _Part:
        """A stretch of a stored segment."""
        self._storing.wait(span.key)
        artifact = self._artifact(span.key)
        hashes = artifact.frames[span.start : span.stop]
        clip = self._store.path(artifact, FRAMES)
        pixels = read_clip(clip, span.start, span.stop, hashes)
        if span.latents is None:
            return _Part(pixels, hashes)
        stretch = slice(*span.latents)
        stored = load_tensor(self._store.path(artifact, LATENTS))
        return _Part(pixels, artifact.latents[stretch], stored[:, stretch])

    def _picture(self, key: str | None) -> NDArray[np.uint8] | None:
        """uint8 [height, width, 3]."""
        return None if key is None else self._media(key)[0]

    def _media(self, key: str) -> NDArray[np.uint8]:
        """What the driver read of an author's file, checked against its hashes."""
        artifact = self._artifact(key)
        clip = self._store.path(artifact, FRAMES)
        return read_clip(clip, 0, len(artifact.frames), artifact.frames)

    def _die(self) -> None:
        if self._own_process:
            os.kill(os.getpid(), signal.SIGKILL)
        raise WorkerDied("the worker died, as scripted")


@dataclass(frozen=True)
class _Part:
    """A stretch of history, with the hashes of what the key is made from."""

    pixels: NDArray[np.uint8]
    hashes: tuple[str, ...]
    latents: NDArray[np.float32] | None = None


def _fits(job: SegmentJob, parts: list[_Part]) -> bool:
    """Whether this is the history that the job's key was made from."""
    hashes = [name for part in parts for name in part.hashes]
    return job.history_digest in (None, history_digest(hashes))


def _vanished(key: str, store: Store) -> DamagedError:
    return DamagedError(
        f"artifact {key} is no longer in {store}",
        cure="run the same command again to render it anew",
    )
