"""Large weights in one byte each, widened to the model's dtype as they are used; class *lossy*.

Every output channel has its own scale. The scale is a number of the model's dtype and is chosen
before the weights are rounded, so widening adds no error of its own. Only the linear layers of the
blocks are quantized, which are 98 % of the weights.

Own code, for it is short and what it keeps are plain buffers: blocks can wait in main memory, LoRAs
are fused before rounding, and the compiler sees nothing special.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Kind = Literal["int8", "fp8"]

_LARGEST = {"int8": 127.0, "fp8": 448.0}
_STORED = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}
_AT_ONCE = {"cpu": 1 << 16}
"""Numbers quantized at a time; elsewhere 1 << 24."""


class QuantizedLinear(nn.Module):
    """A linear layer: `weight` [out, in] in one byte, `scale` [out, 1] in the model's dtype."""

    weight: Tensor
    scale: Tensor

    def __init__(self, layer: nn.Linear, kind: Kind) -> None:
        super().__init__()
        with torch.device("meta"):
            self.register_buffer("weight", torch.empty(layer.weight.shape, dtype=_STORED[kind]))
            self.register_buffer("scale", torch.empty(layer.out_features, 1))
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(self.scale.dtype).mul_(self.scale), self.bias)


def quantized(weight: Tensor, kind: Kind, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """One-byte numbers [out, in] and scales [out, 1] in `dtype` for a weight [out, in].

    The weight is taken as it is in `dtype`, so that a quantized model is the plain one quantized. A
    few rows at a time: wide copies of a whole matrix, freed between what stays, would leave holes
    as large as themselves in memory.
    """
    numbers = torch.empty(weight.shape, dtype=_STORED[kind], device=weight.device)
    scale = torch.empty(len(weight), 1, dtype=dtype, device=weight.device)
    count = max(1, _AT_ONCE.get(weight.device.type, 1 << 24) // weight.shape[1])
    for rows in (slice(i, i + count) for i in range(0, len(weight), count)):
        scale[rows] = _quantize_rows(weight[rows].to(dtype).float(), kind, numbers[rows], dtype)
    return numbers, scale


def _quantize_rows(rows: Tensor, kind: Kind, numbers: Tensor, dtype: torch.dtype) -> Tensor:
    """Fill `numbers` and give the scales."""
    most = _LARGEST[kind]
    largest = rows.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    scale = (largest / most).to(dtype)
    # Never below the true scale, so that the largest weight still fits.
    scale = torch.where(scale.float() * most < largest, _next(scale), scale)
    scaled = rows / scale.float()
    if kind == "int8":
        scaled = scaled.round()
    numbers.copy_(scaled.clamp(-most, most))
    return scale


def make_ready(module: Any, kind: Kind) -> frozenset[str]:
    """Replace the linear layers of the blocks of an empty module; gives their weights' names."""
    return frozenset(
        f"blocks.{number}.{name}.weight"
        for number, block in enumerate(module.blocks)
        for name, _ in _replaced(block, kind)
    )


def quantize_block(block: Any, kind: Kind) -> None:
    """Quantize the linear layers of a block that has its weights already."""
    for name, layer in _replaced(block, kind):
        own = block.get_submodule(name)
        own.weight, own.scale = quantized(layer.weight, kind, layer.weight.dtype)


def _replaced(block: Any, kind: Kind) -> list[tuple[str, nn.Linear]]:
    """Put an empty QuantizedLinear in every linear layer's place; gives what stood there."""
    layers = [(n, m) for n, m in block.named_modules() if isinstance(m, nn.Linear)]
    for name, layer in layers:
        owner, _, leaf = name.rpartition(".")
        setattr(block.get_submodule(owner), leaf, QuantizedLinear(layer, kind))
    return layers


def _next(scale: Tensor) -> Tensor:
    """The next larger number of the same dtype."""
    return torch.nextafter(scale, torch.full_like(scale, float("inf")))
