"""An artifact made again from what the store has of its inputs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from farm_support import LatentRenderer, LengthEncoder, Shot, latent_kind, render, tiny_plan
from films import Studio

import storyflow
from storyflow.errors import InputError, StoreError
from storyflow.pipeline import Profile
from storyflow.planning.keys import media_key
from storyflow.renderer import Given, ModelKind, SegmentSpec, Sink
from storyflow.replaying import Replay, replay_artifact
from storyflow.store.artifacts import Artifact
from storyflow.store.store import Store


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """A chain on slate: a fresh segment, and one that continues it."""
    text = "film: F\nshots:\n- {id: 1A, dur: 2s, do: a}\n- {id: 1B, from: prev, dur: 2s, do: b}\n"
    studio = Studio(tmp_path_factory.mktemp("film"), text)
    studio.render()
    return studio


def keys(studio: Studio) -> dict[str, str]:
    record = json.loads((studio.folder / "out" / "run.json").read_text())
    return {was["name"]: was["key"] for was in record["segments"]}


@pytest.mark.parametrize("name", ["1A/1", "1B/1"])
def test_a_segment_is_made_again_bit_for_bit(film: Studio, name: str) -> None:
    store = film.options["store"]
    made = storyflow.replay(keys(film)[name], store=store)
    assert made.same and made.name == name and made.kind == "segment"
    assert made.distance.differing == 0 and made.distance.psnr is None
    assert made.then == made.now != ""
    assert json.loads(json.dumps(made.as_data()))["same"] is True


def test_the_first_letters_of_a_key_are_enough(film: Studio) -> None:
    key = keys(film)["1A/1"]
    assert storyflow.replay(key[:12], store=film.options["store"]).key == key


def test_a_replay_leaves_the_store_as_it_is(film: Studio) -> None:
    root = Path(str(film.options["store"]))
    before = sorted(root.rglob("*"))
    storyflow.replay(keys(film)["1B/1"], store=root)
    assert sorted(root.rglob("*")) == before


def test_an_unknown_key_is_refused(film: Studio) -> None:
    with pytest.raises(InputError, match=r"has no artifact 0123.*film\.json"):
        storyflow.replay("0123" * 16, store=film.options["store"])
    with pytest.raises(InputError, match="has no artifact"):
        storyflow.replay("no", store=film.options["store"])


class Shifted(LatentRenderer):
    """The same pixels, one brighter from the fourth frame on: another numerics class."""

    def numerics(self) -> str:
        return "other"

    def render(
        self,
        spec: SegmentSpec,
        prompt: np.ndarray | None,
        negative: np.ndarray | None,
        given: Given,
        sink: Sink,
    ) -> None:
        super().render(spec, prompt, negative, given, _Brighter(sink))


class _Brighter:
    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.step, self.latents = sink.step, sink.latents

    def frames(self, chunk: np.ndarray) -> None:
        chunk = chunk.copy()
        chunk[3:] ^= 2
        self.sink.frames(chunk)


def kind_with(**changes: object) -> Callable[[Profile, int], ModelKind]:
    return lambda profile, threads: replace(latent_kind(profile, threads), **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def latent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, list[Artifact], Artifact]:
    """Segments that continue from latents, and a prompt."""
    root = tmp_path_factory.mktemp("store")
    plan = tiny_plan(Shot("1A", ("a", "b")), kind="latent", history="latents")
    made = asyncio.run(render(plan, root))
    store = Store(root)
    segments = [made.report.artifacts[s.recipe] for s in plan.segments]
    assert segments[0].origin is not None and segments[0].origin.prompt is not None
    prompt = store.find(segments[0].origin.prompt)
    assert prompt is not None
    return store, segments, prompt


def test_embeddings_and_latent_history_come_from_the_store(
    latent: tuple[Store, list[Artifact], Artifact],
) -> None:
    store, segments, _ = latent
    for segment in segments:
        made = replay_artifact(store, segment.key, latent_kind)
        assert made.same and made.latents_same is True


def test_another_class_tells_how_far_apart_it_is(
    latent: tuple[Store, list[Artifact], Artifact],
) -> None:
    store, segments, _ = latent
    made: Replay = replay_artifact(store, segments[0].key, kind_with(renderer=Shifted))
    apart = made.distance
    assert not made.same and made.latents_same is True
    assert (made.then, made.now) == ("test", "other")
    assert (apart.count, apart.differing, apart.first) == (9, 6, 3)
    assert apart.greatest == 2 and apart.mean == pytest.approx(2 * 6 / 9)
    assert apart.psnr == pytest.approx(10 * np.log10(255**2 / (4 * 6 / 9)))
    assert made.notes == ()


def test_other_bits_in_one_class_are_a_fault_and_told(
    latent: tuple[Store, list[Artifact], Artifact],
) -> None:
    class Unsteady(Shifted):
        def numerics(self) -> str:
            return "test"

    store, segments, _ = latent
    made = replay_artifact(store, segments[0].key, kind_with(renderer=Unsteady))
    assert not made.same and "one numerics class must give equal bytes" in made.notes[0]


def test_a_prompt_is_encoded_again(latent: tuple[Store, list[Artifact], Artifact]) -> None:
    store, _, prompt = latent
    made = replay_artifact(store, prompt.key, latent_kind)
    assert made.same and made.kind == "prompt"

    class Longer(LengthEncoder):
        def encode(self, text: str) -> np.ndarray:
            return super().encode(text) + np.float32([[0, 0.5]])

    other = replay_artifact(store, prompt.key, kind_with(text_encoder=Longer))
    assert not other.same
    assert (other.distance.differing, other.distance.greatest) == (1, 0.5)


REFUSED = {
    "another model": (kind_with(identity="other"), "rendered by latent, the profile now means"),
    "other settings": (kind_with(pixel_fields=(("steps", 3),)), "other settings: steps"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_the_same_model_is_refused(
    latent: tuple[Store, list[Artifact], Artifact], name: str
) -> None:
    kind, words = REFUSED[name]
    store, segments, _ = latent
    with pytest.raises(InputError, match=words):
        replay_artifact(store, segments[0].key, kind)


def test_another_text_encoder_is_refused(
    latent: tuple[Store, list[Artifact], Artifact],
) -> None:
    store, _, prompt = latent
    with pytest.raises(InputError, match="encoded by lengths"):
        replay_artifact(store, prompt.key, kind_with(encoder="other"))


def test_an_input_that_is_gone_is_told(tmp_path: Path) -> None:
    plan = tiny_plan(Shot("1A", ("a", "b")), kind="latent")
    made = asyncio.run(render(plan, tmp_path))
    first, second = (made.report.artifacts[s.recipe] for s in plan.segments)
    Store(tmp_path).discard(first.key)
    with pytest.raises(StoreError, match=f"an input, {first.key}, is no longer in"):
        replay_artifact(Store(tmp_path), second.key, latent_kind)


def test_a_picture_is_read_not_rendered(tmp_path: Path) -> None:
    from storyflow.planning.nodes import Condition
    from storyflow.timing import Size

    key = media_key(Condition("start", "d" * 64), Size(64, 48), 1, 24)  # type: ignore[arg-type]
    store = Store(tmp_path)
    store.commit(key=key, recipe=key, kind="media", digest="d", inputs="{}", files={})
    with pytest.raises(InputError, match="an author's file is read, not rendered"):
        replay_artifact(store, key)
