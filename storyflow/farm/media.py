"""The film's pictures and clips into the store, so that workers need no storyboard's folder."""

from __future__ import annotations

import time
from fractions import Fraction

from storyflow.planning.keys import canonical
from storyflow.planning.sources import Source
from storyflow.store.artifacts import FRAMES
from storyflow.store.clip import ClipWriter
from storyflow.store.disk import telling
from storyflow.store.hashing import digest_of, frame_hashes
from storyflow.store.store import Store

_RATE = Fraction(24)
"""What the stored clip's header says; nothing reads it."""


def store_source(store: Store, source: Source) -> None:
    """Read a picture, or a clip's last frames, into an artifact of its own.

    Raises StoryboardError for a file that can't be used or has changed since it was planned, and
    StoreError.
    """
    began = time.perf_counter()
    frames = source.read().frames
    hashes = frame_hashes(frames)
    store.check_writable()
    with store.scratch("source") as folder:
        clip = folder / FRAMES
        with (
            telling("write", clip),
            ClipWriter(clip, source.size.width, source.size.height, _RATE) as writer,
        ):
            writer.write(frames)
        store.commit(
            key=source.key,
            recipe=source.key,
            kind="media",
            digest=digest_of(hashes),
            inputs=canonical({"file": source.condition.digest, "name": source.path.name}),
            files={FRAMES: clip},
            frames=hashes,
            seconds=time.perf_counter() - began,
        )
