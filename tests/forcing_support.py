"""What the tests of diffusion forcing share: the stock pipelines and our loop on the same weights,
embeddings and noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import tiny_models
import torch
from diffusers import SkyReelsV2DiffusionForcingPipeline
from torch import Tensor

from storyflow.forcing.conditions import Conditions
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.lattice import latent_frames
from storyflow.forcing.segment import denoise
from storyflow.forcing.transformer import LeanTransformer

SEED = 11
"""Of the start noise, stock and ours."""

GLOBAL_SEED = 3
"""Of the global generator, which stock's history noise comes from."""


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(before)


def embeddings() -> tuple[Tensor, Tensor]:
    """A prompt of 9 tokens and a negative one of 3, padded to 512."""
    generator = torch.Generator().manual_seed(5)
    padded = torch.zeros(2, 512, tiny_models.TEXT_DIM)
    padded[0, :9] = torch.randn(9, tiny_models.TEXT_DIM, generator=generator)
    padded[1, :3] = torch.randn(3, tiny_models.TEXT_DIM, generator=generator)
    return padded[:1], padded[1:]


def stock_pipeline(
    shift: float = 8.0,
    sample_info: bool = True,
    pipeline_class: Any = SkyReelsV2DiffusionForcingPipeline,
) -> Any:
    from storyflow.toybox import architecture

    parts = tiny_models.components(0, sample_info)
    pipeline = pipeline_class(
        tokenizer=None,
        text_encoder=None,
        transformer=parts.transformer,
        vae=parts.vae,
        scheduler=architecture.scheduler(shift),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


class InjectedNoise:
    """Start noise from one generator for the whole film, history noise from the global one."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def initial(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._generator)

    def history(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape)

    def consistency(self, shape: tuple[int, ...]) -> Tensor:
        raise AssertionError("neither reference code has this solver")


def prompts_of(transformer: LeanTransformer, config: ForcingConfig) -> list[Any]:
    texts = embeddings() if config.guided else embeddings()[:1]
    return [transformer.read_prompt(text) for text in texts]


def picture_latents() -> tuple[int, int]:
    """Height and width of a picture's latents."""
    return tiny_models.HEIGHT // 8, tiny_models.WIDTH // 8


def nothing() -> Tensor:
    """No latents at all."""
    return torch.zeros(1, 16, 0, *picture_latents())


def given(first: Tensor | None = None, end: Tensor | None = None, history: int = 0) -> Conditions:
    return Conditions(
        nothing() if first is None else first, nothing() if end is None else end, history
    )


def our_window(config: ForcingConfig, conditions: Conditions, latents: int) -> Tensor:
    """One window of ours with stock's noise; all its latents."""
    transformer = LeanTransformer(tiny_models.components().transformer, config.fps)
    noise = InjectedNoise(torch.Generator().manual_seed(SEED))
    prompts = prompts_of(transformer, config)
    torch.manual_seed(GLOBAL_SEED)
    return denoise(transformer, config, conditions, latents, prompts, noise, lambda done, of: None)


def chained(
    config: ForcingConfig, total: int, sample_info: bool = True, start: Tensor | None = None
) -> Tensor:
    """All latents of a film of `total` latent frames, segment by segment with latent history."""
    transformer = LeanTransformer(tiny_models.components(0, sample_info).transformer, config.fps)
    prompts = prompts_of(transformer, config)
    noise = InjectedNoise(torch.Generator().manual_seed(SEED))
    window, overlap = latent_frames(config.window), latent_frames(config.overlap)
    torch.manual_seed(GLOBAL_SEED)
    film = nothing() if start is None else start
    fresh = True
    while film.shape[2] < total:
        known = film if fresh else film[:, :, -overlap:]
        fresh = False
        size = min(window, total - film.shape[2] + known.shape[2])
        whole = denoise(
            transformer, config, given(known), size, prompts, noise, lambda done, of: None
        )
        film = torch.cat([film, whole[:, :, known.shape[2] :]], dim=2)
    return film
