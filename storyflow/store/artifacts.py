"""What the store holds: artifacts, each the finished output of one node, and their content.

An artifact is immutable. Its hashes are of raw frames and tensors, never of encoded files, so that
they mean the same whatever codec stored them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["segment", "prompt", "media", "file", "job", "film"]
"""A rendered segment, an embedded text, what is read of an author's picture or clip; and what goes
to a cluster and comes back: an author's file as it is, a submitted job, the film it made."""

FRAMES = "frames.mov"
"""Blob name of a segment's new frames, or of media, as a lossless clip (see `clip.py`)."""

LATENTS = "latents.safetensors"
"""Blob name of the latents of a segment's new frames, float32 [channels, n, h, w]."""

EMBEDDING = "embedding.safetensors"
"""Blob name of a prompt's embedding, float32 [tokens, dim]."""


@dataclass(frozen=True)
class Blob:
    """One file of an artifact: its name within it, the sha256 of its bytes, and its size."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class StoredSpan:
    """A stretch of a stored segment, as history: frames [start, stop) of its new frames.

    `latents` is the stretch [first, last) of its latents that holds these frames, or None where
    the history is taken from pixels.
    """

    key: str
    start: int
    stop: int
    latents: tuple[int, int] | None = None


@dataclass(frozen=True)
class Origin:
    """What an artifact was made from, by names in this store: enough to make it again.

    `name` is what it was called then (`2C/1`), `profile` the pipeline's settings as JSON text,
    `threads` the worker's CPU threads, `setup` the seconds that its model took to load. Of a
    segment, `fps` is exact ("24000/1001"), `prompt` and `negative` are keys of embeddings,
    `history` the stretches that it continues, and `start`, `end`, `clip` keys of media.
    """

    name: str
    profile: str
    threads: int = 1
    setup: float = 0.0
    fps: str = ""
    prompt: str | None = None
    negative: str | None = None
    history: tuple[StoredSpan, ...] = ()
    start: str | None = None
    end: str | None = None
    clip: str | None = None


@dataclass(frozen=True)
class Regained:
    """How a segment's history came back from its model, against how it was given.

    Per channel of CIE Lab (L*, a*, b*), least squares over all pixels of the history give
    `given = gain * came back + offset`. `psnr` compares both as 8-bit RGB, in dB; None where they
    are equal.
    """

    gain: tuple[float, float, float]
    offset: tuple[float, float, float]
    psnr: float | None


@dataclass(frozen=True)
class Artifact:
    """A node's stored output.

    `frames` and `latents` hold one sha256 per new frame and per new latent frame (raw bytes, in
    order), so the hash of any stretch of history is known without reading pixels; both are empty
    for a prompt, whose `digest` is the sha256 of its embedding's raw bytes. For segments and media
    `digest` is the hash over all frame hashes. `inputs` is the JSON text that the key was made
    from, and for media the file's hash and name. `origin` is None for media. `regained` is
    None where a segment has no history, or its model doesn't decode it.
    """

    key: str
    recipe: str
    kind: Kind
    digest: str
    blobs: tuple[Blob, ...]
    inputs: str
    frames: tuple[str, ...] = ()
    latents: tuple[str, ...] = ()
    numerics: str = ""
    seconds: float = 0.0
    worker: str = ""
    origin: Origin | None = None
    regained: Regained | None = None

    def blob(self, name: str) -> Blob:
        """The file of that name. Raises KeyError."""
        for blob in self.blobs:
            if blob.name == name:
                return blob
        raise KeyError(name)
