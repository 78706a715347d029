"""Workers: plain classes with `setup()`, one verb and `close()`; they know nothing of Ray.

A worker reads its history from the store in the stored form, also when it rendered it a moment ago
itself, and stores what it makes before it answers. Frames stay in the worker.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from storyflow.errors import Cancelled, DamagedError, SegmentError
from storyflow.farm.jobs import (
    Job,
    Progress,
    PromptJob,
    Rendered,
    Role,
    SegmentJob,
    WorkerConfig,
)
from storyflow.farm.retries import WorkerDied
from storyflow.renderer import Given, History, Renderer, TextEncoder
from storyflow.store.artifacts import EMBEDDING, FRAMES, LATENTS, Artifact, Origin
from storyflow.store.clip import ClipWriter, read_clip
from storyflow.store.disk import telling
from storyflow.store.hashing import array_hash, digest_of, frame_hashes, latent_hashes
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
        """Render one segment."""
        assert isinstance(job, SegmentJob)
        try:
            return self.render(job, attempt)
        finally:
            self._progress = None

    def render(self, job: SegmentJob, attempt: int = 1) -> Rendered:
        """Render one segment into the store. Raises SegmentError, StoreError, Cancelled."""
        assert self._renderer is not None, "setup() comes first"
        if (found := self._store.find(job.key)) is not None:
            return Rendered(found, adopted=True)
        began = time.perf_counter()
        prompt = self._embedding(job.prompt_key)
        negative = self._embedding(job.negative_key)
        given = Given(self._history(job), self._picture(job.start_key), self._picture(job.end_key))
        if isinstance(self._renderer, Scripted):
            self._renderer.cue(job.name, attempt, self._die)
        with self._store.scratch("job") as folder, _Recorder(self, job, folder) as recorder:
            with pinned_threads(self._config.threads):
                self._renderer.render(job.spec, prompt, negative, given, recorder)
            files = recorder.finish()
            artifact = self._store.commit(
                key=job.key,
                recipe=job.recipe,
                kind="segment",
                digest=digest_of(recorder.frame_hashes),
                inputs=job.inputs,
                files=files,
                frames=tuple(recorder.frame_hashes),
                latents=recorder.latent_hashes,
                numerics=self._numerics,
                seconds=time.perf_counter() - began,
                worker=self._name,
                origin=origin_of(job, self._config, self._setup),
            )
        return Rendered(artifact)

    def progress(self) -> Progress | None:
        """How far the running segment is."""
        return self._progress

    def stop(self) -> None:
        """Make the running segment end with Cancelled at its next step or frames."""
        self._stopped.set()

    def close(self) -> None:
        """Unload the model."""
        self._embeddings.clear()
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def report(self, progress: Progress) -> None:
        """Note progress; raises Cancelled after `stop`."""
        self._progress = progress
        self.check_stopped()

    def check_stopped(self) -> None:
        """Raises Cancelled after `stop`."""
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
        import numpy as np

        pixels, latents = [], []
        for span in job.history:
            artifact = self._artifact(span.key)
            clip = self._store.path(artifact, FRAMES)
            hashes = artifact.frames[span.start : span.stop]
            pixels.append(read_clip(clip, span.start, span.stop, hashes))
            if span.latents is not None:
                first, last = span.latents
                stored = load_tensor(self._store.path(artifact, LATENTS))
                latents.append(stored[:, first:last])
        return History(
            pixels=np.concatenate(pixels),
            latents=np.concatenate(latents, axis=1) if latents else None,
        )

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


class _Recorder:
    """The sink of a segment: encodes and hashes frames while they arrive."""

    def __init__(self, worker: SegmentWorker, job: SegmentJob, folder: Path) -> None:
        self._worker = worker
        self._job = job
        self._clip = folder / FRAMES
        self._latents = folder / LATENTS
        self._writer = ClipWriter(self._clip, job.spec.width, job.spec.height, job.fps)
        self._closed = False
        self.frame_hashes: list[str] = []
        self.latent_hashes: tuple[str, ...] = ()

    def __enter__(self) -> _Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._closed:
            self._writer.__exit__(kind, error, trace)

    def frames(self, chunk: NDArray[np.uint8]) -> None:
        self._worker.check_stopped()
        with telling("write", self._clip):
            self._writer.write(chunk)
        self.frame_hashes += frame_hashes(chunk)

    def latents(self, chunk: NDArray[np.float32]) -> None:
        self._worker.check_stopped()
        with telling("write", self._latents):
            save_tensor(self._latents, chunk)
        self.latent_hashes = latent_hashes(chunk)

    def step(self, done: int, total: int) -> None:
        self._worker.report(Progress(self._job.name, done, total))

    def finish(self) -> dict[str, Path]:
        """Close the clip; the files to store. Raises SegmentError if anything is missing."""
        with telling("write", self._clip):
            self._writer.close()
        self._closed = True
        job, made = self._job, len(self.frame_hashes)
        if made != job.spec.new:
            raise SegmentError(f"{job.name}: the renderer made {made} frames, not {job.spec.new}")
        if not job.keeps_latents:
            return {FRAMES: self._clip}
        if not self.latent_hashes:
            raise SegmentError(f"{job.name}: the renderer gave no latents")
        return {FRAMES: self._clip, LATENTS: self._latents}


@contextmanager
def pinned_threads(threads: int) -> Iterator[None]:
    """Run torch, where it is loaded, on exactly this many threads: sums depend on their number."""
    if "torch" not in sys.modules:
        yield
        if "torch" in sys.modules:
            _set_threads(threads)
        return
    before = _set_threads(threads)
    try:
        yield
    finally:
        _set_threads(before)


def _set_threads(threads: int) -> int:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    return before


def _vanished(key: str, store: Store) -> DamagedError:
    return DamagedError(
        f"artifact {key} is no longer in {store}",
        cure="run the same command again to render it anew",
    )
