"""How pictures enter a full-sequence transformer: as latents beside the noise, with a mask.

Image-to-video weights read three things stacked by channel, for every latent frame: the noisy
latents; a mask of four channels, one for each pixel frame that the latent stands for, 1 where that
frame is given; and the latents of a film that shows the given pictures and is grey elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storyflow.forcing.lattice import FRAMES_PER_LATENT, latent_frames
from storyflow.forcing.transformer import LeanTransformer, PromptContext
from storyflow.forcing.vae import StreamingVAE, to_floats
from storyflow.forcing.weights.family import MASK_CHANNELS

Picture = NDArray[np.uint8]
"""uint8 [height, width, 3], RGB."""


def picture_condition(
    vae: StreamingVAE, window: int, start: Picture, end: Picture | None = None
) -> Tensor:
    """Mask and latents, float32 [1, 4 + c, f, h, w], of a window of `window` frames (4f-3).

    `start` is its first frame, `end`, for weights trained with one, its last.
    """
    latents = vae.encode_chunks(_film(window, start, end))
    _, _, f, h, w = latents.shape
    mask = torch.zeros(1, MASK_CHANNELS, f, h, w, device=latents.device)
    mask[:, :, 0] = 1  # the first latent is one frame, so all four places are that frame's
    if end is not None:
        mask[:, -1, -1] = 1
    return torch.cat([mask, latents], dim=1)


def _film(window: int, start: Picture, end: Picture | None) -> Iterator[Tensor]:
    """The given pictures in their places, grey between, as the VAE's encoder takes them."""
    first = to_floats(start[None])  # [1, 3, 1, height, width]
    grey = first.new_zeros(1, 3, FRAMES_PER_LATENT, *start.shape[:2])
    yield first
    later = latent_frames(window) - 1
    for _ in range(later - 1):
        yield grey
    if end is not None:
        grey = torch.cat([grey[:, :, 1:], to_floats(end[None])], dim=2)
    yield grey


class SequenceTransformer:
    """A full-sequence transformer, asked as the loop of diffusion forcing asks.

    Every frame has the same noise level, so it is told once; `condition` [1, k, f, h, w] (k is 0
    for text to video) joins the latents as further channels.
    """

    def __init__(self, transformer: LeanTransformer, condition: Tensor) -> None:
        self._transformer = transformer
        self._condition = condition.to(transformer.device, transformer.dtype)

    @property
    def dtype(self) -> torch.dtype:
        return self._transformer.dtype

    @property
    def device(self) -> torch.device:
        return self._transformer.device

    @property
    def image_dim(self) -> int | None:
        return self._transformer.image_dim

    def time_embedding(self, timesteps: Tensor) -> Tensor:
        """As of the transformer itself."""
        return self._transformer.time_embedding(timesteps)

    def __call__(
        self,
        latents: Tensor,
        timesteps: Tensor,
        prompts: Sequence[PromptContext],
        blocks: Tensor | None = None,
        keep: list[Tensor] | None = None,
    ) -> list[Tensor]:
        """Velocities [1, c, f, h, w] of `latents` [1, c, f, h, w], one for each prompt.

        `timesteps` int64 [1, f], all equal; `blocks` and `keep` as of the transformer itself.
        """
        return self._transformer(self._seen(latents), timesteps[:, :1], prompts, blocks, keep)

    def again(self, latents: Tensor, timesteps: Tensor, added: Sequence[Tensor]) -> list[Tensor]:
        """As of the transformer itself, for a step that runs no blocks."""
        return self._transformer.again(self._seen(latents), timesteps[:, :1], added)

    def _seen(self, latents: Tensor) -> Tensor:
        return torch.cat([latents, self._condition], dim=1)
