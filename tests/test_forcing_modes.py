"""Every mode of the segment loop against diffusers' stock pipelines, and what is wrong in those.

Float32, tiny random weights, one process, the same noise. Where the stock call is right the bits
are equal; where it is not, the test names the bug and pins what we do.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from diffusers import (
    SkyReelsV2DiffusionForcingImageToVideoPipeline,
    SkyReelsV2DiffusionForcingPipeline,
    SkyReelsV2DiffusionForcingVideoToVideoPipeline,
    SkyReelsV2Transformer3DModel,
)
from forcing_support import (
    GLOBAL_SEED,
    SEED,
    chained,
    embeddings,
    given,
    one_thread,
    our_window,
    stock_pipeline,
)
from numpy.typing import NDArray
from torch import Tensor

from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.vae import StreamingVAE, to_floats

__all__ = ["one_thread"]

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:Passing `image` as torch tensor"),
]

SET_AR_ATTENTION = SkyReelsV2Transformer3DModel._set_ar_attention

LIKE_STOCK: dict[str, Any] = {
    "model": "tiny",
    "dtype": "float32",
    "window": 33,
    "overlap": 9,
    "steps": 4,
    "guidance": 4.0,
    "sigmas": "diffusers",
    "history": "latents",
    "history_noise": 0,
    "solver_aliasing": True,
}
"""Windows of 9 latents, 3 of them history."""


@pytest.fixture(autouse=True)
def no_attention_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock turns on a causal mask with every block size; the weights were not trained for it."""
    kind = type(tiny_models.components().transformer)
    monkeypatch.setattr(kind, "_set_ar_attention", lambda self, block: None)


def config(**changes: Any) -> ForcingConfig:
    return ForcingConfig(**{**LIKE_STOCK, **changes})


def stock(
    pipeline_class: Any,
    frames: int,
    settings: ForcingConfig,
    global_seed: int = GLOBAL_SEED,
    **more: Any,
) -> Tensor:
    """What the stock pipeline gives: latents, unless `output_type` asks for pictures."""
    pipeline = stock_pipeline(pipeline_class=pipeline_class)
    return call(pipeline, frames, settings, global_seed, **more)


def call(
    pipeline: Any,
    frames: int,
    settings: ForcingConfig,
    global_seed: int = GLOBAL_SEED,
    **more: Any,
) -> Tensor:
    prompt, negative = embeddings()
    arguments = {
        "prompt": None,
        "prompt_embeds": prompt,
        "negative_prompt_embeds": negative,
        "height": tiny_models.HEIGHT,
        "width": tiny_models.WIDTH,
        "num_frames": frames,
        "base_num_frames": settings.window,
        "overlap_history": settings.overlap,
        "addnoise_condition": settings.history_noise,
        "num_inference_steps": settings.steps,
        "guidance_scale": settings.guidance,
        "ar_step": settings.ar_step,
        "causal_block_size": settings.block,
        "generator": torch.Generator().manual_seed(SEED),
        "output_type": "latent",
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(global_seed)
        result: Tensor = pipeline(**arguments | more).frames
    return result


def text_to_video(frames: int, settings: ForcingConfig, **more: Any) -> Tensor:
    return stock(SkyReelsV2DiffusionForcingPipeline, frames, settings, **more)


def image_to_video(frames: int, settings: ForcingConfig, **more: Any) -> Tensor:
    pipeline_class = SkyReelsV2DiffusionForcingImageToVideoPipeline
    return stock(pipeline_class, frames, settings, image=floats(START), **more)


def video_to_video(frames: int, settings: ForcingConfig, **more: Any) -> Tensor:
    return stock(SkyReelsV2DiffusionForcingVideoToVideoPipeline, frames, settings, **more)


def pictures(seed: int, count: int = 1) -> NDArray[np.uint8]:
    shape = (count, tiny_models.HEIGHT, tiny_models.WIDTH, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


START, END = pictures(1), pictures(2)


def floats(frames: NDArray[np.uint8]) -> Tensor:
    """One picture as the stock pipelines take tensors, [1, 3, h, w] in [-1, 1]."""
    return to_floats(frames)[:, :, 0]


def encoded(frames: NDArray[np.uint8]) -> Tensor:
    return StreamingVAE(tiny_models.components().vae).encode(frames)


def start_noise(latents: int) -> Tensor:
    shape = (1, 16, latents, tiny_models.HEIGHT // 8, tiny_models.WIDTH // 8)
    return torch.randn(shape, generator=torch.Generator().manual_seed(SEED))


# --- equal bits ---


@pytest.mark.parametrize(
    ("frames", "latents", "changes"),
    [
        (33, 9, {"ar_step": 1}),
        (33, 9, {"ar_step": 2, "block": 3}),
        (33, 9, {"ar_step": 9, "block": 3, "guidance": 1.0}),
        (69, 18, {"ar_step": 2, "block": 3, "history_noise": 20}),
        (77, 20, {"ar_step": 1, "history_noise": 20}),
        (41, 11, {"ar_step": 3, "steps": 6}),
    ],
)
def test_asynchronous_films_equal_stock_without_its_mask(
    frames: int, latents: int, changes: dict[str, Any]
) -> None:
    settings = config(**changes)
    theirs = text_to_video(frames, settings)
    ours = chained(settings, latents)
    assert theirs.shape[2] == latents and torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "changes", [{}, {"history_noise": 20}, {"ar_step": 1}, {"ar_step": 2, "history_noise": 20}]
)
def test_image_to_video_equals_stock(changes: dict[str, Any]) -> None:
    settings = config(**changes)
    ours = our_window(settings, given(first=encoded(START)), 9)
    assert torch.equal(ours, image_to_video(33, settings))


@pytest.mark.parametrize("changes", [{}, {"history_noise": 20}, {"ar_step": 1}])
def test_image_and_last_image_equal_stock(changes: dict[str, Any]) -> None:
    """Stock encodes both pictures in one batch, which moves the last bits; so do we for this test.

    It hands out the last image's latent too, and strips it before it decodes.
    """
    settings = config(**changes)
    vae = tiny_models.components().vae
    moments = vae.encode(torch.cat([to_floats(START), to_floats(END)])).latent_dist.mode()
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
    inverse_std = 1.0 / torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)
    start, end = ((moments - mean) * inverse_std).split(1)
    ours = our_window(settings, given(first=start, end=end), 9)
    theirs = image_to_video(33, settings, last_image=floats(END))
    assert torch.equal(ours, theirs[:, :, :-1])
    assert torch.equal(end, theirs[:, :, -1:])
    for alone, together in ((encoded(START), start), (encoded(END), end)):
        torch.testing.assert_close(alone, together)


def test_a_long_film_from_an_image_equals_stock() -> None:
    settings = config(history_noise=20)
    theirs = image_to_video(81, settings)
    assert torch.equal(chained(settings, 21, start=encoded(START)), theirs)


@pytest.mark.parametrize("changes", [{}, {"history_noise": 20}, {"ar_step": 2, "block": 3}])
def test_the_first_window_of_a_video_extension_equals_stock(changes: dict[str, Any]) -> None:
    clip = pictures(3, 20)
    settings = config(**changes)
    video = to_floats(clip)[0].permute(1, 0, 2, 3)  # [frames, 3, h, w]
    ours = our_window(settings, given(first=encoded(clip[-9:]), history=3), 9)
    assert torch.equal(ours, video_to_video(33, settings, video=video))


def test_causal_weights_see_what_stock_s_mask_lets_them_see() -> None:
    """Equal up to rounding: blocks that attend one by one take another kernel than a mask."""
    settings = config(ar_step=2, block=3, causal=True)
    model = copy.deepcopy(tiny_models.components().transformer)
    SET_AR_ATTENTION(model, 3)
    pipeline = stock_pipeline()
    pipeline.transformer = model
    theirs = call(pipeline, 33, settings, causal_block_size=None)
    ours = our_window(settings, given(), 9)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(theirs, text_to_video(33, settings), atol=1e-4)


# --- wrong in stock ---


def test_stock_returns_latents_beyond_the_last_whole_block_as_noise() -> None:
    """diffusers issue 13609. Ours gives them a shorter block of their own."""
    settings = config(window=37, ar_step=2, block=3)  # 10 latents
    theirs = text_to_video(37, settings)
    ours = our_window(settings, given(), 10)
    noise = start_noise(10)
    assert torch.equal(theirs[:, :, 9:], noise[:, :, 9:])
    assert not any(torch.equal(ours[:, :, i], noise[:, :, i]) for i in range(10))


def test_stock_denoises_over_an_image_when_it_has_blocks() -> None:
    """One given latent is 0 of its blocks. Ours counts latents, so the first block is shorter."""
    settings = config(ar_step=2, block=3)
    start = encoded(START)
    assert not torch.equal(image_to_video(33, settings)[:, :, :1], start)
    assert torch.equal(our_window(settings, given(first=start), 9)[:, :, :1], start)


def test_stock_cuts_the_newest_history_off_where_it_does_not_divide() -> None:
    """3 latents of history, blocks of 2: stock keeps the older two and renders the last once more,
    then throws that away, so the film goes on from frames nobody sees. Ours keeps all three.
    """
    settings = config(ar_step=1, block=2)
    theirs = text_to_video(69, config(ar_step=1, block=2, window=37))  # 10 latents, then 8
    ours = chained(config(ar_step=1, block=2, window=37), 18)
    assert torch.equal(ours[:, :, :10], theirs[:, :, :10])
    assert not torch.equal(ours[:, :, 10:], theirs[:, :, 10:])
    whole = our_window(settings, given(first=ours[:, :, 7:10], history=3), 9)
    assert torch.equal(whole[:, :, :3], ours[:, :, 7:10])


def test_stock_fails_on_a_last_image_in_a_long_film() -> None:
    """It lengthens the last window by the history's length in place of 1. Ours ends any segment."""
    settings = config()
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        image_to_video(57, settings, last_image=floats(END))  # 9 latents and 6
    film = chained(settings, 9, start=encoded(START))
    conditions = given(first=film[:, :, -3:], end=encoded(END), history=3)
    ending = our_window(settings, conditions, 9)
    assert ending.shape[2] == 9 and torch.isfinite(ending).all()
    assert torch.equal(ending[:, :, :3], film[:, :, -3:])
    plain = our_window(settings, given(first=film[:, :, -3:], history=3), 9)
    assert not torch.equal(ending[:, :, 3:], plain[:, :, 3:])


def test_stock_fails_on_a_ragged_last_window_of_a_film_from_an_image() -> None:
    """It plans every window at full length there, unlike its text-to-video call."""
    settings = config()
    with pytest.raises(IndexError):
        image_to_video(77, settings)
    film = chained(settings, 20, start=encoded(START))
    assert film.shape[2] == 20 and torch.isfinite(film).all()


def test_stock_history_noise_follows_the_global_generator() -> None:
    """Ours has its own stream; see test_forcing_segment.py."""
    settings = config(history_noise=20)
    one, two = (text_to_video(57, settings, global_seed=seed) for seed in (1, 2))
    assert not torch.equal(one, two)


def test_stock_repeats_the_overlap_of_an_extended_video() -> None:
    """20 frames of a clip and 24 new ones make 44; stock shows the 9 of the overlap twice."""
    clip = to_floats(pictures(3, 20))[0].permute(1, 0, 2, 3)
    theirs = video_to_video(33, config(), video=clip, output_type="pt")
    assert theirs.shape[1] == 20 + 33
