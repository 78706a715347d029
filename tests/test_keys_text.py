"""The text of a key is canonical JSON, although it is written out by hand."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from storyflow.planning.keys import PIXEL_VERSION, key_inputs, segment_key, segment_recipe
from storyflow.planning.nodes import Condition, SegmentInputs, Span
from storyflow.renderer import SegmentSpec

PLAIN = SegmentInputs(
    model="hub@1",
    pixel_fields=(("steps", 30), ("guidance", 6.0), ("solver", "unipc")),
    prompt='She says: "now",\n\ttwo lines, naïve ☂ \x00',
    negative="",
    spec=SegmentSpec(width=960, height=544, window=97, overlap=17, seed=2**53 - 1),
)
MANY = (Condition("start", "a" * 64), Condition("end", 'b"', "pad"))
INPUTS = {
    "plain": PLAIN,
    "labelled": replace(PLAIN, spec=replace(PLAIN.spec, label='1A\n"quoted"')),
    "conditions": replace(PLAIN, conditions=MANY),
    "no fields": replace(PLAIN, pixel_fields=()),
    "nested fields": replace(PLAIN, pixel_fields=(("loras", [["x", 0.5]]), ("a", None))),
}


def expected(inputs: SegmentInputs, **given: object) -> str:
    spec = inputs.spec
    body = {
        "pixels": PIXEL_VERSION,
        "model": inputs.model,
        "fields": dict(inputs.pixel_fields),
        "prompt": inputs.prompt,
        "negative": inputs.negative,
        "conditions": [[c.role, c.digest, c.fit] for c in inputs.conditions],
        "seed": spec.seed,
        "width": spec.width,
        "height": spec.height,
        "window": spec.window,
        "overlap": spec.overlap,
        "label": spec.label,
        **given,
    }
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize(
    ("history", "prompt", "negative"),
    [(None, None, None), ("h" * 64, None, None), ("h" * 64, "p" * 64, "n" * 64)],
)
def test_key_inputs_are_canonical_json(
    inputs: SegmentInputs, history: str | None, prompt: str | None, negative: str | None
) -> None:
    given: dict[str, object] = {"what": "segment", "history": history}
    if prompt is not None:
        given |= {"prompt": {"embedding": prompt}, "negative": {"embedding": negative}}
    text = key_inputs(inputs, history, prompt, negative)
    assert text == expected(inputs, **given)
    assert segment_key(inputs, history, prompt, negative) == _sha256(text)


@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize(
    "spans", [(), (Span("r" * 64, 80, 97),), (Span("r", 0, 4), Span('"', 1, 2))]
)
def test_a_recipe_is_of_canonical_json(inputs: SegmentInputs, spans: tuple[Span, ...]) -> None:
    history = [[span.segment, span.start, span.stop] for span in spans]
    text = expected(inputs, what="segment recipe", history=history)
    assert segment_recipe(inputs, spans) == _sha256(text)


def test_fields_that_are_equal_but_written_otherwise_have_other_keys() -> None:
    keys = set()
    for value in (1, 1.0, True):
        fields = (("guidance", value),)
        keys.add(segment_key(replace(PLAIN, pixel_fields=fields), None))
        keys.add(segment_key(replace(PLAIN, pixel_fields=tuple(fields)), None))
    assert len(keys) == 3


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
