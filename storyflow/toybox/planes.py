"""Causal 3D convolutions as 2D ones: the same sums, some ten times as fast on a CPU.

oneDNN's 3D convolutions are slow for the few channels of a toy VAE. A kernel that is three frames
deep is one 2D convolution over three neighbouring frames stacked as channels.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, WanRMS_norm


def flatten(vae: Any) -> Any:
    """Make every stride-one causal convolution of an `AutoencoderKLWan` run in 2D; returns it.

    Weights and their names stay as they are. Results differ from the stock ones by rounding only.
    """
    for module in vae.modules():
        if isinstance(module, WanCausalConv3d) and module.stride == (1, 1, 1):
            module.forward = MethodType(_forward, module)
        elif isinstance(module, WanRMS_norm):
            module.forward = MethodType(_norm, module)
    return vae


def _forward(self: Any, x: torch.Tensor, cache_x: torch.Tensor | None = None) -> torch.Tensor:
    depth, high, wide = self.kernel_size
    frames = x.shape[2]
    planes = x.permute(0, 2, 3, 4, 1)  # [batch, frames, height, width, channels]
    if depth > 1:
        missing = depth - 1
        if cache_x is not None:
            planes = torch.cat([cache_x.permute(0, 2, 3, 4, 1), planes], dim=1)
            missing -= cache_x.shape[2]
        if missing > 0:
            planes = F.pad(planes, (0, 0, 0, 0, 0, 0, missing, 0))
        planes = torch.cat([planes[:, k : k + frames] for k in range(depth)], dim=4)
    planes = planes.contiguous().flatten(0, 1).permute(0, 3, 1, 2)
    weight = self.weight.transpose(1, 2).flatten(1, 2)  # [out, depth * channels, high, wide]
    out = F.conv2d(
        planes,
        weight.contiguous(memory_format=torch.channels_last),
        self.bias,
        padding=(high // 2, wide // 2),
    )
    out = out.permute(0, 2, 3, 1)
    out = out.reshape(-1, frames, *out.shape[1:])
    return out.permute(0, 4, 1, 2, 3)


def _norm(self: Any, x: torch.Tensor) -> torch.Tensor:
    if not self.channel_first or x.ndim != 5:
        return WanRMS_norm.forward(self, x)  # type: ignore[no-any-return]
    last = x.permute(0, 2, 3, 4, 1)
    inverse = torch.rsqrt((last * last).sum(dim=4, keepdim=True) + 1e-12)
    gamma = self.gamma.flatten() * self.scale
    out: torch.Tensor = (last * inverse * gamma).permute(0, 4, 1, 2, 3) + self.bias
    return out
