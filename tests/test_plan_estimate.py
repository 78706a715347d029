"""What a plan says that it costs, and what a store spares."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from plan_films import KIND, planned, recipes, rendered

from storyflow.errors import ModelError, ProfileError
from storyflow.kinds import RANDOM_WEIGHTS, kind_of
from storyflow.lockfile import branch_take, hold
from storyflow.pipeline import load_profile
from storyflow.planning.estimate import plan_rows, predict, quote_of, totals
from storyflow.planning.pinning import held_take
from storyflow.renderer import ModelKind

STORY = """
film: Quote
shots:
- {id: A, dur: 14s, do: waves break}
- {id: B, from: A, dur: 8s, do: foam}
- {id: C, dur: 4s, takes: 2, do: a gull cries}
"""
NOTHING: frozenset[str] = frozenset()


def test_totals_count_each_segment_once() -> None:
    plan, lock = rendered(STORY)
    alone = totals(plan, predict(plan, NOTHING))
    assert (alone.shots, alone.frames) == (3, 26 * 24)
    assert alone.segments == alone.render == len(plan.segments)
    assert alone.flops == alone.render_flops == sum(s.flops for s in plan.segments)
    lock, _ = branch_take(lock, "A", 1, 3)
    branched = planned(STORY, lock)
    more = totals(branched, predict(branched, recipes(plan)))
    assert more.segments == alone.segments + 1
    assert (more.reuse, more.render) == (alone.segments, 1)


def test_the_longest_chain_goes_through_continuations() -> None:
    plan = planned(STORY)
    whole = totals(plan, predict(plan, NOTHING))
    chain = [*plan.take("A", 1).segments, *plan.take("B", 1).segments]
    assert whole.chain == len(chain)
    assert whole.chain_flops == sum(s.flops for s in chain)


def test_what_is_stored_shortens_the_chain() -> None:
    plan = planned(STORY)
    stored = {s.recipe for s in plan.take("A", 1).segments}
    rest = totals(plan, predict(plan, stored))
    assert rest.chain == totals(plan, predict(plan, NOTHING)).chain
    assert rest.render_chain == len(plan.take("B", 1).segments)
    assert rest.render_flops == rest.flops - sum(s.flops for s in plan.take("A", 1).segments)


def test_rows_say_what_is_reused_and_what_rendered() -> None:
    plan = planned(STORY)
    stored = {s.recipe for s in plan.take("A", 1).segments[:2]}
    stored |= {s.recipe for s in plan.take("C", 1).segments}
    rows = plan_rows(plan, predict(plan, stored))
    assert [(row.shot, row.take, row.shown) for row in rows] == [
        ("A", 1, True),
        ("B", 1, True),
        ("C", 1, True),
        ("C", 2, False),
    ]
    assert [row.action for row in rows] == ["reuse 2, render 2", "render", "reuse", "render"]
    assert [row.seconds for row in rows] == [14, 8, 4, 4]
    assert rows[0].prompt.startswith("Waves break")
    assert [row.mode for row in rows] == ["text", "continue", "text", "text"]


def test_a_held_take_costs_nothing() -> None:
    plan, lock = rendered(STORY)
    lock = hold(lock, "A", held_take(plan, "A", {s.recipe: s.name for s in plan.segments}))
    after = planned(STORY.replace("waves break", "waves roll"), lock)
    (row, *_) = plan_rows(after, predict(after, NOTHING))
    assert (row.action, row.render, row.reuse) == ("held, stale: do", 0, 4)


def test_a_quote_is_data() -> None:
    plan = planned(STORY)
    data = json.loads(json.dumps(quote_of(plan, predict(plan, NOTHING), KIND).as_data()))
    assert data["storyflow"] == 1
    assert data["totals"]["segments"] == len(plan.segments)
    assert data["rows"][0]["action"] == "render"
    assert data["frame"] == "96x64"


def test_a_very_long_chain_is_no_deep_recursion() -> None:
    plan = planned("film: Long\nshots:\n- {id: A, dur: 1:30:00, do: the sea}\n")
    assert totals(plan, predict(plan, NOTHING)).chain == len(plan.segments) == 1620


def fields(name: str, *overrides: str) -> tuple[ModelKind, dict[str, object]]:
    made = kind_of(load_profile(name, overrides)[1])
    return made, dict(made.pixel_fields)


PIXELS = {
    "forcing.steps=7",
    "forcing.guidance=3.5",
    "forcing.shift=5",
    "forcing.sigmas=diffusers",
    "forcing.history=pixels",
    "forcing.history_noise=0",
    "model.dtype=bfloat16",
}
NO_PIXELS = {
    "windows.trained=81",
    "windows.overlap=9",
    "windows.floor=57",
    "windows.policy=balanced",
    "deliver.crf=30",
    "deliver.scale=1",
    "slate.delay=2",
    "negative=text",
    "about=other",
    "frame=112x64",
}


@pytest.mark.parametrize("override", sorted(PIXELS))
def test_what_changes_pixels_is_a_pixel_field(override: str) -> None:
    assert fields("toybox", override)[1] != fields("toybox")[1]


@pytest.mark.parametrize("override", sorted(NO_PIXELS))
def test_what_changes_no_pixels_is_none(override: str) -> None:
    assert fields("toybox", override)[1] == fields("toybox")[1]


def test_worker_threads_change_no_key() -> None:
    _, profile = load_profile("toybox")
    assert kind_of(profile, threads=1).pixel_fields == kind_of(profile, threads=4).pixel_fields


def test_scripts_of_the_slate_change_no_key() -> None:
    assert fields("slate", "slate.delay=2")[1] == fields("slate")[1]
    assert fields("slate", "slate.fail={A/1: 2}")[1] == fields("slate")[1]


def test_the_slate_draws_labels_and_embeds_nothing() -> None:
    made, _ = fields("slate")
    assert made.draws_labels and not made.embeds_prompts and made.text_encoder is None
    assert made.renderer().numerics()


def test_guidance_one_reads_no_negative_prompt() -> None:
    assert fields("toybox")[0].reads_negative
    assert not fields("toybox", "forcing.guidance=1")[0].reads_negative


def test_prompts_are_encoded_once_per_model_and_dtype() -> None:
    encoders = {
        fields("toybox", *o)[0].encoder
        for o in ((), ("model.dtype=bfloat16",), ("forcing.steps=3",))
    }
    assert len(encoders) == 2


def test_a_hub_model_is_known_by_id_and_revision() -> None:
    made, _ = fields("skyreels-v2-df-1.3b-540p", "model.revision=abc")
    assert made.identity == "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers@abc"
    assert made.notice is None


def test_costs_are_those_of_the_published_models() -> None:
    """36.7 and 202 PFLOP for a window of 97 frames, 30 steps with guidance at 960x544."""
    small, _ = fields("skyreels-v2-df-1.3b-540p")
    large, _ = fields("skyreels-v2-df-14b-540p")
    assert small.cost(97).flops / 1e15 == pytest.approx(36.7, rel=0.02)
    assert large.cost(97).flops / 1e15 == pytest.approx(202, rel=0.02)


BAD = {
    "windows.trained=98": "windows.trained: 98 frames do not fit",
    "windows.overlap=16": "overlap: 16 frames do not fit",
    "windows.overlap=57": "adds fewer than its overlap",
    "windows.floor=101": "floor is longer than the trained window",
}


@pytest.mark.parametrize("name", ["toybox", "slate"])
@pytest.mark.parametrize("override", BAD)
def test_windows_that_cannot_be_are_refused(name: str, override: str) -> None:
    with pytest.raises(ProfileError, match=BAD[override]):
        fields(name, override)


def test_a_missing_model_folder_is_refused() -> None:
    with pytest.raises(ModelError, match="nowhere"):
        fields("toybox", "model.id=./nowhere")


def test_random_weights_are_told() -> None:
    from storyflow.toybox.folder import weights

    made, _ = fields("toybox")
    assert made.notice == (RANDOM_WEIGHTS if weights() is None else None)


def test_time_is_counted_at_the_nominal_rate() -> None:
    text = STORY.replace("film: Quote", "film: Quote\nfps: 23.976")
    plan = planned(text)
    assert plan.fps == Fraction(24000, 1001)
    assert plan_rows(plan, predict(plan, NOTHING))[0].seconds == 14
