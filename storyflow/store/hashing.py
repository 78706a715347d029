"""Hashes of raw content: frames, latents, arrays and files.

A frame's hash is the sha256 of its bytes in C order, without shape or header: within one artifact
all frames have one size, so equal hashes are equal pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def array_hash(array: NDArray[Any]) -> str:
    """sha256 of an array's bytes in C order; no copy is made of an array that is contiguous."""
    import numpy as np

    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def frame_hashes(frames: NDArray[np.uint8]) -> tuple[str, ...]:
    """One sha256 per frame of uint8 [n, height, width, 3]."""
    return tuple(array_hash(frame) for frame in frames)


def latent_hashes(latents: NDArray[np.float32]) -> tuple[str, ...]:
    """One sha256 per latent frame of float32 [channels, n, h, w], each as [channels, h, w]."""
    return tuple(array_hash(latents[:, index]) for index in range(latents.shape[1]))


class Digest:
    """The hash over a sequence of hashes, one after the other: sha256 of their hex texts, joined.

    `count` is how many there were.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.count = 0

    def add(self, sha256: str) -> None:
        """The next hash."""
        self._sha256.update(sha256.encode("ascii"))
        self.count += 1

    @property
    def text(self) -> str:
        """The digest of those so far, as hex."""
        return self._sha256.hexdigest()


def digest_of(hashes: Iterable[str]) -> str:
    """The `Digest` of hashes that are all there."""
    digest = Digest()
    for sha256 in hashes:
        digest.add(sha256)
    return digest.text


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
