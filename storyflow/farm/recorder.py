"""Takes what a renderer makes: encodes and hashes frames in a thread while more are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from storyflow.errors import SegmentError
from storyflow.farm.comparison import Comparison
from storyflow.farm.jobs import Progress, SegmentJob
from storyflow.renderer import History
from storyflow.store.artifacts import FRAMES, LATENTS, Regained
from storyflow.store.clip import ClipWriter
from storyflow.store.disk import telling
from storyflow.store.hashing import frame_hashes, latent_hashes
from storyflow.store.tensors import save_tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNKS_AHEAD = 2
"""Chunks of frames that may wait for the encoder before the renderer has to."""


@dataclass(frozen=True)
class Tail:
    """The end of a segment as it is stored: new frames [start, ...), uint8 [n, height, width, 3],
    and the latents of all its new frames, float32 [channels, n, h, w], or None; with one hash for
    each of these frames, and for each latent."""

    key: str
    start: int
    pixels: NDArray[np.uint8]
    frame_hashes: tuple[str, ...]
    latents: NDArray[np.float32] | None
    latent_hashes: tuple[str, ...]


class Recorder:
    """The sink of one segment. Entered and left around `render`; `finish` comes in between.

    `report` is told of every step and every chunk, and ends the rendering by raising. `history` is
    what the segment continues.
    """

    def __init__(
        self,
        job: SegmentJob,
        folder: Path,
        encoder: ThreadPoolExecutor,
        report: Report,
        history: History | None = None,
    ) -> None:
        self.frame_hashes: tuple[str, ...] = ()
        self.latent_hashes: tuple[str, ...] = ()
        self._job = job
        self._clip, self._latents = folder / FRAMES, folder / LATENTS
        self._writer = ClipWriter(self._clip, job.spec.width, job.spec.height, job.fps)
        self._encoder, self._report = encoder, report
        self._waiting: deque[Future[tuple[str, ...]]] = deque()
        self._progress = Progress(job.name, 0, 0)
        self._last: NDArray[np.uint8] | None = None
        self._kept: NDArray[np.float32] | None = None
        self._closed = False
        self._comparison = None if history is None else Comparison(history.pixels)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for chunk in self._waiting:
            chunk.cancel()
        for chunk in self._waiting:
            # The first error is the one to tell.
            with suppress(BaseException):
                chunk.result()
        if not self._closed:
            self._writer.__exit__(kind, error, trace)

    def regained(self, chunk: NDArray[np.uint8]) -> None:
        """Implements `Sink`."""
        self._told(self._progress.done, self._progress.total)
        if self._comparison is not None:
            self._comparison.add(chunk)

    def frames(self, chunk: NDArray[np.uint8]) -> None:
        """Implements `Sink`."""
        self._told(self._progress.done, self._progress.total)
        self._keep(chunk)
        self._waiting.append(self._encoder.submit(self._encode, chunk))
        while len(self._waiting) > CHUNKS_AHEAD:
            self._collect()

    def latents(self, chunk: NDArray[np.float32]) -> None:
        """Implements `Sink`."""
        self._told(self._progress.done, self._progress.total)
        with telling("write", self._latents):
            save_tensor(self._latents, chunk)
        self.latent_hashes = latent_hashes(chunk)
        self._kept = chunk

    def step(self, done: int, total: int) -> None:
        """Implements `Sink`."""
        self._told(done, total)

    def finish(self) -> dict[str, Path]:
        """Close the clip; the files to store. Raises SegmentError if anything is missing."""
        while self._waiting:
            self._collect()
        with telling("write", self._clip):
            self._encoder.submit(self._writer.close).result()
        self._closed = True
        job, made = self._job, len(self.frame_hashes)
        if made != job.spec.new:
            raise SegmentError(f"{job.name}: the renderer made {made} frames, not {job.spec.new}")
        if not job.keeps_latents:
            return {FRAMES: self._clip}
        if not self.latent_hashes:
            raise SegmentError(f"{job.name}: the renderer gave no latents")
        return {FRAMES: self._clip, LATENTS: self._latents}

    @property
    def comparison(self) -> Regained | None:
        """The history as it came back against how it was given, None where it did not."""
        return None if self._comparison is None else self._comparison.result()

    def tail(self) -> Tail | None:
        """The frames that a continuation will ask for, None where none are wanted."""
        if self._last is None:
            return None
        return Tail(
            key=self._job.key,
            start=self._job.spec.new - len(self._last),
            pixels=self._last,
            frame_hashes=self.frame_hashes[-len(self._last) :],
            latents=self._kept,
            latent_hashes=self.latent_hashes,
        )

    def _told(self, done: int, total: int) -> None:
        self._progress = Progress(self._job.name, done, total, self._progress.beats + 1)
        self._report(self._progress)

    def _keep(self, chunk: NDArray[np.uint8]) -> None:
        import numpy as np

        if self._job.tail:
            last = chunk if self._last is None else np.concatenate((self._last, chunk))
            self._last = np.array(last[-self._job.tail :])

    def _encode(self, chunk: NDArray[np.uint8]) -> tuple[str, ...]:
        with telling("write", self._clip):
            self._writer.write(chunk)
        return frame_hashes(chunk)

    def _collect(self) -> None:
        # Left in its place while it is waited for, so that leaving by an exception finds it.
        self.frame_hashes += self._waiting[0].result()
        self._waiting.popleft()


Report = Callable[[Progress], None]
"""Takes how far a segment is. Raises Cancelled when the worker is to stop."""
