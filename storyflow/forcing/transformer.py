"""A lean forward pass over the weights of diffusers' SkyReelsV2Transformer3DModel.

Same numbers as the stock model, bit for bit in float32 on a CPU, with less work:

- The modulation by time stays per latent frame and is broadcast; the stock pass copies it to every
  token, which at 14B and 720P costs 18 GB.
- Keys and values of the prompt do not change within a segment: they are computed once.
- Position frequencies likewise; and the two passes of classifier-free guidance share everything
  before the prompt first enters, which is up to the first cross-attention.

There is no attention mask: the released weights were not trained for block-causal attention
(SkyReels-V2 issue 58). For weights that were, each block of frames attends on its own to what it
may see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from storyflow.forcing.block import attend_to_frames, attend_to_prompt, modulate, reach_of


@dataclass(frozen=True)
class PromptContext:
    """A prompt as the blocks read it: per block its key and value [1, 512, heads, head dim].

    Models that read an image have two more per block, its key and value [1, 257, heads, head dim].
    """

    blocks: tuple[tuple[Tensor, ...], ...]


@dataclass(frozen=True)
class _Time:
    """What the noise level does to each latent frame of one step; d is the hidden width.

    `blocks` [1, f, 6, d] shifts, scales and gates every block; `end` [1, f, d] the last norm. With
    one noise level for all frames f is 1.
    """

    blocks: Tensor
    end: Tensor


class LeanTransformer:
    """Predicts velocities. `model` is a SkyReelsV2Transformer3DModel in evaluation mode."""

    def __init__(self, model: Any, fps: Fraction) -> None:
        self._model = model
        self._fps_id = 0 if fps == 16 else 1  # the two rates of the training set, 16 and 24
        self._rotary: tuple[tuple[int, ...], tuple[Tensor, Tensor]] | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the large weights; norms and time embedding stay in float32."""
        dtype: torch.dtype = self._model.patch_embedding.weight.dtype
        return dtype

    @property
    def device(self) -> torch.device:
        device: torch.device = self._model.patch_embedding.weight.device
        return device

    @property
    def channels(self) -> int:
        return int(self._model.config.in_channels)

    @property
    def text_dim(self) -> int:
        return int(self._model.config.text_dim)

    @property
    def image_dim(self) -> int | None:
        """Width of the image embedding that the model reads; None for models that read none."""
        width: int | None = self._model.config.image_dim
        return width

    def read_prompt(self, embedding: Tensor, image: Tensor | None = None) -> PromptContext:
        """Keys and values of a padded prompt embedding [1, 512, text_dim].

        `image` [1, 257, image_dim] is the CLIP embedding of full-sequence image-to-video models.
        Raises ValueError where it is given to a model that reads none, or missing for one that
        does.
        """
        embedder = self._model.condition_embedder
        if (image is None) != (embedder.image_embedder is None):
            raise ValueError(
                f"{'no' if image is None else 'an'} image embedding for a model whose image_dim is "
                f"{self.image_dim}"
            )
        text = embedder.text_embedder(embedding)  # [1, 512, d]
        picture = None if image is None else embedder.image_embedder(image)  # [1, 257, d]
        blocks: list[tuple[Tensor, ...]] = []
        for block in self._model.blocks:
            attention = block.attn2
            parts = [attention.norm_k(attention.to_k(text)), attention.to_v(text)]
            if picture is not None:
                key = attention.norm_added_k(attention.add_k_proj(picture))
                parts += [key, attention.add_v_proj(picture)]
            blocks.append(tuple(part.unflatten(2, (attention.heads, -1)) for part in parts))
        return PromptContext(tuple(blocks))

    def __call__(
        self,
        latents: Tensor,
        timesteps: Tensor,
        prompts: Sequence[PromptContext],
        blocks: Tensor | None = None,
    ) -> list[Tensor]:
        """Velocities [1, out channels, f, h, w], one for each prompt.

        `latents` [1, channels, f, h, w] in the model's dtype; `timesteps` int64 [1, f], or [1, 1]
        for one noise level of all frames (models without diffusion forcing). `blocks` int64 [f]
        numbers the latent frames for weights trained for block-causal attention: a frame attends
        to blocks up to its own.
        """
        model = self._model
        rotary = self._positions(latents)
        time = self._time(timesteps, latents.dtype)
        reach = None if blocks is None else reach_of(blocks)
        first, *rest = model.blocks
        hidden = model.patch_embedding(latents).flatten(2).transpose(1, 2)  # [1, f*h'*w', d]
        hidden, modulation = attend_to_frames(first, hidden, time.blocks, rotary, reach)
        velocities = []
        for prompt in prompts:
            text, *texts = prompt.blocks
            x = attend_to_prompt(first, hidden, modulation, text)
            for block, text in zip(rest, texts, strict=True):
                x, own = attend_to_frames(block, x, time.blocks, rotary, reach)
                x = attend_to_prompt(block, x, own, text)
            velocities.append(self._to_latents(x, time.end, latents.shape))
        return velocities

    def _time(self, timesteps: Tensor, dtype: torch.dtype) -> _Time:
        embedder = self._model.condition_embedder
        waves = embedder.timesteps_proj(timesteps)  # [1, f, freq_dim]
        waves = waves.to(embedder.time_embedder.linear_1.weight.dtype)
        end = embedder.time_embedder(waves).to(dtype)  # [1, f, d]
        blocks = embedder.time_proj(embedder.act_fn(end)).unflatten(-1, (6, -1))  # [1, f, 6, d]
        if self._model.config.inject_sample_info:
            rate = torch.full((1,), self._fps_id, dtype=torch.long, device=timesteps.device)
            rate = self._model.fps_projection(self._model.fps_embedding(rate))  # [1, 6*d]
            blocks = blocks + rate.unflatten(1, (6, -1))
        return _Time(blocks, end)

    def _positions(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        shape = tuple(latents.shape)
        if self._rotary is None or self._rotary[0] != shape:
            self._rotary = shape, self._model.rope(latents)
        return self._rotary[1]

    def _to_latents(self, x: Tensor, end: Tensor, shape: torch.Size) -> Tensor:
        model = self._model
        p_t, p_h, p_w = model.config.patch_size
        _, _, f, h, w = shape
        table = model.scale_shift_table.unsqueeze(2)  # [1, 2, 1, d]
        shift, scale = (table + end.unsqueeze(1)).unsqueeze(3).unbind(1)  # [1, f, 1, d]
        x = modulate(model.norm_out(x.float()), shift, scale).to(x.dtype)
        x = model.proj_out(x)  # [1, f*h'*w', patch * channels]
        x = x.reshape(1, f // p_t, h // p_h, w // p_w, p_t, p_h, p_w, -1)
        x = x.permute(0, 7, 1, 4, 2, 5, 3, 6)
        return x.flatten(6, 7).flatten(4, 5).flatten(2, 3)  # [1, channels, f, h, w]
