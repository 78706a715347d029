"""One transformer block over the weights of diffusers' SkyReelsV2TransformerBlock, in two halves.

The first half looks at the video, the second at the prompt; up to the first block's middle nothing
depends on the prompt. For inference only: what is used up is written over.

Shapes: b passes of guidance, f latent frames of hw tokens each (or f = 1 and all tokens, for models
with one noise level), n = f * hw tokens, d the hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import Tensor

Modulation = tuple[Tensor, ...]
"""Shift, scale and gate of self-attention, then of the feed-forward layers: six of [1, f, 1, d]."""

Rotary = tuple[Tensor, ...]
"""Cosines and sines of the positions' angles, each [1, n, 1, head dim / 2]; or both as one complex
tensor."""

Reach = tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
"""For block-causal attention: latent frames that ask, and latent frames that they see."""


def modulation_of(block: Any, time: Tensor) -> Modulation:
    """What a block adds to what the noise levels say, `time` [1, f, 6, d]."""
    table = block.scale_shift_table.unsqueeze(1)  # [1, 1, 6, d]
    return tuple((table + time.float()).unsqueeze(3).unbind(2))


def attend_to_frames(
    block: Any,
    hidden: Tensor,
    modulation: Modulation,
    rotary: Rotary,
    kernel: str = "native",
    reach: Reach | None = None,
) -> Tensor:
    """Self-attention over all tokens of `hidden` [b, n, d].

    `rotary` is from `rotary_of`, `kernel` what diffusers' dispatch calls the kernel of attention.
    """
    shift, scale, gate, *_ = modulation
    normed = modulate(block.norm1(hidden.float()), shift, scale).to(hidden.dtype)
    return _add_gated(hidden, _look_around(block.attn1, normed, rotary, kernel, reach), gate)


def attend_to_prompt(
    block: Any,
    hidden: Tensor,
    modulation: Modulation,
    text: Sequence[Tensor],
    kernel: str = "native",
) -> Tensor:
    """Cross-attention to the prompt, then the feed-forward layers.

    `text` holds the prompt's key and value [b, tokens, heads, head dim] and, for models that read
    an image, the image's.
    """
    *_, shift, scale, gate = modulation
    hidden = _read(block, hidden, text, kernel).add_(hidden)
    normed = modulate(block.norm3(hidden.float()), shift, scale).to(hidden.dtype)
    return _add_gated(hidden, _feed(block.ffn, normed), gate)


def rotary_of(cosines: Tensor, sines: Tensor, *, plain: bool) -> Rotary:
    """What the blocks need of the stock model's cosines and sines [1, n, 1, head dim].

    On a CPU in float32 one complex product is 6 to 40 times as fast as the same four products, and
    has the same bits where pairs fill whole vectors. `plain` keeps to the four.
    """
    cos, sin = cosines[..., 0::2].contiguous(), sines[..., 1::2].contiguous()
    whole = cos.shape[-1] % 8 == 0 and cos.device.type == "cpu"
    return (torch.complex(cos, sin),) if whole and not plain else (cos, sin)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """`x * (1 + scale) + shift`, written over x [b, n, d]; per-frame shift and scale [1, f, 1, d].

    A product and a sum, never one rounding for both: the stock model's bits.
    """
    _by_frame(x, scale.shape[1]).mul_(1 + scale).add_(shift)
    return x


def reach_of(blocks: Tensor) -> Reach:
    """Who sees whom when a frame of block k attends to blocks 0 to k; `blocks` int64 [f]."""
    numbers = blocks.tolist()
    return tuple(
        (
            tuple(i for i, n in enumerate(numbers) if n == k),
            tuple(i for i, n in enumerate(numbers) if n <= k),
        )
        for k in sorted(set(numbers))
    )


def _read(block: Any, hidden: Tensor, text: Sequence[Tensor], kernel: str) -> Tensor:
    """What cross-attention makes of the prompt for every token."""
    attention = block.attn2
    normed = block.norm2(hidden.float()).to(hidden.dtype)
    query = _normed(attention.norm_q, attention.to_q(normed))
    query = query.view(*query.shape[:2], attention.heads, -1)
    attended = _attend(query, text[0], text[1], kernel)
    if len(text) == 4:
        attended = attended + _attend(query, text[2], text[3], kernel)
    result: Tensor = attention.to_out[0](attended)
    return result


def _feed(layers: Any, x: Tensor) -> Tensor:
    """The feed-forward layers; the widest tensor of all is made once, its gelu written over it."""
    first, last = layers.net[0], layers.net[2]
    wide = torch.ops.aten.gelu_(first.proj(x), approximate=first.approximate)
    result: Tensor = last(wide)
    return result


def _look_around(
    attention: Any, x: Tensor, rotary: Rotary, kernel: str, reach: Reach | None
) -> Tensor:
    split = (*x.shape[:2], attention.heads, -1)
    query = _rotate(_normed(attention.norm_q, attention.to_q(x)).view(split), rotary)
    key = _rotate(_normed(attention.norm_k, attention.to_k(x)).view(split), rotary)
    value = attention.to_v(x).view(split)
    if reach is None:
        attended = _attend(query, key, value, kernel)
    else:
        attended = _attend_backwards(query, key, value, kernel, reach)
    result: Tensor = attention.to_out[0](attended)
    return result


def _attend(query: Tensor, key: Tensor, value: Tensor, kernel: str) -> Tensor:
    """[b, n, d] from queries, keys and values [b, tokens, heads, head dim]."""
    attended: Tensor = dispatch_attention_fn(query, key, value, backend=kernel)
    return attended.flatten(2, 3).to(query.dtype)


def _attend_backwards(
    query: Tensor, key: Tensor, value: Tensor, kernel: str, reach: Reach
) -> Tensor:
    """Block-causal attention without a mask: block after block, each with the keys it may see.

    A mask would take n * n bytes (2.6 GB at 97 frames of 540P) and keep fast kernels away.
    """
    f = sum(len(asking) for asking, _ in reach)
    query, key, value = (_by_frame(x, f) for x in (query, key, value))
    out = query.new_empty(*query.shape[:3], query.shape[3] * query.shape[4])
    for asking, seen in reach:
        own = _frames(query, asking)
        found = _attend(own, _frames(key, seen), _frames(value, seen), kernel)
        out[:, list(asking)] = _by_frame(found, len(asking))
    return out.flatten(1, 2)


def _frames(x: Tensor, chosen: tuple[int, ...]) -> Tensor:
    """The tokens of these frames: [b, f, hw, heads, head dim] to [b, tokens, heads, head dim]."""
    first, last = chosen[0], chosen[-1]
    if last - first + 1 == len(chosen):
        return x[:, first : last + 1].flatten(1, 2)
    return x[:, list(chosen)].flatten(1, 2)


def _normed(norm: Any, x: Tensor) -> Tensor:
    """`norm(x)` for an RMSNorm, written over x where torch has no kernel of its own for it."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.compiler.is_compiling():
        result: Tensor = norm(x)
        return result
    return x.mul_(torch.rsqrt(x.square().mean(-1, keepdim=True).add_(norm.eps))).mul_(norm.weight)


def _rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Rotary position embedding of x [b, n, heads, head dim], pair by pair; may write over x."""
    pairs = x.view(*x.shape[:-1], -1, 2)
    if len(rotary) == 1:
        torch.view_as_complex(pairs).mul_(rotary[0])
        return x
    (first, second), (cos, sin) = pairs.unbind(-1), rotary
    out = torch.empty_like(x)
    out[..., 0::2] = (first * cos).sub_(second * sin)
    out[..., 1::2] = (first * sin).add_(second * cos)
    return out


def _by_frame(x: Tensor, f: int) -> Tensor:
    """[b, f*hw, ...] seen as [b, f, hw, ...]."""
    return x.view(x.shape[0], f, x.shape[1] // f, *x.shape[2:])


def _add_gated(hidden: Tensor, x: Tensor, gate: Tensor) -> Tensor:
    """`hidden + x * gate` in float32, written over x where it is; a per-frame gate [1, f, 1, d]."""
    x = x.float()
    _by_frame(x, gate.shape[1]).mul_(gate)
    return x.add_(hidden).to(hidden.dtype)
