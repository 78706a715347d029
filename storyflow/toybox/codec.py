"""The toy VAE's encoder: principal components, in closed form.

Without residual blocks the way down is a chain of strided convolutions. Each takes the principal
components of the 2x2 patches below it; each step in time takes the mean of two frames and, in
channels of their own, the principal differences. What arrives are 127 features per 4 frames of 8x8
pixels and a constant, from which a cell of film can be rebuilt almost without loss. The head keeps
the 16 principal components of these, counted more where figures are.

The 16 numbers are sorted and only partly whitened: a component with eigenvalue v has a standard
deviation in proportion to v^(1/4). So a diffusion model decides first what is big, as it does with
pixels, and its loss counts what is seen.

The middle block is silent, and a loud constant makes the norm and the SiLU before the head nearly
linear. A latent depends on its own frames only. A single frame is coded as a stretch without
motion, which is what it is.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

DIM: Final = 128
CONSTANT: Final = DIM - 1
FIRST, SECOND = 12, 48
"""Numbers of a 2x2 and of a 4x4 patch: both are kept whole."""
SPATIAL: Final = 96
"""Principal components of an 8x8 patch; the rest, up to the constant, are differences in time."""
LOUDNESS: Final = 3000.0
"""The constant channel; the other channels' usual length is the square root of their number."""
CHANNELS: Final = 16


@torch.no_grad()
def fit_encoder(vae: Any, clips: Tensor, counts: Tensor | None = None) -> None:
    """Set the weights of `vae.encoder` and `vae.quant_conv` from clips, the middle block silent.

    `clips` float32 [n, 3, 4k, h, w] in -1..1; `counts` [n, 1, 4k, h, w], how much pixels count for
    the choice of the 16 components. The VAE has `dim_mult` all 1, `base_dim` 128 and no residual
    blocks on the way down. Latents have mean 0 and, all channels together, variance 1.
    """
    encoder = vae.encoder
    for weight in encoder.parameters():
        weight.zero_()
    for module in encoder.modules():
        if hasattr(module, "gamma"):
            module.gamma.fill_(1.0)
    encoder.conv_in.weight[:3, :, -1, 1, 1] = torch.eye(3)
    encoder.conv_in.bias[CONSTANT] = 1.0

    one, two, three = encoder.down_blocks
    x = clips.transpose(1, 2)  # [n, t, c, h, w], without the constant
    x = _halve(one.resample[1], x, FIRST)
    x = _halve(two.resample[1], x, SECOND)
    x = _join(two.time_conv, x, CONSTANT - SECOND)
    x = _halve(three.resample[1], x, SPATIAL)
    x = _join(three.time_conv, x, CONSTANT - SPATIAL)
    # Features are brought to even sizes, so that the constant drowns all of them.
    features = x.transpose(0, 2).flatten(1)
    size = features.square().mean(dim=1).sqrt().clamp_min(1e-4)
    scale = (size * size.max()).rsqrt()
    scale *= (CONSTANT / (size * scale).square().sum()).sqrt()
    still = three.resample[1]
    still.weight[:SPATIAL] *= scale[:SPATIAL, None, None, None]
    still.weight[CONSTANT] *= LOUDNESS
    changes = three.time_conv.weight[SPATIAL:CONSTANT, :SPATIAL]
    changes *= scale[SPATIAL:, None, None, None, None] / scale[:SPATIAL, None, None, None]

    full = torch.cat([features * scale[:, None], torch.full_like(features[:1], LOUDNESS)])
    seen = _after_norm(full.T).T[:CONSTANT]
    worth = 2 * LOUDNESS / DIM**0.5 / scale  # SiLU halves what is small
    seen = seen * worth[:, None]
    count = torch.ones(seen.shape[1]) if counts is None else _per_cell(counts)
    count = count / count.sum()
    centred = seen - (seen * count).sum(dim=1, keepdim=True)
    values, vectors = torch.linalg.eigh((centred * count) @ centred.T)
    best = vectors[:, -CHANNELS:].flip(1).T * values[-CHANNELS:].flip(0)[:, None] ** -0.25
    mean = seen.mean(dim=1, keepdim=True)
    best = best / (best @ (seen - mean)).square().mean().sqrt()
    encoder.conv_out.weight[:CHANNELS, :CONSTANT, -1, 1, 1] = best * worth
    encoder.conv_out.bias[:CHANNELS] = -(best @ mean)[:, 0]
    vae.quant_conv.weight[:] = torch.eye(2 * CHANNELS)[:, :, None, None, None]
    vae.quant_conv.bias.zero_()
    vae.quant_conv.bias[CHANNELS:] = -12.0
    for weight in encoder.parameters():  # as it will be stored
        weight.copy_(weight.bfloat16())


def _after_norm(features: Tensor) -> Tensor:
    """What the head sees of features [..., 128]: RMS norm and SiLU."""
    return F.silu(features / features.norm(dim=-1, keepdim=True) * DIM**0.5)


def _per_cell(counts: Tensor) -> Tensor:
    """Means over the cells of 4 frames of 8x8 pixels, in the order (time, clip, y, x)."""
    return F.avg_pool3d(counts, (4, 8, 8))[:, 0].transpose(0, 1).flatten()


def _halve(conv: Any, x: Tensor, keep: int) -> Tensor:
    """Principal components of 2x2 patches; the patch is the kernel's upper left, as the padding
    is on the right and at the bottom."""
    n, t, c, h, w = x.shape
    patches = x.reshape(n * t, c, h // 2, 2, w // 2, 2).permute(1, 3, 5, 0, 2, 4)
    flat = patches.reshape(c * 4, -1)
    _, vectors = torch.linalg.eigh(flat @ flat.T / flat.shape[1])
    best = vectors[:, -keep:].flip(1).T  # [keep, c * 4]
    conv.weight[:keep, :c, :2, :2] = best.reshape(keep, c, 2, 2)
    conv.weight[CONSTANT, CONSTANT, :2, :2] = 0.25
    out: Tensor = (best @ flat).reshape(keep, n, t, h // 2, w // 2).permute(1, 2, 0, 3, 4)
    return out


def _join(conv: Any, x: Tensor, keep: int) -> Tensor:
    """Pairs of frames become their mean and the principal components of half their difference."""
    channels = x.shape[2]
    keep = min(keep, channels)
    first, second = x[:, 0::2], x[:, 1::2]
    change = ((second - first) / 2).transpose(0, 2)  # [c, t, n, h, w]
    flat = change.flatten(1)
    _, vectors = torch.linalg.eigh(flat @ flat.T / flat.shape[1])
    best = vectors[:, -keep:].flip(1).T
    still = torch.diag_embed((torch.arange(DIM) < channels).float())
    still[CONSTANT, CONSTANT] = 1
    conv.weight[:, :, 1, 0, 0] = 0.5 * still
    conv.weight[:, :, 2, 0, 0] = 0.5 * still
    conv.weight[channels : channels + keep, :channels, 1, 0, 0] = -0.5 * best
    conv.weight[channels : channels + keep, :channels, 2, 0, 0] = 0.5 * best
    moved = (best @ flat).reshape(keep, *change.shape[1:]).transpose(0, 2)
    return torch.cat([(first + second) / 2, moved], dim=2)


@dataclass(frozen=True)
class FastEncoder:
    """The encoder as matrices: `still` [192, 128] for a frame of 8x8 pixels and `moving`
    [768, 128] for four; the constant is added where it stands; then the `head` [128, 16] and its
    `bias`."""

    still: Tensor
    moving: Tensor
    constant: float
    head: Tensor
    bias: Tensor

    def features(self, cells: Tensor) -> Tensor:
        """Features [..., 128] of cells [..., 192 or 768], pixels ordered (frame, y, x, c) in
        -1..1."""
        out = cells @ (self.still if cells.shape[-1] == len(self.still) else self.moving)
        out[..., CONSTANT] = self.constant
        return out

    def code(self, cells: Tensor) -> Tensor:
        """Latents [n, 16, h, w] of cells [n, h, w, 192 or 768]."""
        return (_after_norm(self.features(cells)) @ self.head + self.bias).permute(0, 3, 1, 2)


@torch.no_grad()
def fast_encoder(vae: Any) -> FastEncoder:
    """Read the matrices off a fitted encoder's layers, by sending each pixel through them."""
    device = vae.encoder.conv_in.weight.device
    encoder = copy.deepcopy(vae.encoder).cpu()

    def through(frames: int) -> Tensor:
        size = frames * 64 * 3
        basis = torch.eye(size).reshape(size, frames, 8, 8, 3).permute(0, 4, 1, 2, 3)
        cells = torch.cat([basis, torch.zeros_like(basis[:1])])
        # As `encode` does: a first chunk of one frame, then chunks of four.
        cache: list[Any] = [None] * 16
        if frames > 1:
            _down(encoder, torch.zeros_like(cells[:, :, :1]), cache)
        out = _down(encoder, cells, cache)[..., 0, 0, 0]
        return torch.cat([out[:-1] - out[-1:], out[-1:]])

    still, moving = through(1), through(4)
    head = encoder.conv_out.weight[:CHANNELS, :, -1, 1, 1].T
    return FastEncoder(
        still[:-1].to(device),
        moving[:-1].to(device),
        float(still[-1, CONSTANT]),
        head.contiguous().to(device),
        encoder.conv_out.bias[:CHANNELS].clone().to(device),
    )


def _down(encoder: Any, x: Tensor, cache: list[Any]) -> Tensor:
    place = [1]
    x = encoder.conv_in(x)
    for layer in encoder.down_blocks:
        x = layer(x, feat_cache=cache, feat_idx=place)
    return x


def cells_of(clips: Tensor) -> Tensor:
    """Clips [n, 3, t, 8h, 8w] as cells [n, h, w, t * 192], pixels ordered (frame, y, x, c)."""
    n, c, t, high, wide = clips.shape
    split = clips.reshape(n, c, t, high // 8, 8, wide // 8, 8)
    return split.permute(0, 3, 5, 2, 4, 6, 1).reshape(n, high // 8, wide // 8, -1)
