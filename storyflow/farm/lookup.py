"""What of a plan the store already has, by true keys; no workers, nothing is rendered."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import TopologicalSorter

from storyflow.farm.identify import history_grid, identify
from storyflow.planning.keys import prompt_key
from storyflow.planning.nodes import Plan
from storyflow.renderer import ModelKind
from storyflow.store.artifacts import Artifact
from storyflow.store.folder import Store


def look_up(
    plan: Plan, kind: ModelKind, store: Store, known: Mapping[str, Artifact] | None = None
) -> dict[str, Artifact]:
    """Artifacts by recipe: the `known` ones and every other of the plan that is in the store.

    Reads one small file per segment that is not known. Raises StoreError.
    """
    segments = {segment.recipe: segment for segment in plan.segments}
    found = dict(known or {})
    embeddings: dict[str, Artifact | None] = {}

    def embedding(text: str) -> Artifact | None:
        if text not in embeddings:
            embeddings[text] = store.find(prompt_key(kind.encoder, text))
        return embeddings[text]

    grid = history_grid(plan, kind)
    order = TopologicalSorter({s.recipe: s.parents for s in segments.values()}).static_order()
    for recipe in order:
        if recipe in found:
            continue
        segment = segments[recipe]
        key = segment.key
        if key is None:
            if any(parent not in found for parent in segment.parents):
                continue
            prompt = negative = None
            if kind.embeds_prompts:
                prompt = embedding(segment.inputs.prompt)
                negative = embedding(segment.inputs.negative)
                if prompt is None or negative is None:
                    continue
            key = identify(segment, segments, found, prompt, negative, grid).key
        artifact = store.find(key)
        if artifact is not None:
            found[recipe] = artifact
    return found
