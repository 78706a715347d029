"""Estimates from a store's own timings, against times that vary by 30 %."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from plan_films import KIND, planned, with_kind

from storyflow.farm.timings import SAMPLE, Past, prompt_entry, timing_entry
from storyflow.planning.finish import GPU_SPEED, Timings, estimate
from storyflow.planning.nodes import Segment
from storyflow.store.artifacts import Origin
from storyflow.store.store import Store

SHOTS = "\n".join(f"- {{id: S{n}, dur: {3 + n % 12}s, do: wave {n}}}" for n in range(30))
SEGMENTS = planned(f"film: Seen\nshots:\n{SHOTS}\n").segments
NEXT = planned(f"film: Next\nseed: 9\nshots:\n{SHOTS}\n").segments


def drawn(dice: random.Random, segment: Segment, seconds: float = 40.0) -> float:
    """Seconds for a segment: by its window, and up to 30 % more or less."""
    return seconds * segment.inputs.spec.window / 97 * dice.uniform(0.7, 1.3)


def fill(
    store: Store,
    segments: tuple[Segment, ...] = SEGMENTS,
    numerics: str = "h100",
    setup: float = 0.0,
) -> None:
    dice = random.Random(1)
    for segment in segments:
        store.commit(
            key=f"{numerics}-{segment.recipe}",
            recipe=segment.recipe,
            kind="segment",
            digest="",
            inputs="{}",
            files={},
            numerics=numerics,
            seconds=drawn(dice, segment),
            origin=Origin(segment.name, "{}", setup=setup),
        )
        store.remember(timing_entry(segment.inputs), f"{numerics}-{segment.recipe}")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("store"))
    fill(made, setup=8.0)
    return made


@dataclass(frozen=True)
class Actual(Timings):
    """What each segment will really take."""

    drawn: dict[str, float] = field(default_factory=dict)

    def seconds(self, segment: Segment) -> float:
        return self.drawn[segment.recipe]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("workers", [1, 4, 16])
def test_an_estimate_from_timings_is_within_a_fifth(store: Store, seed: int, workers: int) -> None:
    timings = Past(store, store.recipes()).timings(NEXT, KIND)
    dice = random.Random(100 + seed)
    actual = Actual(drawn={s.recipe: drawn(dice, s) for s in NEXT}, setup=8.0)
    said, came = (estimate(NEXT, 0, times, workers=workers) for times in (timings, actual))
    assert said.gpu_seconds == pytest.approx(came.gpu_seconds, rel=0.2)
    assert said.seconds == pytest.approx(came.seconds, rel=0.2)


def test_a_few_artifacts_of_each_length_are_opened(store: Store) -> None:
    timings = Past(store, store.recipes()).timings(NEXT, KIND)
    lengths = {(s.inputs.spec.window, s.inputs.spec.overlap) for s in SEGMENTS}
    assert {(t.window, t.overlap) for t in timings.lengths} == lengths
    assert all(1 <= t.count <= SAMPLE for t in timings.lengths)
    assert max(t.count for t in timings.lengths) == SAMPLE
    assert (timings.numerics, timings.setup) == ("h100", 8.0)


def test_the_class_with_the_most_timings_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, SEGMENTS[:2], "h100")
    fill(store, SEGMENTS[2:9], "h200")
    assert Past(store, store.recipes()).timings(NEXT, KIND).numerics == "h200"


def test_a_film_takes_the_sum_so_the_mean_counts_but_not_a_machine_that_slept(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    segment = SEGMENTS[0]
    for number, seconds in enumerate((4.0, 4.0, 5.0, 8.0, 9.0, 3600.0)):
        key = f"key-{number}"
        store.commit(
            key=key, recipe=f"recipe-{number}", kind="segment", digest="", inputs="{}", files={},
            seconds=seconds, origin=Origin("A/1", "{}"),
        )  # fmt: skip
        store.remember(timing_entry(segment.inputs), key)
    assert Past(store, store.recipes()).timings([segment], KIND).seconds(segment) == 6.0


def test_other_models_settings_and_sizes_have_timings_of_their_own(store: Store) -> None:
    for changes in ({"identity": "model@2"}, {"pixel_fields": (("steps", 21),)}):
        other = planned(f"film: Next\nshots:\n{SHOTS}\n", kind=with_kind(**changes)).segments
        timings = Past(store, store.recipes()).timings(other, KIND)
        assert timings.lengths == () and "no timings" in timings.source


def test_without_timings_the_speed_is_that_of_the_workers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert Past(store, {}).timings(NEXT, with_kind(wants_gpu=True)).speed == GPU_SPEED
    one, four = (Past(store, {}).timings(NEXT, KIND, threads=n).speed for n in (1, 4))
    assert 0 < one < GPU_SPEED and four == 4 * one


def test_prompts_are_timed_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number, seconds in enumerate((1.0, 2.0, 9.0)):
        key = f"prompt-{number}"
        store.commit(
            key=key, recipe=key, kind="prompt", digest="", inputs="{}", files={},
            seconds=seconds, origin=Origin("prompt", "{}", setup=5.0),
        )  # fmt: skip
        store.remember(prompt_entry(KIND.encoder), key)
    timings = Past(store, store.recipes()).timings(NEXT, KIND)
    assert (timings.prompt, timings.prompt_setup) == (2.0, 5.0)
