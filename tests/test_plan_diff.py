"""Why a segment would be rendered: which input changed, from what to what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO

import pytest
from plan_films import KIND, planned, recipes, rendered, with_kind
from rich.console import Console

from storyflow.planning.diff import Diff, Place, Was, continued, diff_plan, excerpts, places
from storyflow.planning.keys import key_inputs
from storyflow.planning.nodes import Condition, Plan
from storyflow.tables import print_diff, spans

STORY = """
film: Diff
handles: 12f
style: 35mm film
shots:
- {id: A, dur: 4s, do: waves break}
- id: B
  beats:
  - {dur: 5s, do: he walks left}
  - {dur: 4s, do: he turns}
- {id: C, from: B, dur: 2s, do: he rests}
- {id: D, dur: 2s, takes: 2, seed: 3, do: a gull}
"""
BEFORE, LOCK = rendered(STORY)


def past_of(plan: Plan, **changes: object) -> dict[Place, Was]:
    """What a run of this plan leaves behind; every key is its recipe."""
    where = places(plan)
    names = {segment.recipe: segment.name for segment in plan.segments}
    seeds = {(take.shot.id, take.take): take.seed for take in plan.takes}
    found = (
        Was(
            name=segment.name,
            place=where[segment.recipe],
            key=segment.recipe,
            prompt=segment.inputs.prompt,
            negative=segment.inputs.negative,
            seed=seeds[segment.shot, segment.take],
            inputs=key_inputs(segment.inputs, "h"),
            history=continued(segment, names),
        )
        for segment in plan.segments
    )
    return {was.place: replace(was, **changes) for was in found}  # type: ignore[arg-type]


def stored(plan: Plan) -> Mapping[str, tuple[str, ...]]:
    return {recipe: (recipe,) for recipe in recipes(plan)}


def compared(
    after: Plan, before: Plan = BEFORE, *, past: dict[Place, Was] | None = None, numerics: str = ""
) -> Diff:
    render = recipes(after) - recipes(before)
    past = past_of(before) if past is None else past
    return diff_plan(after, render, stored(before), past, "then", numerics)


def reasons(diff: Diff) -> dict[str, list[str]]:
    return {s.segment: [c.text for c in s.why] for s in diff.segments if s.action == "render"}


def edited(old: str, new: str) -> Plan:
    assert old in STORY
    return planned(STORY.replace(old, new), LOCK)


def test_a_film_that_did_not_change_is_reused() -> None:
    diff = compared(BEFORE)
    assert diff.render == () and diff.groups == () and diff.dropped == ()
    assert diff.reuse == tuple(s.name for s in BEFORE.segments)


def test_equal_reasons_stand_together_and_a_chain_is_told_by_its_first() -> None:
    diff = compared(edited("he walks left", "he walks right"))
    assert [(spans(names), why) for names, why in diff.groups] == [
        ("B/1-2", ("prompt: 'He walks left.' -> 'He walks right.'",)),
        ("B/3-4, C/1", ("history: continues B/2",)),
    ]


def test_a_film_that_was_never_rendered_says_so() -> None:
    diff = diff_plan(BEFORE, recipes(BEFORE), {}, {})
    ((names, why),) = diff.groups
    assert names == diff.render and why == ("new: nothing of the film has been rendered",)


def test_an_edited_beat_is_told_by_its_words_and_the_rest_by_its_history() -> None:
    diff = compared(edited("he walks left", "he walks right"))
    why = reasons(diff)
    prompt = "prompt: 'He walks left.' -> 'He walks right.'"
    assert why["B/1"] == [prompt]
    assert why["B/2"] == [prompt, "history: continues B/1"]
    assert why["B/3"] == ["history: continues B/2"]
    assert why["C/1"] == ["history: continues B/3, B/4"]
    assert "A/1" in diff.reuse


CHANGES = {
    "style": ("35mm film", "16mm film", "A/1", ["prompt: 'style is 35mm' -> 'style is 16mm'"]),
    "avoid": ("style:", "avoid: text\nstyle:", "A/1", ["negative: text"]),
    "seed": ("seed: 3", "seed: 4", "D/1", ["seed: 3 -> 4"]),
    "a new shot": (
        "- {id: D,",
        "- {id: E, dur: 2s, do: foam}\n- {id: D,",
        "E/1",
        ["new: the shot"],
    ),
    "another take": ("takes: 2", "takes: 3", "D.3/1", ["new: take 3"]),
    "a longer shot": ("he turns}", "he turns}\n  - {dur: 2s, do: he sits}", "B/5", None),
    "a longer beat": (
        "dur: 2s, takes",
        "dur: 6s, takes",
        "D/2",
        ["new: the shot needs more frames"],
    ),
    "an earlier cut-out": ("dur: 4s, do: he turns", "dur: 3s, do: he turns", "C/1", None),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_edit_is_told(name: str) -> None:
    old, new, segment, expected = CHANGES[name]
    why = reasons(compared(edited(old, new)))
    if expected is not None:
        assert why[segment] == expected
    elif name == "a longer shot":
        assert why[segment] == ["new: the shot needs more frames"]
        assert why["C/1"][0].endswith("-> B/5 frames 31 to 48")
    else:
        (text,) = why[segment]
        assert text.startswith("history: ") and " -> " in text


KINDS = {
    "another model": (with_kind(identity="model@2"), ["model: model@1 -> model@2"]),
    "a sampler setting": (
        with_kind(pixel_fields=(("steps", 21), ("history", "pixels"))),
        ["steps: 20 -> 21"],
    ),
    "a setting that was not there": (
        with_kind(pixel_fields=(*KIND.pixel_fields, ("quantize", "int8"))),
        ["quantize: int8"],
    ),
    "a setting that is gone": (
        with_kind(pixel_fields=(("steps", 20),)),
        ["history: pixels -> none"],
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_models_and_settings_are_told(name: str) -> None:
    kind, expected = KINDS[name]
    why = reasons(compared(planned(STORY, LOCK, kind=kind)))
    assert why["A/1"] == expected
    assert why["B/2"] == [*expected, "history: continues B/1"]


def test_another_picture_is_told_by_hash_and_fit() -> None:
    (segment, *_) = BEFORE.segments
    condition = Condition("start", "c" * 64)
    inputs = replace(segment.inputs, conditions=(replace(condition, digest="d" * 64, fit="pad"),))
    past = past_of(BEFORE)
    (was, *_) = past.values()
    old = replace(segment.inputs, conditions=(condition,))
    past[was.place] = replace(was, inputs=key_inputs(old, None))
    take = replace(BEFORE.takes[0], segments=(replace(segment, inputs=inputs, recipe="new"),))
    after = replace(BEFORE, takes=(take, *BEFORE.takes[1:]))
    why = reasons(compared(after, past=past))
    assert why == {"A/1": ["start picture: cccccccccccc crop -> dddddddddddd pad"]}


def test_a_lost_output_is_told() -> None:
    diff = diff_plan(
        BEFORE, frozenset({BEFORE.segments[0].recipe}), {}, past_of(BEFORE, inputs=None)
    )
    assert reasons(diff) == {"A/1": ["lost: its output is no longer in the store"]}


def test_an_output_that_only_the_index_lacks_is_told() -> None:
    diff = diff_plan(BEFORE, frozenset({BEFORE.segments[0].recipe}), {}, past_of(BEFORE))
    assert reasons(diff)["A/1"] == ["index: the store's index lacks it; looked for by key"]


def test_a_parent_that_came_out_otherwise_is_told() -> None:
    """B/1 is reused, but another output of it than the one that B/2 continued."""
    past = past_of(BEFORE)
    parent = BEFORE.take("B", 1).segments[0]
    was = past["B", 1, 0, 0]
    past["B", 1, 0, 0] = replace(was, key="another")
    child = BEFORE.take("B", 1).segments[1]
    diff = diff_plan(BEFORE, frozenset({child.recipe}), {parent.recipe: ("this",)}, past)
    assert reasons(diff) == {"B/2": ["history: continues B/1, which is another one now"]}


def test_another_numerics_class_is_told() -> None:
    past = past_of(BEFORE, numerics="cuda-H100")
    after = planned(STORY, LOCK)
    diff = diff_plan(after, frozenset({after.segments[0].recipe}), {}, past, "", "cuda-H200")
    assert reasons(diff)["A/1"] == ["numerics class: cuda-H100 -> cuda-H200"]


def test_what_the_film_uses_no_more_is_listed() -> None:
    after = planned(STORY.replace("- {id: A, dur: 4s, do: waves break}\n", ""), LOCK)
    assert compared(after).dropped == ("A/1", "A/2")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("he walks left", "he walks right", ("he walks left", "he walks right")),
        ("a b c d left e f", "a b c d right e f", ("c d left", "c d right")),
        ("a b c", "a b x c", ("a b", "a b x")),
        ("a b x c", "a b c", ("a b x", "a b")),
        ("", "text", ("", "text")),
        ("a " * 200, "b " * 200, None),
    ],
)
def test_excerpts_show_the_words_that_differ(
    old: str, new: str, expected: tuple[str, str] | None
) -> None:
    found = excerpts(old, new)
    assert expected is None or found == expected
    assert all(len(text) <= 90 for text in found)


def test_a_diff_is_data_and_a_table() -> None:
    diff = compared(edited("he walks left", "he walks right"))
    data = json.loads(json.dumps(diff.as_data()))
    assert data["render"] == list(diff.render)
    row = next(row for row in data["segments"] if row["segment"] == "B/1")
    assert row["why"][0]["what"] == "prompt" and "walks right" in row["why"][0]["text"]
    text = StringIO()
    print_diff(diff, Console(file=text, width=120))
    assert "render  B/1-2" in text.getvalue()
    assert "'He walks left.' -> 'He walks right.'" in text.getvalue()
    assert "reuse" in text.getvalue()


def test_runs_of_segments_are_short() -> None:
    assert spans(["A/1", "A/2", "A/3", "A.2/1", "B/2", "B/4"]) == "A/1-3, A.2/1, B/2, B/4"
    assert spans([]) == ""
