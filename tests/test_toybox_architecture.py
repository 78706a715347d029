"""The toy model is the real architecture, made small, in a folder that stock diffusers loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from storyflow.toybox import architecture


@pytest.fixture(scope="module")
def built() -> architecture.Components:
    return architecture.build(3)


@pytest.fixture(scope="module")
def folder(built: architecture.Components, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("toybox")
    architecture.save(built, place)
    return place


def test_random_weights_depend_on_the_seed_alone(built: architecture.Components) -> None:
    torch.rand(7)
    again, other = architecture.build(3), architecture.build(4)
    for name in ("transformer", "vae", "text_encoder"):
        first, same, differs = (
            torch.cat([p.flatten() for p in getattr(c, name).parameters()])
            for c in (built, again, other)
        )
        assert torch.equal(first, same)
        assert not torch.equal(first, differs)


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    architecture.build(1)
    assert torch.equal(torch.rand(3), expected)


def test_stock_diffusers_loads_the_folder_and_renders(folder: Path) -> None:
    from diffusers import SkyReelsV2DiffusionForcingPipeline

    pipeline = SkyReelsV2DiffusionForcingPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    video = pipeline(
        "a red star drifts to the right", height=64, width=96, num_frames=9, num_inference_steps=2
    ).frames
    assert video.shape == (1, 9, 64, 96, 3)


def test_loading_gives_back_what_was_saved(built: architecture.Components, folder: Path) -> None:
    loaded = architecture.load(folder)
    for name in ("transformer", "vae", "text_encoder"):
        saved, read = getattr(built, name).state_dict(), getattr(loaded, name).state_dict()
        assert saved.keys() == read.keys()
        assert all(torch.equal(saved[key], read[key]) for key in saved)
    prompt = "A blue heart, at dusk."
    assert loaded.tokenizer(prompt).input_ids == built.tokenizer(prompt).input_ids


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("A red STAR", ["a", "red", "star", "</s>"]),
        ("a slow-moving star.", ["a", "slow", "moving", "star", ".", "</s>"]),
        ("a zeppelin, red", ["a", "<unk>", "red", "</s>"]),
        ("", ["</s>"]),
    ],
)
def test_the_tokenizer_knows_words(
    built: architecture.Components, text: str, pieces: list[str]
) -> None:
    ids = built.tokenizer(text).input_ids
    assert built.tokenizer.convert_ids_to_tokens(ids) == pieces


def test_the_tokenizer_pads_and_truncates(built: architecture.Components) -> None:
    batch = built.tokenizer(
        ["a star", "a " * 99], padding="max_length", truncation=True, max_length=8
    )
    assert [len(ids) for ids in batch.input_ids] == [8, 8]
    assert batch.attention_mask[0] == [1, 1, 1, 0, 0, 0, 0, 0]
    assert built.tokenizer.convert_ids_to_tokens(batch.input_ids[1])[-1] == "</s>"
