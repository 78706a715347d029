"""What enters keys and recipes, and that both stay what they are from version to version."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storyflow.planning import keys
from storyflow.planning.keys import (
    history_digest,
    prompt_key,
    prompt_recipe,
    segment_key,
    segment_recipe,
)
from storyflow.planning.nodes import Condition, SegmentInputs, Span
from storyflow.renderer import SegmentSpec
from storyflow.seeds import segment_seed, shot_seed

SPEC = SegmentSpec(width=96, height=64, window=97, overlap=17, seed=7)
INPUTS = SegmentInputs(
    model="model@1",
    pixel_fields=(("steps", 20), ("guidance", 4.0), ("history", "pixels")),
    prompt="A swan crosses the lake.",
    negative="text",
    spec=SPEC,
)
SPANS = (Span("a" * 64, 80, 97),)

GOLDEN = {
    "recipe": "d68bba545d1718a331707780697594f0e3ddc81b1c5c76a6dbf91dc11cfa00b6",
    "fresh recipe": "e3f2722d7a466b64cb18cc80bfb7fd878fee2ca9b2af76998258d4d8ed210ed7",
    "key": "0f5c7e2313f571ee0f2861e592754b46082ad42700714739015477bf5e73ed16",
    "plain key": "b1b19784e60b108b2f7da6a0b6f5b1a994853c6ab36b248e3fd591bff0cd394c",
    "prompt recipe": "47cbfc86a159fb6f510d12d9941e287a4836e5cccb10b80a1c50ed738d28a6d8",
    "prompt key": "f835fbba004156d986e0abea3b78d3767b52b6de40408e7472ed675ca4b0e9da",
    "history": "71d708dc06e159d18aaa3ca55b63f43fd675f98ffb05ad9ee3302dbbedd663b4",
}
GOLDEN_SEEDS = (108873115583407, 6256173782555091, 311903371534864, 3212057115987023)

EVERYTHING_THAT_COUNTS = {
    "model": replace(INPUTS, model="model@2"),
    "field": replace(INPUTS, pixel_fields=(("steps", 21), *INPUTS.pixel_fields[1:])),
    "prompt": replace(INPUTS, prompt="A duck crosses the lake."),
    "negative": replace(INPUTS, negative=""),
    "condition": replace(INPUTS, conditions=(Condition("start", "d" * 64),)),
    "fit": replace(INPUTS, conditions=(Condition("start", "d" * 64, "pad"),)),
    "seed": replace(INPUTS, spec=replace(SPEC, seed=8)),
    "width": replace(INPUTS, spec=replace(SPEC, width=112)),
    "height": replace(INPUTS, spec=replace(SPEC, height=80)),
    "window": replace(INPUTS, spec=replace(SPEC, window=93)),
    "overlap": replace(INPUTS, spec=replace(SPEC, overlap=13)),
    "label": replace(INPUTS, spec=replace(SPEC, label="1C")),
}


def test_golden_keys() -> None:
    """A change here voids every store: raise PIXEL_VERSION only when golden pixels change."""
    assert keys.PIXEL_VERSION == 1
    assert segment_recipe(INPUTS, SPANS) == GOLDEN["recipe"]
    assert segment_recipe(INPUTS, ()) == GOLDEN["fresh recipe"]
    assert segment_key(INPUTS, "h" * 64, "p" * 64, "n" * 64) == GOLDEN["key"]
    assert segment_key(INPUTS, None) == GOLDEN["plain key"]
    assert prompt_recipe("encoder", "a swan") == GOLDEN["prompt recipe"]
    assert prompt_key("encoder", "a swan") == GOLDEN["prompt key"]
    assert history_digest(["1" * 64, "2" * 64]) == GOLDEN["history"]


def test_golden_seeds() -> None:
    assert shot_seed(0, "1C", 1) == GOLDEN_SEEDS[0]
    assert shot_seed(0, "1C", 2) == GOLDEN_SEEDS[1]
    assert segment_seed(GOLDEN_SEEDS[0], 1, 0) == GOLDEN_SEEDS[2]
    assert segment_seed(GOLDEN_SEEDS[0], 1, 0, attempt=2) == GOLDEN_SEEDS[3]


@pytest.mark.parametrize("changed", EVERYTHING_THAT_COUNTS)
def test_each_input_changes_key_and_recipe(changed: str) -> None:
    other = EVERYTHING_THAT_COUNTS[changed]
    assert segment_recipe(other, SPANS) != segment_recipe(INPUTS, SPANS)
    assert segment_key(other, "h") != segment_key(INPUTS, "h")


def test_history_enters_the_recipe_by_span_and_the_key_by_content() -> None:
    assert segment_recipe(INPUTS, (Span("a" * 64, 79, 96),)) != segment_recipe(INPUTS, SPANS)
    assert segment_recipe(INPUTS, (Span("b" * 64, 80, 97),)) != segment_recipe(INPUTS, SPANS)
    assert segment_key(INPUTS, "one") != segment_key(INPUTS, "two")
    assert segment_key(INPUTS, None) != segment_key(INPUTS, "None")


def test_a_key_with_embeddings_does_not_look_at_the_texts() -> None:
    other = replace(INPUTS, prompt="another text", negative="another")
    assert segment_key(other, None, "p", "n") == segment_key(INPUTS, None, "p", "n")
    assert segment_key(INPUTS, None, "p", "n") != segment_key(INPUTS, None, "q", "n")
    assert segment_key(INPUTS, None, "p", "n") != segment_key(INPUTS, None, "p", "m")
    text_that_is_a_digest = replace(INPUTS, prompt="p", negative="n")
    assert segment_key(text_that_is_a_digest, None) != segment_key(INPUTS, None, "p", "n")


def test_the_order_of_fields_does_not_matter() -> None:
    turned = replace(INPUTS, pixel_fields=INPUTS.pixel_fields[::-1])
    assert segment_key(turned, None) == segment_key(INPUTS, None)


def test_a_key_is_the_hash_of_its_inputs() -> None:
    import hashlib

    text = keys.key_inputs(INPUTS, "h", "p", "n")
    assert hashlib.sha256(text.encode()).hexdigest() == segment_key(INPUTS, "h", "p", "n")


def test_not_a_number_is_no_key() -> None:
    with pytest.raises(ValueError):
        segment_key(replace(INPUTS, pixel_fields=(("shift", float("nan")),)), None)


def test_seeds_differ_in_every_argument_and_fit_into_json() -> None:
    seeds = {shot_seed(f, s, t) for f in range(5) for s in ("1A", "1B", "1") for t in range(1, 12)}
    assert len(seeds) == 5 * 3 * 11
    born = {
        segment_seed(s, b, i, a) for s in (1, 11) for b in (1, 2) for i in (0, 1) for a in (1, 2)
    }
    assert len(born) == 16
    assert all(0 <= seed < 2**53 for seed in seeds | born)


def test_prompts_of_different_encoders_have_different_keys() -> None:
    assert prompt_key("a", "text") != prompt_key("b", "text")
    assert prompt_key("a", "text") != prompt_key("a", "texts")
