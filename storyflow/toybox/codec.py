"""The toy VAE's encoder, in closed form: principal components instead of training.

Without residual blocks the encoder's way down is a chain of strided convolutions. Each takes the
principal components of the 2x2 patches below it, each step in time takes the mean of two frames
and, in channels kept free for them, differences of the strongest ones. A large constant channel
keeps the last norm and its SiLU almost linear. A single frame leaves the difference channels at
zero: it looks like a stretch without motion, which is what it is.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

DIM: Final = 32
CONSTANT: Final = DIM - 1
MOVING: Final = 4
"""Channels for differences in time, below the constant one."""

SPATIAL: Final = DIM - 1 - MOVING
LOUDNESS: Final = 5.0
"""The constant channel, in units of the other channels' usual length."""


@torch.no_grad()
def fit_encoder(vae: Any, clips: Tensor) -> None:
    """Set the weights of `vae.encoder` and `vae.quant_conv` from clips.

    `clips` float32 [n, 3, 4k, h, w] in -1..1; the VAE has `dim_mult` all 1, `base_dim` 32 and no
    residual blocks on the way down.
    """
    encoder = vae.encoder
    for weight in encoder.parameters():
        weight.zero_()
    for module in encoder.modules():
        if hasattr(module, "gamma"):
            module.gamma.fill_(1.0)
    encoder.conv_in.weight[:3, :, -1, 1, 1] = torch.eye(3)
    encoder.conv_in.bias[CONSTANT] = 1.0

    frames = clips.transpose(1, 2)  # [n, t, c, h, w]
    x = torch.zeros(*frames.shape[:2], DIM, *frames.shape[3:])
    x[:, :, :3] = frames
    x[:, :, CONSTANT] = 1.0
    for stage in encoder.down_blocks:
        x = _halve(stage.resample[1], x)
        if stage.mode == "downsample3d":
            x = _join(stage.time_conv, x)
    # Now [n, k, 32, h/8, w/8]: features of length about `size`, beside the constant.
    features = x.transpose(0, 2).flatten(1)[:CONSTANT]
    size = features.square().sum(dim=0).mean().sqrt()
    # The middle block is an identity. What the constant is worth relative to the features is set
    # by their common scale in the last spatial convolution and time convolution.
    encoder.down_blocks[-1].resample[1].weight[:CONSTANT] /= size
    encoder.down_blocks[-1].resample[1].bias[:CONSTANT] /= size
    encoder.down_blocks[-1].resample[1].weight[CONSTANT] *= LOUDNESS
    encoder.norm_out.gamma.fill_(1.0)
    root = DIM**0.5

    def after(f: Tensor) -> Tensor:
        full = torch.cat([f / size, torch.full_like(f[:1], LOUDNESS)])
        return torch.nn.functional.silu(full / full.norm(dim=0, keepdim=True) * root)

    seen = after(features)[:CONSTANT]
    mean = seen.mean(dim=1, keepdim=True)
    _, vectors = torch.linalg.eigh((seen - mean) @ (seen - mean).T / seen.shape[1])
    channels = vae.config.z_dim
    best = vectors[:, -channels:].flip(1).T * 8.0
    encoder.conv_out.weight[:channels, :CONSTANT, -1, 1, 1] = best
    encoder.conv_out.bias[:channels] = -(best @ mean)[:, 0]
    vae.quant_conv.weight.zero_()
    vae.quant_conv.bias.zero_()
    vae.quant_conv.weight[:channels, :channels, 0, 0, 0] = torch.eye(channels)
    vae.quant_conv.bias[channels:] = -12.0


def _halve(conv: Any, x: Tensor) -> Tensor:
    """Principal components of 2x2 patches; the patch is the kernel's upper left, as the padding
    is on the right and at the bottom."""
    n, t, c, h, w = x.shape
    patches = x.reshape(n * t, c, h // 2, 2, w // 2, 2).permute(1, 3, 5, 0, 2, 4)
    flat = patches.reshape(c, 4, -1)[:CONSTANT].reshape(CONSTANT * 4, -1)
    _, vectors = torch.linalg.eigh(flat @ flat.T / flat.shape[1])
    best = vectors[:, -SPATIAL:].flip(1).T  # [SPATIAL, CONSTANT * 4]
    conv.weight[:SPATIAL, :CONSTANT, :2, :2] = best.reshape(SPATIAL, CONSTANT, 2, 2)
    conv.weight[CONSTANT, CONSTANT, :2, :2] = 0.25
    out = torch.zeros(DIM, flat.shape[1])
    out[:SPATIAL] = best @ flat
    out[CONSTANT] = x[0, 0, CONSTANT, 0, 0]
    return out.reshape(DIM, n, t, h // 2, w // 2).permute(1, 2, 0, 3, 4)


def _join(conv: Any, x: Tensor) -> Tensor:
    """Pairs of frames become their mean and, in free channels, half their differences."""
    identity = torch.eye(DIM)
    identity[SPATIAL:CONSTANT] = 0
    conv.weight[:, :, 1, 0, 0] = 0.5 * identity
    conv.weight[:, :, 2, 0, 0] = 0.5 * identity
    for i in range(MOVING):
        conv.weight[SPATIAL + i, i, 1, 0, 0] = -0.5
        conv.weight[SPATIAL + i, i, 2, 0, 0] = 0.5
    first, second = x[:, 0::2], x[:, 1::2]
    out = (first + second) / 2
    out[:, :, SPATIAL:CONSTANT] = (second - first)[:, :, :MOVING] / 2
    return out
