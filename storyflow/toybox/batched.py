"""The transformer's forward pass for training: batches of clips, equal to the stock model's.

The stock pass repeats the time modulation for every token, attends to hundreds of padding tokens
and cannot take batches when it knows the frame rate. Here the modulation is broadcast, and all
padding of a prompt, which is one and the same key, is one token with the logarithm of its number
added to its score: the same softmax.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

FPS_24 = 1
"""The id of 24 frames per second; 0 means 16."""


def velocities(
    model: Any, latents: Tensor, timesteps: Tensor, text: Tensor, lengths: Tensor, padded_to: int
) -> Tensor:
    """What the model says about noisy latents [batch, channels, frames, h, w], in their shape.

    `timesteps` [batch, frames]; `text` [batch, tokens, text_dim] of which `lengths` [batch] tokens
    are the prompt's, padded with zeros to `padded_to` tokens in the real pipeline.
    """
    batch, _, frames, height, width = latents.shape
    rotary = _rotary(model, latents)
    hidden = model.patch_embedding(latents).flatten(3).permute(0, 2, 3, 1)  # [b, f, hw, d]
    embedder = model.condition_embedder
    waves = embedder.timesteps_proj(timesteps).float()
    end = embedder.time_embedder(waves)  # [b, f, d]
    time = embedder.time_proj(F.silu(end)).unflatten(-1, (6, -1))  # [b, f, 6, d]
    if model.config.inject_sample_info:
        rate = model.fps_projection(
            model.fps_embedding(torch.tensor([FPS_24], device=latents.device))
        )
        time = time + rate.unflatten(1, (6, -1))[:, None]
    words, scores = _prompt(model, text, lengths, padded_to)
    for block in model.blocks:
        hidden = _block(block, hidden, time, rotary, words, scores)
    table = model.scale_shift_table[:, None]  # [1, 1, 2, d]
    shift, scale = (table + end[:, :, None]).unsqueeze(3).unbind(2)
    hidden = _norm(hidden) * (1 + scale) + shift
    out = model.proj_out(hidden)  # [b, f, hw, 4 * channels]
    out = out.reshape(batch, frames, height // 2, width // 2, 2, 2, -1)
    video: Tensor = out.permute(0, 6, 1, 2, 4, 3, 5).reshape(batch, -1, frames, height, width)
    return video


def _prompt(model: Any, text: Tensor, lengths: Tensor, padded_to: int) -> tuple[Tensor, Tensor]:
    padding = text.new_zeros(len(text), 1, text.shape[2])
    words = model.condition_embedder.text_embedder(torch.cat([text, padding], dim=1))
    place = torch.arange(text.shape[1], device=text.device)[None]
    inside = text.new_zeros(len(text), text.shape[1]).masked_fill(
        place >= lengths[:, None], float("-inf")
    )
    rest = (padded_to - lengths).float().clamp_min(1e-6).log()[:, None]
    return words, torch.cat([inside, rest], dim=1)[:, None, None]


def _rotary(model: Any, latents: Tensor) -> Tensor:
    """Position as complex numbers [1, tokens, 1, head_dim / 2]."""
    cos, sin = model.rope(latents)
    return torch.complex(cos[..., 0::2].float(), sin[..., 1::2].float())


def _turn(x: Tensor, rotary: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * rotary).flatten(-2)


def _split(x: Tensor, heads: int) -> Tensor:
    """[b, n, d] to [b, n, heads, d / heads]."""
    return x.reshape(*x.shape[:-1], heads, -1)


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def _block(
    block: Any, hidden: Tensor, time: Tensor, rotary: Tensor, words: Tensor, scores: Tensor
) -> Tensor:
    parts = (block.scale_shift_table[:, None] + time).unsqueeze(3).unbind(2)  # six [b, f, 1, d]
    shift, scale, gate, feed_shift, feed_scale, feed_gate = parts
    shape = hidden.shape
    self_attention, cross = block.attn1, block.attn2
    heads = self_attention.heads

    x = (_norm(hidden) * (1 + scale) + shift).flatten(1, 2)
    three = (self_attention.to_q, self_attention.to_k, self_attention.to_v)
    q, k, v = F.linear(
        x, torch.cat([m.weight for m in three]), torch.cat([m.bias for m in three])
    ).chunk(3, dim=-1)
    q = _turn(_split(self_attention.norm_q(q), heads), rotary).transpose(1, 2)
    k = _turn(_split(self_attention.norm_k(k), heads), rotary).transpose(1, 2)
    v = _split(v, heads).transpose(1, 2)
    x = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    hidden = hidden + self_attention.to_out[0](x).view(shape) * gate

    x = block.norm2(hidden).flatten(1, 2)
    q = _split(cross.norm_q(cross.to_q(x)), heads).transpose(1, 2)
    k = _split(cross.norm_k(cross.to_k(words)), heads).transpose(1, 2)
    v = _split(cross.to_v(words), heads).transpose(1, 2)
    x = F.scaled_dot_product_attention(q, k, v, attn_mask=scores)
    hidden = hidden + cross.to_out[0](x.transpose(1, 2).flatten(2)).view(shape)

    x = _norm(hidden) * (1 + feed_scale) + feed_shift
    out: Tensor = hidden + block.ffn(x) * feed_gate
    return out
