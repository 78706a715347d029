"""The toy VAE's encoder: principal components on the way down, a learned code on top.

Without residual blocks the way down is a chain of strided convolutions, so it can be set in closed
form. Each takes the principal components of the 2x2 patches below it; each step in time takes the
mean of two frames and, in channels of their own, the principal differences. What arrives are 127
features per 4 frames of 8x8 pixels and a constant, from which a cell of film can be rebuilt almost
without loss. A single frame leaves the differences at zero: it looks like a stretch without motion,
which is what it is.

The middle block and the head turn these features into 16 numbers. They look at one latent frame
only (kernels are zero for earlier ones), so a latent does not depend on where a window begins.
They are learned at 8x12 cells, together with a decoder that is thrown away (`Sketch`), which is
cheap: no convolution runs at full size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DIM: Final = 128
CONSTANT: Final = DIM - 1
FIRST, SECOND = 12, 48
"""Numbers of a 2x2 and of a 4x4 patch: both are kept whole."""
SPATIAL: Final = 96
"""Principal components of an 8x8 patch; the rest, up to the constant, are differences in time."""
LOUDNESS: Final = 5.0
"""The constant channel, in units of the other channels' usual length."""
CHANNELS: Final = 16


@torch.no_grad()
def fit_encoder(vae: Any, clips: Tensor) -> None:
    """Set the weights of `vae.encoder` and `vae.quant_conv` from clips, the middle block silent.

    `clips` float32 [n, 3, 4k, h, w] in -1..1; the VAE has `dim_mult` all 1, `base_dim` 128 and no
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

    one, two, three = encoder.down_blocks
    x = clips.transpose(1, 2)  # [n, t, c, h, w], without the constant
    x = _halve(one.resample[1], x, FIRST)
    x = _halve(two.resample[1], x, SECOND)
    x = _join(two.time_conv, x, CONSTANT - SECOND)
    x = _halve(three.resample[1], x, SPATIAL)
    x = _join(three.time_conv, x, CONSTANT - SPATIAL)
    # Quiet features are raised to the square root of their size, so that learning sees them.
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
    seen = F.silu(full / full.norm(dim=0, keepdim=True) * DIM**0.5)[:CONSTANT]
    seen = seen / scale[:, None]  # back to what a pixel's worth is
    mean = seen.mean(dim=1, keepdim=True)
    _, vectors = torch.linalg.eigh((seen - mean) @ (seen - mean).T / seen.shape[1])
    best = vectors[:, -CHANNELS:].flip(1).T
    best = best / (best @ (seen - mean)).square().mean().sqrt()
    encoder.conv_out.weight[:CHANNELS, :CONSTANT, -1, 1, 1] = best / scale
    encoder.conv_out.bias[:CHANNELS] = -(best @ mean)[:, 0]
    vae.quant_conv.weight[:] = torch.eye(2 * CHANNELS)[:, :, None, None, None]
    vae.quant_conv.bias.zero_()
    vae.quant_conv.bias[CHANNELS:] = -12.0


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
class WayDown:
    """The encoder's way down as two matrices: `still` [192, 128] for a frame of 8x8 pixels and
    `moving` [768, 128] for four; the constant is added where it stands."""

    still: Tensor
    moving: Tensor
    constant: float

    def features(self, cells: Tensor) -> Tensor:
        """Features [n, 128, h, w] of cells [n, h, w, 192 or 768], pixels ordered (frame, y, x, c)
        in -1..1."""
        matrix = self.still if cells.shape[-1] == len(self.still) else self.moving
        out = (cells @ matrix).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        out[:, CONSTANT] = self.constant
        return out

    def to(self, device: torch.device) -> WayDown:
        return WayDown(self.still.to(device), self.moving.to(device), self.constant)


@torch.no_grad()
def way_down(vae: Any) -> WayDown:
    """Read the matrices off the layers, by sending each pixel through them."""
    encoder = vae.encoder

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
    return WayDown(still[:-1], moving[:-1], float(still[-1, CONSTANT]))


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


class _Block(nn.Module):
    """A residual block on planes, silent at first."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma1, self.gamma2 = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.ones(dim))
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(_normed(x, self.gamma1)))
        out: Tensor = x + self.conv2(F.silu(_normed(y, self.gamma2)))
        return out


class _Look(nn.Module):
    """One head of attention over a plane, silent at first."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))
        self.to_qkv = nn.Conv2d(dim, 3 * dim, 1)
        self.proj = nn.Conv2d(dim, dim, 1)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        high, wide = x.shape[2:]
        q, k, v = self.to_qkv(_normed(x, self.gamma)).flatten(2).transpose(1, 2).chunk(3, dim=2)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        out: Tensor = x + self.proj(seen.reshape(len(x), -1, high, wide))
        return out


def _normed(x: Tensor, gamma: Tensor) -> Tensor:
    inverse = torch.rsqrt((x * x).sum(dim=1, keepdim=True) + 1e-12) * gamma.numel() ** 0.5
    out: Tensor = x * inverse * gamma[:, None, None]
    return out


class Sketch(nn.Module):
    """The middle block and head of the encoder on single planes, and a decoder to learn them with.

    `code` gives the 16 numbers of features [n, 128, h, w], `rebuild` cells [n, h, w, 768].
    """

    def __init__(self, width: int = DIM) -> None:
        super().__init__()
        self.middle = nn.Sequential(_Block(DIM), _Look(DIM), _Block(DIM))
        self.gamma = nn.Parameter(torch.ones(DIM))
        self.head = nn.Conv2d(DIM, CHANNELS, 3, padding=1)
        self.back = nn.Sequential(
            nn.Conv2d(CHANNELS, width, 3, padding=1), _Block(width), _Block(width), _Block(width)
        )
        self.back_gamma = nn.Parameter(torch.ones(width))
        self.paint = nn.Linear(width + CHANNELS, 768)

    def code(self, features: Tensor) -> Tensor:
        """[n, 16, h, w]."""
        out: Tensor = self.head(F.silu(_normed(self.middle(features), self.gamma)))
        return out

    def rebuild(self, code: Tensor) -> Tensor:
        """[n, h, w, 768]."""
        seen = F.silu(_normed(self.back(code), self.back_gamma))
        out: Tensor = self.paint(torch.cat([seen, code], dim=1).permute(0, 2, 3, 1))
        return out

    @torch.no_grad()
    def start(self, vae: Any) -> None:
        """Take the head that `fit_encoder` found."""
        self.head.weight.copy_(vae.encoder.conv_out.weight[:CHANNELS, :, -1])
        self.head.bias.copy_(vae.encoder.conv_out.bias[:CHANNELS])  # type: ignore[union-attr]

    @torch.no_grad()
    def install(self, vae: Any) -> None:
        """Write the learned middle block and head into the VAE's encoder."""
        encoder, middle = vae.encoder, vae.encoder.mid_block
        mine: Any
        for block, mine in zip(middle.resnets, (self.middle[0], self.middle[2]), strict=True):
            for conv, learned in ((block.conv1, mine.conv1), (block.conv2, mine.conv2)):
                conv.weight.zero_()
                conv.weight[:, :, -1] = learned.weight.to(conv.weight.device)
                conv.bias.copy_(learned.bias)
            block.norm1.gamma.copy_(mine.gamma1[:, None, None, None])
            block.norm2.gamma.copy_(mine.gamma2[:, None, None, None])
        look, mine = middle.attentions[0], self.middle[1]
        look.norm.gamma.copy_(mine.gamma[:, None, None])
        look.to_qkv.load_state_dict(mine.to_qkv.state_dict())
        look.proj.load_state_dict(mine.proj.state_dict())
        encoder.norm_out.gamma.copy_(self.gamma[:, None, None, None])
        encoder.conv_out.weight.zero_()
        head: Any = self.head
        encoder.conv_out.weight[:CHANNELS, :, -1] = head.weight.to(encoder.conv_out.weight.device)
        encoder.conv_out.bias[:CHANNELS] = head.bias.to(encoder.conv_out.bias.device)

    @torch.no_grad()
    def take(self, vae: Any) -> None:
        """The way back of `install`: the VAE's middle block and head, on planes."""
        encoder, middle = vae.encoder, vae.encoder.mid_block
        mine: Any
        for block, mine in zip(middle.resnets, (self.middle[0], self.middle[2]), strict=True):
            for conv, learned in ((block.conv1, mine.conv1), (block.conv2, mine.conv2)):
                learned.weight.copy_(conv.weight[:, :, -1])
                learned.bias.copy_(conv.bias)
            mine.gamma1.copy_(block.norm1.gamma.flatten())
            mine.gamma2.copy_(block.norm2.gamma.flatten())
        look, mine = middle.attentions[0], self.middle[1]
        mine.gamma.copy_(look.norm.gamma.flatten())
        mine.to_qkv.load_state_dict(look.to_qkv.state_dict())
        mine.proj.load_state_dict(look.proj.state_dict())
        self.gamma.copy_(encoder.norm_out.gamma.flatten())
        self.head.weight.copy_(encoder.conv_out.weight[:CHANNELS, :, -1])
        self.head.bias.copy_(encoder.conv_out.bias[:CHANNELS])  # type: ignore[union-attr]
