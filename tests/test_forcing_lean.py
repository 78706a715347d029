"""The lean forward pass against the stock transformer: equal bits in float32."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
import torch
from diffusers import SkyReelsV2Transformer3DModel
from torch import Tensor

from storyflow.forcing.transformer import LeanTransformer, PromptContext

FRAMES, HIGH, WIDE = 6, 4, 6
TEXT_DIM, IMAGE_DIM = 24, 20


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(before)


def stock(seed: int = 3, **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "text_dim": TEXT_DIM,
        "freq_dim": 32,
        "ffn_dim": 48,
        "num_layers": 3,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SkyReelsV2Transformer3DModel(**{**settings, **changes}).eval()


def reads_images(**changes: Any) -> Any:
    """The image-to-video layout: 20 of 36 channels are the picture, beside its CLIP embedding."""
    return stock(
        in_channels=36, out_channels=16, image_dim=IMAGE_DIM, added_kv_proj_dim=24, **changes
    )


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def mixed_levels() -> Tensor:
    return torch.tensor([[20, 20, 700, 700, 999, 999]])


def test_one_noise_level_for_all_frames_equals_the_stock_model() -> None:
    model = stock()
    latents, text = drawn(1, 16, FRAMES, HIGH, WIDE), drawn(1, 512, TEXT_DIM, seed=1)
    lean = LeanTransformer(model, Fraction(24))
    for level in (999, 500, 3):
        wanted = model(latents, torch.tensor([level]), text).sample
        (got,) = lean(latents, torch.tensor([[level]]), [lean.read_prompt(text)])
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("forcing", [False, True])
def test_a_model_that_reads_an_image_equals_the_stock_model(forcing: bool) -> None:
    model = reads_images()
    latents, image = drawn(1, 36, FRAMES, HIGH, WIDE), drawn(1, 257, IMAGE_DIM, seed=2)
    texts = [drawn(1, 512, TEXT_DIM, seed=1), drawn(1, 512, TEXT_DIM, seed=4)]
    lean = LeanTransformer(model, Fraction(24))
    levels = mixed_levels() if forcing else torch.tensor([[980]])
    got = lean(latents, levels, [lean.read_prompt(text, image) for text in texts])
    for velocity, text in zip(got, texts, strict=True):
        stocks = levels if forcing else levels[0]
        wanted = model(latents, stocks, text, image, enable_diffusion_forcing=forcing).sample
        assert velocity.shape == (1, 16, FRAMES, HIGH, WIDE)
        assert torch.equal(velocity, wanted)


def test_an_image_is_asked_for_exactly_where_the_model_reads_one() -> None:
    text, image = drawn(1, 512, TEXT_DIM), drawn(1, 257, IMAGE_DIM)
    plain, reader = (LeanTransformer(m, Fraction(24)) for m in (stock(), reads_images()))
    assert (plain.image_dim, reader.image_dim) == (None, IMAGE_DIM)
    with pytest.raises(ValueError, match="an image embedding for a model whose image_dim is None"):
        plain.read_prompt(text, image)
    with pytest.raises(ValueError, match="no image embedding for a model whose image_dim is 20"):
        reader.read_prompt(text)


@pytest.mark.parametrize("size", [2, 3])
def test_block_causal_attention_equals_the_stock_mask(size: int) -> None:
    # Sixteen tokens a frame: the kernel adds keys up sixteen at a time, so equal bits can be asked.
    model = stock(inject_sample_info=True)
    latents, text = drawn(1, 16, FRAMES, 8, 8), drawn(1, 512, TEXT_DIM, seed=1)
    lean = LeanTransformer(model, Fraction(24))
    prompt = lean.read_prompt(text)
    blocks = torch.arange(FRAMES) // size
    (got,) = lean(latents, mixed_levels(), [prompt], blocks=blocks)
    (unmasked,) = lean(latents, mixed_levels(), [prompt])
    model._set_ar_attention(size)
    wanted = model(latents, mixed_levels(), text, enable_diffusion_forcing=True, fps=[1]).sample
    assert torch.equal(got, wanted)
    assert not torch.equal(unmasked, wanted)


def test_frames_that_every_block_sees_may_stand_anywhere() -> None:
    model = stock()
    latents, text = drawn(1, 16, FRAMES, HIGH, WIDE), drawn(1, 512, TEXT_DIM, seed=1)
    lean = LeanTransformer(model, Fraction(24))
    prompt = lean.read_prompt(text)
    blocks = torch.tensor([0, 0, 1, 1, 2, 0])  # the last frame is an end picture
    (got,) = lean(latents, mixed_levels(), [prompt], blocks=blocks)
    hidden = latents.clone()
    hidden[:, :, 4] += 1  # only what belongs to the last block may notice
    (other,) = lean(hidden, mixed_levels(), [prompt], blocks=blocks)
    same = [torch.equal(got[:, :, f], other[:, :, f]) for f in range(FRAMES)]
    assert same == [True, True, True, True, False, True]
    end = latents.clone()
    end[:, :, 5] += 1
    (other,) = lean(end, mixed_levels(), [prompt], blocks=blocks)
    assert not any(torch.equal(got[:, :, f], other[:, :, f]) for f in range(FRAMES))


@pytest.mark.parametrize(
    ("info", "head"), [(False, 12), (True, 12), (True, 16), (True, 32), (True, 80)]
)
def test_a_level_per_frame_equals_the_stock_model(info: bool, head: int) -> None:
    model = stock(inject_sample_info=info, attention_head_dim=head)
    latents, text = drawn(1, 16, FRAMES, HIGH, WIDE), drawn(1, 512, TEXT_DIM, seed=1)
    for fps in (16, 24):
        lean = LeanTransformer(model, Fraction(fps))
        (got,) = lean(latents, mixed_levels(), [lean.read_prompt(text)])
        wanted = model(
            latents,
            mixed_levels(),
            text,
            enable_diffusion_forcing=True,
            fps=[int(fps != 16)],
        ).sample
        assert torch.equal(got, wanted)


def largest_difference(one: list[Tensor], other: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def prompts_of(lean: LeanTransformer, count: int = 2) -> list[PromptContext]:
    return [lean.read_prompt(drawn(1, 512, TEXT_DIM, seed=10 + i)) for i in range(count)]


@pytest.mark.parametrize("levels", [mixed_levels(), torch.tensor([[700]])])
def test_both_passes_of_guidance_in_one_batch_give_the_same(levels: Tensor) -> None:
    model = stock(inject_sample_info=True)
    latents = drawn(1, 16, FRAMES, HIGH, WIDE)
    plain = LeanTransformer(model, Fraction(24))
    fused = LeanTransformer(model, Fraction(24), fuse_guidance=True)
    prompts = prompts_of(plain)
    wanted, got = plain(latents, levels, prompts), fused(latents, levels, prompts)
    assert [v.shape for v in got] == [v.shape for v in wanted]
    assert largest_difference(got, wanted) < 2e-6
    (alone,) = fused(latents, levels, prompts[:1])
    assert torch.equal(alone, wanted[0])


def test_fused_passes_keep_what_the_blocks_added() -> None:
    lean = LeanTransformer(stock(), Fraction(24), fuse_guidance=True)
    latents, kept = drawn(1, 16, FRAMES, HIGH, WIDE), list[Tensor]()
    wanted = lean(latents, mixed_levels(), prompts_of(lean), keep=kept)
    again = lean.again(latents, mixed_levels(), kept)
    assert largest_difference(again, wanted) < 2e-6


@pytest.mark.parametrize("fuse", [False, True])
def test_the_blocks_compile_whole_once_for_a_window_length(fuse: bool) -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    model = stock(inject_sample_info=True)
    plain = LeanTransformer(model, Fraction(24))
    lean = LeanTransformer(model, Fraction(24), fuse_guidance=fuse, compiler=counter)
    prompts, graphs = prompts_of(plain), []
    for frames in (FRAMES, 4, FRAMES, 4):
        latents, levels = drawn(1, 16, frames, HIGH, WIDE), mixed_levels()[:, :frames]
        for _ in range(2):
            got = lean(latents, levels, prompts)
        wanted = plain(latents, levels, prompts)
        assert largest_difference(got, wanted) < 2e-6
        graphs.append(counter.frame_count)
    # One for each half of a block; three where the first half has one pass and then two.
    each = 3 if fuse else 2
    assert graphs == [each, 2 * each, 2 * each, 2 * each]
    torch._dynamo.reset()
