"""What continuing shots continue, as a captioner sees it: the frames rendered before them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from storyflow.farm.lookup import look_up
from storyflow.planning.nodes import Plan, Span
from storyflow.prompts.captioner import SIGHT, seen
from storyflow.prompts.model import Clip
from storyflow.renderer import ModelKind
from storyflow.store.artifacts import FRAMES, Artifact
from storyflow.store.clip import iter_clip
from storyflow.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def rendered_tails(plan: Plan, kind: ModelKind, store: Store) -> dict[str, Clip]:
    """By shot, the last frames of the shot that it continues, where they are rendered.

    Raises StoreError, DamagedError.
    """
    from storyflow.media.spread import spread_of

    takes = {(take.shot.id, take.take): take for take in plan.takes}
    firsts = {entry.shot: takes[entry.shot, entry.take].segments[0] for entry in plan.cut}
    continuing = {shot: first for shot, first in firsts.items() if first.history}
    found = look_up(plan, kind, store) if continuing else {}
    tails = {}
    for shot, first in continuing.items():
        if all(span.segment in found for span in first.history):
            count = sum(span.stop - span.start for span in first.history)
            frames = _frames(first.history, found, store)
            tails[shot] = seen(spread_of(frames, count, plan.rate, SIGHT))
    return tails


def _frames(
    spans: tuple[Span, ...], artifacts: Mapping[str, Artifact], store: Store
) -> Iterator[NDArray[np.uint8]]:
    for span in spans:
        artifact = artifacts[span.segment]
        hashes = artifact.frames[span.start : span.stop]
        yield from iter_clip(store.path(artifact, FRAMES), span.start, span.stop, hashes)
