"""What of a plan the store already has, by true keys; no workers, nothing is rendered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from storyflow.farm.identify import Embedding, history_grid, identify
from storyflow.farm.oneclass import Hold, OneClass, most_common
from storyflow.planning.keys import prompt_key
from storyflow.planning.nodes import Plan, Segment
from storyflow.renderer import ModelKind
from storyflow.store.artifacts import Artifact
from storyflow.store.kept import StoredArtifacts
from storyflow.store.store import Store


def look_up(
    plan: Plan,
    kind: ModelKind,
    store: Store,
    known: StoredArtifacts | None = None,
    one_class: OneClass | None = None,
) -> StoredArtifacts:
    """Artifacts by recipe: the `known` ones and every other of the plan that is in the store.

    With `one_class` only those of its numerics classes count. Reads one small file per segment
    that is not known. Raises StoreError.
    """
    segments = {segment.recipe: segment for segment in plan.segments}
    found = known.copy() if known is not None else StoredArtifacts(store)
    embeddings: dict[str, Embedding | None] = {}

    def find(key: str, hold: Hold | None) -> Artifact | None:
        return store.find(key) if hold is None else hold.find(store.find, key)[0]

    def embedding(text: str) -> Embedding | None:
        if text not in embeddings:
            hold = None if one_class is None else one_class.prompt
            encoded = find(prompt_key(kind.encoder, text), hold)
            embeddings[text] = None if encoded is None else Embedding(encoded.key, encoded.digest)
        return embeddings[text]

    grid = history_grid(plan, kind)
    for segment in _parents_first(plan):
        recipe, key = segment.recipe, segment.key
        if recipe in found:
            continue
        if key is not None:
            # An approved take is kept as it is, whatever made it.
            artifact = store.find(key)
        else:
            if any(parent not in found for parent in segment.parents):
                continue
            prompt = negative = None
            if kind.embeds_prompts:
                prompt = embedding(segment.inputs.prompt)
                negative = embedding(segment.inputs.negative)
                if prompt is None or negative is None:
                    continue
            key = identify(segment, segments, found, prompt, negative, grid).key
            artifact = find(key, None if one_class is None else one_class.segment)
        if artifact is not None:
            found.put(recipe, artifact)
    return found


def _parents_first(plan: Plan) -> Iterator[Segment]:
    """Every segment right after those that it continues, as far as may be: they are at hand."""
    segments = {segment.recipe: segment for segment in plan.segments}
    seen: set[str] = set()
    for first in plan.segments:
        waiting = [first]
        while waiting:
            segment = waiting[-1]
            ahead = [segments[parent] for parent in segment.parents if parent not in seen]
            if ahead and segment.recipe not in seen:
                waiting += ahead
                continue
            waiting.pop()
            if segment.recipe not in seen:
                seen.add(segment.recipe)
                yield segment


def hold_to_one_class(plan: Plan, kind: ModelKind, store: Store) -> OneClass:
    """The classes to hold a run of this plan to: those in which the store has most of it.

    Nothing stored leaves them to the first worker. Raises StoreError.
    """
    one_class = OneClass()
    if kind.embeds_prompts:
        stored = (store.find(prompt_key(kind.encoder, text)) for text in _texts(plan))
        one_class.prompt.numerics = next(
            iter(most_common(a for a in stored if a is not None and a.numerics)), None
        )
    found = look_up(plan, kind, store).values()
    best = -1
    for numerics in most_common(a for a in found if a.kind == "segment"):
        held = OneClass(Hold("prompt", one_class.prompt.numerics), Hold("segment", numerics))
        count = len(look_up(plan, kind, store, one_class=held))
        if count > best:
            best, one_class.segment.numerics = count, numerics
    return one_class


def stored_index(
    plan: Plan, kind: ModelKind, store: Store, one_class: OneClass | None = None
) -> Mapping[str, Sequence[str]]:
    """The keys of every recipe that a run of this plan could reuse, and of the store's others.

    Without `one_class` it is the store's own index, and nothing is opened. Raises StoreError.
    """
    index = store.recipes()
    if one_class is None:
        return index
    stored = look_up(plan, kind, store, one_class=one_class)
    found = {recipe: stored.key(recipe) for recipe in stored}
    own = {segment.recipe for segment in plan.segments}
    if kind.embeds_prompts:
        for key in {prompt_key(kind.encoder, text) for text in _texts(plan)}:
            own.add(key)
            embedding, _ = one_class.prompt.find(store.find, key)
            if embedding is not None:
                found[key] = embedding.key
    kept = {recipe: keys for recipe, keys in index.items() if recipe not in own}
    return {**kept, **{recipe: (key,) for recipe, key in found.items()}}


def _texts(plan: Plan) -> tuple[str, ...]:
    """Every text that a run of the plan has encoded, once."""
    inputs = [segment.inputs for segment in plan.segments if segment.key is None]
    return tuple(dict.fromkeys(text for i in inputs for text in (i.prompt, i.negative)))
