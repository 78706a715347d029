"""The transformer's forward pass for training: batches of clips, equal to the stock model's.

The stock pass repeats the time modulation for every token, attends to hundreds of padding tokens
and cannot take batches when it knows the frame rate. Here the modulation is broadcast, and all
padding of a prompt, which is one and the same key, is one token with the logarithm of its number
added to its score: the same softmax.

A block is one function without branches, so `compiled` can have it fused: on a CPU half the time of
a step is spent between the matrix products.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

FPS_24 = 1
"""The id of 24 frames per second; 0 means 16."""

Block = Callable[[Any, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def velocities(
    model: Any,
    latents: Tensor,
    timesteps: Tensor,
    text: Tensor,
    lengths: Tensor,
    padded_to: int,
    block: Block | None = None,
) -> tuple[Tensor, Tensor]:
    """What the model says about noisy latents [batch, channels, frames, h, w], in their shape, and
    the hidden states [batch, frames, tokens, width] after half its blocks.

    `timesteps` [batch, frames]; `text` [batch, tokens, text_dim] of which `lengths` [batch] tokens
    are the prompt's, padded with zeros to `padded_to` tokens in the real pipeline. `block` may be
    the function that `compiled` gives.
    """
    batch, _, frames, height, width = latents.shape
    one = block or through_block
    rotary = _rotary(model, latents)
    # What is added up stays float32 under autocast, as in the weights' own precision.
    hidden = model.patch_embedding(latents).float().flatten(3).permute(0, 2, 3, 1)  # [b, f, hw, d]
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
    middle = hidden
    for number, each in enumerate(model.blocks, 1):
        hidden = one(each, hidden, time, rotary, words, scores)
        if number == len(model.blocks) // 2:
            middle = hidden
    table = model.scale_shift_table[:, None]  # [1, 1, 2, d]
    shift, scale = (table + end[:, :, None]).unsqueeze(3).unbind(2)
    hidden = _norm(hidden) * (1 + scale) + shift
    out = model.proj_out(hidden)  # [b, f, hw, 4 * channels]
    out = out.float().reshape(batch, frames, height // 2, width // 2, 2, 2, -1)
    return out.permute(0, 6, 1, 2, 4, 3, 5).reshape(batch, -1, frames, height, width), middle


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
    """Cosines and sines of the positions, [2, 1, tokens, 1, head_dim / 2]."""
    cos, sin = model.rope(latents)
    return torch.stack([cos[..., 0::2].float(), sin[..., 1::2].float()])


def _halves(heads: int, dim: int) -> Tensor:
    """An order of channels in which each head has the first numbers of its pairs, then the second
    ones: rotations then run over whole rows, and scores of queries and keys stay as they are."""
    return torch.arange(heads * dim).view(heads, dim // 2, 2).mT.flatten()


def _turn(x: Tensor, rotary: Tensor) -> Tensor:
    """Rotate the pairs of [b, n, heads, dim], in halves."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = rotary[0], rotary[1]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def _split(x: Tensor, heads: int) -> Tensor:
    """[b, n, d] to [b, n, heads, d / heads]."""
    return x.reshape(*x.shape[:-1], heads, -1)


def _attend(q: Tensor, k: Tensor, v: Tensor, scores: Tensor | None = None) -> Tensor:
    """Attention over [b, heads, n, dim], with numbers to add to the scores."""
    if v.dtype == torch.float32 or v.device.type != "cpu":
        mask = None if scores is None else scores.to(v.dtype)
        return F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, attn_mask=mask)
    # The way back through torch's own is three times slower than this in bfloat16 on CPUs.
    found = ((q * q.shape[-1] ** -0.5).to(v.dtype) @ k.to(v.dtype).mT).float()
    shares = (found if scores is None else found + scores).softmax(dim=-1)
    out: Tensor = shares.to(v.dtype) @ v
    return out


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def through_block(
    block: Any, hidden: Tensor, time: Tensor, rotary: Tensor, words: Tensor, scores: Tensor
) -> Tensor:
    """One block: `hidden` [b, f, hw, d], `time` [b, f, 6, d], `words` [b, n, d] and the numbers to
    add to their `scores` [b, 1, 1, n]."""
    parts = (block.scale_shift_table[:, None] + time).unsqueeze(3).unbind(2)  # six [b, f, 1, d]
    shift, scale, gate, feed_shift, feed_scale, feed_gate = parts
    shape = hidden.shape
    own, cross = block.attn1, block.attn2
    heads = own.heads
    order = _halves(heads, shape[-1] // heads).to(hidden.device)

    x = (_norm(hidden) * (1 + scale) + shift).flatten(1, 2)
    three = (own.to_q.weight[order], own.to_k.weight[order], own.to_v.weight)
    biases = (own.to_q.bias[order], own.to_k.bias[order], own.to_v.bias)
    q, k, v = F.linear(x, torch.cat(three), torch.cat(biases)).chunk(3, dim=-1)
    q = F.rms_norm(q.float(), q.shape[-1:], own.norm_q.weight[order], own.norm_q.eps)
    k = F.rms_norm(k.float(), k.shape[-1:], own.norm_k.weight[order], own.norm_k.eps)
    q = _turn(_split(q, heads), rotary).transpose(1, 2)
    k = _turn(_split(k, heads), rotary).transpose(1, 2)
    v = _split(v, heads).transpose(1, 2)
    x = _attend(q, k, v).transpose(1, 2).flatten(2)
    hidden = hidden + own.to_out[0](x).view(shape) * gate

    x = F.layer_norm(hidden, shape[-1:], block.norm2.weight, block.norm2.bias, 1e-6).flatten(1, 2)
    q = F.rms_norm(cross.to_q(x).float(), shape[-1:], cross.norm_q.weight, cross.norm_q.eps)
    k = F.rms_norm(cross.to_k(words).float(), shape[-1:], cross.norm_k.weight, cross.norm_k.eps)
    q, k, v = (_split(y, heads).transpose(1, 2) for y in (q, k, cross.to_v(words)))
    x = _attend(q, k, v, scores)
    hidden = hidden + cross.to_out[0](x.transpose(1, 2).flatten(2)).view(shape)

    x = _norm(hidden) * (1 + feed_scale) + feed_shift
    first, last = block.ffn.net[0].proj, block.ffn.net[2]
    x = F.linear(
        F.gelu(F.linear(x, first.weight, first.bias), approximate="tanh"), last.weight, last.bias
    )
    out: Tensor = hidden + x * feed_gate
    return out


@lru_cache(1)
def compiled() -> Block:
    """`through_block`, compiled for each shape that it meets. Wants a C++ compiler."""
    torch._dynamo.config.recompile_limit = 64
    fused: Block = torch.compile(through_block, dynamic=False)
    return fused
