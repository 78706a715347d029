"""A lean forward pass over the weights of diffusers' SkyReelsV2Transformer3DModel.

Same numbers as `model(..., enable_diffusion_forcing=True)`, bit for bit in float32 on a CPU, with
less work:

- The modulation by time stays per latent frame and is broadcast; the stock pass copies it to every
  token, which at 14B and 720P costs 18 GB.
- Keys and values of the prompt do not change within a segment: they are computed once.
- Position frequencies likewise; and the two passes of classifier-free guidance share everything
  before the prompt first enters, which is up to the first cross-attention.

There is no attention mask: the released weights were not trained for block-causal attention
(SkyReels-V2 issue 58).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import Tensor


@dataclass(frozen=True)
class PromptContext:
    """A prompt as the blocks read it: keys and values per block, each [1, 512, heads, head dim]."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


@dataclass(frozen=True)
class _Time:
    """What the noise level does to each latent frame of one step; d is the hidden width.

    `blocks` [1, f, 6, d] shifts, scales and gates every block; `end` [1, f, d] the last norm.
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

    def read_prompt(self, embedding: Tensor) -> PromptContext:
        """Keys and values of a padded prompt embedding [1, 512, text_dim]."""
        text = self._model.condition_embedder.text_embedder(embedding)  # [1, 512, d]
        keys, values = [], []
        for block in self._model.blocks:
            attention = block.attn2
            split = (attention.heads, -1)
            keys.append(attention.norm_k(attention.to_k(text)).unflatten(2, split))
            values.append(attention.to_v(text).unflatten(2, split))
        return PromptContext(tuple(keys), tuple(values))

    def __call__(
        self, latents: Tensor, timesteps: Tensor, prompts: Sequence[PromptContext]
    ) -> list[Tensor]:
        """Velocities, shaped like `latents`, one for each prompt.

        `latents` [1, channels, f, h, w] in the model's dtype; `timesteps` int64 [1, f].
        """
        model = self._model
        f = latents.shape[2]
        rotary = self._positions(latents)
        time = self._time(timesteps, latents.dtype)
        first, *rest = model.blocks
        hidden = model.patch_embedding(latents).flatten(2).transpose(1, 2)  # [1, f*h'*w', d]
        hidden, modulation = _attend_to_frames(first, hidden, time, rotary)
        velocities = []
        for prompt in prompts:
            x = _attend_to_prompt(first, hidden, modulation, prompt.keys[0], prompt.values[0])
            for block, key, value in zip(rest, prompt.keys[1:], prompt.values[1:], strict=True):
                x, own = _attend_to_frames(block, x, time, rotary)
                x = _attend_to_prompt(block, x, own, key, value)
            velocities.append(self._to_latents(x, time.end, f, latents.shape))
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

    def _to_latents(self, x: Tensor, end: Tensor, f: int, shape: torch.Size) -> Tensor:
        model = self._model
        p_t, p_h, p_w = model.config.patch_size
        _, _, _, h, w = shape
        table = model.scale_shift_table.unsqueeze(2)  # [1, 2, 1, d]
        shift, scale = (table + end.unsqueeze(1)).unsqueeze(3).unbind(1)  # [1, f, 1, d]
        x = _modulate(model.norm_out(x.float()), shift, scale, f).to(x.dtype)
        x = model.proj_out(x)  # [1, f*h'*w', patch * channels]
        x = x.reshape(1, f // p_t, h // p_h, w // p_w, p_t, p_h, p_w, -1)
        x = x.permute(0, 7, 1, 4, 2, 5, 3, 6)
        return x.flatten(6, 7).flatten(4, 5).flatten(2, 3)  # [1, channels, f, h, w]


def _by_frame(x: Tensor, f: int) -> Tensor:
    """[1, f*hw, d] seen as [1, f, hw, d]."""
    return x.reshape(1, f, -1, x.shape[2])


def _modulate(x: Tensor, shift: Tensor, scale: Tensor, f: int) -> Tensor:
    """`x * (1 + scale) + shift` with x [1, f*hw, d] and per-frame shift and scale [1, f, 1, d]."""
    return (_by_frame(x, f) * (1 + scale) + shift).flatten(1, 2)


def _gate(x: Tensor, gate: Tensor) -> Tensor:
    """`x * gate` with x [1, f*hw, d] and a per-frame gate [1, f, 1, d]."""
    return (_by_frame(x, gate.shape[1]) * gate).flatten(1, 2)


def _attend_to_frames(
    block: Any, hidden: Tensor, time: _Time, rotary: tuple[Tensor, Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Self-attention over all tokens; also gives the block's modulation, six of [1, f, 1, d]."""
    f = time.blocks.shape[1]
    table = block.scale_shift_table.unsqueeze(1)  # [1, 1, 6, d]
    modulation = (table + time.blocks.float()).unsqueeze(3).unbind(2)
    shift, scale, gate, *_ = modulation
    normed = _modulate(block.norm1(hidden.float()), shift, scale, f).to(hidden.dtype)
    attended = block.attn1(normed, None, None, rotary)
    return (hidden.float() + _gate(attended, gate)).to(hidden.dtype), modulation


def _attend_to_prompt(
    block: Any, hidden: Tensor, modulation: tuple[Tensor, ...], key: Tensor, value: Tensor
) -> Tensor:
    """Cross-attention to the prompt, then the feed-forward layers."""
    *_, shift, scale, gate = modulation
    attention = block.attn2
    normed = block.norm2(hidden.float()).to(hidden.dtype)
    query = attention.norm_q(attention.to_q(normed)).unflatten(2, (attention.heads, -1))
    attended = dispatch_attention_fn(
        query, key, value, backend=attention.processor._attention_backend
    )
    attended = attention.to_out[0](attended.flatten(2, 3).to(query.dtype))
    hidden = hidden + attended
    normed = _modulate(block.norm3(hidden.float()), shift, scale, gate.shape[1]).to(hidden.dtype)
    fed = block.ffn(normed)
    return (hidden.float() + _gate(fed.float(), gate)).to(hidden.dtype)
