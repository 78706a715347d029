"""The segment loop against diffusers' stock classes: equal bits where both define the same thing.

Float32, tiny random weights, one process.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import tiny_models
import torch
from diffusers import SkyReelsV2Transformer3DModel, UniPCMultistepScheduler
from forcing_support import GLOBAL_SEED, SEED, chained, embeddings, one_thread, stock_pipeline
from torch import Tensor

from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.schedule import Spacing, make_schedule
from storyflow.forcing.solver import UniPC
from storyflow.forcing.transformer import LeanTransformer
from storyflow.forcing.vae import StreamingVAE, to_bytes, to_floats

__all__ = ["one_thread"]

pytestmark = pytest.mark.usefixtures("one_thread")

WINDOW, OVERLAP, FRAMES = 33, 9, 77
"""Latents: windows of 9 with 3 of history; 20 in all, so 9 new, 6 new and a ragged 5."""


@pytest.mark.parametrize(
    ("history_noise", "guidance", "steps", "shift", "fps", "sample_info"),
    [
        (0, 4.0, 4, 8.0, 24, True),
        (20, 4.0, 4, 8.0, 24, True),
        (20, 1.0, 3, 3.0, 16, True),
        (0, 6.0, 2, 5.0, 24, False),
        (0, 4.0, 1, 8.0, 24, True),
    ],
)
def test_three_segments_equal_the_stock_long_video_call(
    history_noise: int, guidance: float, steps: int, shift: float, fps: int, sample_info: bool
) -> None:
    config = ForcingConfig(
        model="tiny",
        dtype="float32",
        window=WINDOW,
        overlap=OVERLAP,
        steps=steps,
        guidance=guidance,
        shift=shift,
        sigmas="diffusers",
        history="latents",
        history_noise=history_noise,
        fps=Fraction(fps),
        solver_aliasing=True,
    )
    prompt, negative = embeddings()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(GLOBAL_SEED)
        stock = stock_pipeline(shift, sample_info)(
            prompt=None,
            prompt_embeds=prompt,
            negative_prompt_embeds=negative,
            height=tiny_models.HEIGHT,
            width=tiny_models.WIDTH,
            num_frames=FRAMES,
            base_num_frames=WINDOW,
            overlap_history=OVERLAP,
            addnoise_condition=history_noise,
            num_inference_steps=steps,
            guidance_scale=guidance,
            fps=fps,
            generator=torch.Generator().manual_seed(SEED),
            output_type="latent",
        ).frames
        ours = chained(config, stock.shape[2], sample_info)
    assert ours.shape == stock.shape == (1, 16, 20, 4, 6)
    assert torch.isfinite(ours).all()
    assert torch.equal(ours, stock)


def test_without_the_parity_switch_the_first_corrector_reads_the_right_sample() -> None:
    def film(aliasing: bool) -> Tensor:
        return chained(
            ForcingConfig(
                model="tiny",
                dtype="float32",
                window=WINDOW,
                overlap=OVERLAP,
                steps=4,
                guidance=1.0,
                history="latents",
                history_noise=0,
                solver_aliasing=aliasing,
            ),
            total=9,
        )

    assert not torch.equal(film(True), film(False))


@pytest.mark.parametrize(
    ("sample_info", "dtype"),
    [(True, torch.float32), (False, torch.float32), (True, torch.bfloat16)],
)
def test_the_lean_forward_pass_equals_the_stock_one(sample_info: bool, dtype: torch.dtype) -> None:
    model = tiny_models.components(0, sample_info).transformer
    if dtype != torch.float32:
        model = SkyReelsV2Transformer3DModel.from_pretrained(
            tiny_models.folder(), subfolder="transformer", torch_dtype=dtype
        )
    prompts = [embedding.to(dtype) for embedding in embeddings()]
    generator = torch.Generator().manual_seed(7)
    latents = torch.randn(1, 16, 5, 6, 4, generator=generator).to(dtype)
    timesteps = torch.tensor([[0, 20, 999, 500, 3]])
    lean = LeanTransformer(model, fps=Fraction(24))
    ours = lean(latents, timesteps, [lean.read_prompt(p) for p in prompts])
    for prompt, velocity in zip(prompts, ours, strict=True):
        stock = model(
            latents, timesteps, prompt, enable_diffusion_forcing=True, fps=[1], return_dict=False
        )[0]
        assert torch.equal(velocity, stock)


@pytest.mark.parametrize("spacing", ["reference", "diffusers"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 30])
def test_the_solver_equals_the_stock_scheduler(steps: int, spacing: Spacing) -> None:
    schedule = make_schedule(steps, 5.0, spacing)
    stock = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
    )
    if spacing == "diffusers":
        stock.set_timesteps(steps)
    else:
        stock.set_timesteps(sigmas=np.linspace(0.999, 0, steps + 1)[:-1])
    assert stock.timesteps.tolist() == schedule.timesteps.tolist()
    assert stock.sigmas.tolist() == schedule.sigmas.tolist()
    solver = UniPC(schedule.sigmas).begin()
    generator = torch.Generator().manual_seed(1)
    theirs = ours = torch.randn(1, 16, 3, 4, generator=generator)
    for timestep in stock.timesteps:
        velocity = torch.randn(ours.shape, generator=generator)
        theirs = stock.step(velocity, timestep, theirs, return_dict=False)[0]
        ours = solver.step(velocity, ours)
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("latents", [1, 2, 5])
def test_streaming_decode_equals_the_monolithic_one(latents: int) -> None:
    vae = tiny_models.components().vae
    z = torch.randn(1, 16, latents, 4, 6, generator=torch.Generator().manual_seed(2))
    mean = torch.tensor(vae.config.latents_mean).view(1, 16, 1, 1, 1)
    inverse_std = 1.0 / torch.tensor(vae.config.latents_std).view(1, 16, 1, 1, 1)
    whole = vae.decode(z / inverse_std + mean, return_dict=False)[0]
    chunks = list(StreamingVAE(vae).decode(z))
    assert [c.shape[2] for c in chunks] == [1] + [4] * (latents - 1)
    assert torch.equal(torch.cat(chunks, dim=2), whole)


@pytest.mark.parametrize("frames", [1, 5, 17])
def test_streaming_encode_equals_the_monolithic_one(frames: int) -> None:
    vae = tiny_models.components().vae
    pixels = np.random.default_rng(0).integers(0, 256, (frames, 32, 48, 3), dtype=np.uint8)
    mean = torch.tensor(vae.config.latents_mean).view(1, 16, 1, 1, 1)
    inverse_std = 1.0 / torch.tensor(vae.config.latents_std).view(1, 16, 1, 1, 1)
    whole = (vae.encode(to_floats(pixels)).latent_dist.mode() - mean) * inverse_std
    assert torch.equal(StreamingVAE(vae).encode(pixels), whole)


def test_bytes_and_floats_convert_back_exactly() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    assert np.array_equal(to_bytes(to_floats(levels)), levels)


@pytest.mark.parametrize(
    ("value", "level"), [(-1.0, 0), (1.0, 255), (-3.0, 0), (9.0, 255), (0.0, 128), (-0.99, 1)]
)
def test_floats_round_to_the_nearest_byte(value: float, level: int) -> None:
    assert to_bytes(torch.full((1, 3, 1, 2, 2), value)).tolist() == [[[[level] * 3] * 2] * 2]
