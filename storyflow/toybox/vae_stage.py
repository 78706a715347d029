"""Training stage `vae`: the toy VAE learns to rebuild the world's clips.

The encoder's way down is set in closed form (`codec.py`) and stays; its middle, its head and the
decoder are trained. Single pictures come first, which is several times cheaper, then crops of 9
frames (three of the VAE's chunks), at last whole pictures, so that the middle attention sees its
real grid. The loss is L1, on pixels and on edges, and a small KL term; around the figures, which
are small and what a film is about, it counts more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanAttentionBlock,
    WanResample,
    WanResidualBlock,
)
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from storyflow.toybox import architecture, scenes, world
from storyflow.toybox.checkpoint import Log, restore, store
from storyflow.toybox.codec import fit_encoder
from storyflow.toybox.measure import psnr
from storyflow.toybox.planes import flatten

FRAMES = 9


@dataclass(frozen=True)
class VaePlan:
    """How long and on what: `pictures` steps on single pictures, then clips, of which the last
    `whole` steps are on whole pictures. After `encoder` steps the encoder stays as it is, so that
    the training set of the transformer can be made while the decoder goes on learning."""

    steps: int = 6000
    pictures: int = 700
    encoder: int = 500
    whole: int = 200
    batch: int = 4
    side: int = 32
    rate: float = 2e-3
    kl: float = 1e-4
    pool: int = 120
    seed: int = 1


class ClipPool:
    """Clips to crop from; one is drawn anew every few batches, so that the pool never grows old."""

    def __init__(self, size: int, seed: int) -> None:
        self.next = seed * 1_000_000
        self.served = 0
        self.clips: list[NDArray[np.uint8]] = []
        for _ in range(size):
            self.clips.append(self._fresh())

    def _fresh(self) -> NDArray[np.uint8]:
        start = (self.next * 37) % 80
        clip = world.draw(scenes.sample(self.next), 2 * FRAMES, start)
        self.next += 1
        return clip

    def batch(
        self, rng: np.random.Generator, size: int, frames: int, height: int, width: int
    ) -> torch.Tensor:
        """float32 [size, 3, frames, height, width] in -1..1."""
        self.served += 1
        if self.served % 6 == 0:
            self.clips[int(rng.integers(len(self.clips)))] = self._fresh()
        crops = []
        for _ in range(size):
            clip = self.clips[int(rng.integers(len(self.clips)))]
            t = int(rng.integers(2 * FRAMES - frames + 1))
            # The more colourful one of two places: figures fill little of most pictures.
            places = [
                (
                    int(rng.integers(world.HEIGHT - height + 1)),
                    int(rng.integers(world.WIDTH - width + 1)),
                )
                for _ in range(2)
            ]
            options = [clip[t : t + frames, y : y + height, x : x + width] for y, x in places]
            crops.append(max(options, key=lambda crop: int(np.ptp(crop[0], axis=-1).sum())))
        return to_model(np.stack(crops))


def to_model(clips: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 [n, frames, h, w, 3] to float32 [n, 3, frames, h, w] in -1..1."""
    return torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float().div(127.5).sub(1)


def to_pixels(video: torch.Tensor) -> NDArray[np.uint8]:
    """The way back, clamped."""
    scaled = video.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 4, 1).contiguous().numpy()


def train(plan: VaePlan, work: Path, *, stop_at: int | None = None) -> Any:
    """Train (or go on training) in `work`; returns the VAE with its latent statistics set.

    A run that is stopped goes on from its last checkpoint, but draws other clips than an
    undisturbed one.
    """
    vae = flatten(architecture.build(plan.seed).vae).train()
    pool = ClipPool(plan.pool, plan.seed)
    prepare(vae, plan.seed, to_model(np.stack([clip[:8] for clip in pool.clips])))
    learning = [p for p in vae.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=plan.rate, betas=(0.9, 0.99), weight_decay=0)
    first = restore(work / "vae.pt", vae, optimizer)
    log = Log(work / "vae.csv", ("step", "loss", "l1", "kl", "psnr", "psnr_subject"))
    rng = np.random.default_rng([plan.seed, first])
    noise = torch.Generator().manual_seed(plan.seed * 7919 + first)
    pool.next += 1000 * first
    last = plan.steps if stop_at is None else stop_at
    mean = [0.0, 0.0, 0.0]
    for step in range(first, last):
        if step >= plan.encoder:
            vae.encoder.requires_grad_(False)
            vae.quant_conv.requires_grad_(False)
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * _schedule(step, plan.steps)
        if step < plan.pictures:
            clips = pool.batch(rng, 4 * plan.batch, 1, plan.side, plan.side)
        elif step < plan.steps - plan.whole:
            clips = pool.batch(rng, plan.batch, FRAMES, plan.side, plan.side)
        else:
            clips = pool.batch(rng, 1, FRAMES, world.HEIGHT, world.WIDTH)
        loss, l1, kl = losses(vae, clips, noise, plan.kl)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward([loss])
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        mean = [
            0.98 * a + 0.02 * float(b.detach()) for a, b in zip(mean, (loss, l1, kl), strict=True)
        ]
        if (step + 1) % 100 == 0 or step + 1 == last:
            log.write(step + 1, *(f"{m:.5f}" for m in mean), *quality(vae, 6))
            store(work / "vae.pt", step + 1, vae, optimizer)
    return vae.eval()


@torch.no_grad()
def prepare(vae: Any, seed: int, clips: torch.Tensor) -> None:
    """Set the encoder from clips and give the decoder start values that learn quickly.

    Convolutions keep the variance and look at the pixel and frame they stand for, residual branches
    start almost silent, frames are repeated.
    """
    source = torch.Generator().manual_seed(seed)
    for module in vae.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            inputs = module.weight.shape[1]
            normal = torch.randn(module.weight.shape, generator=source)
            centre = torch.full(module.weight.shape[2:], 0.15)
            middle = [size // 2 for size in module.kernel_size]
            if len(middle) == 3:
                middle[0] = module.kernel_size[0] - 1  # the newest frame
            centre[tuple(middle)] = 1.0
            module.weight.copy_(normal * centre / inputs**0.5)
            if module.bias is not None:
                module.bias.zero_()
    for module in vae.modules():
        if isinstance(module, WanResidualBlock):
            module.conv2.weight.mul_(0.1)
        elif isinstance(module, WanAttentionBlock):
            module.proj.weight.zero_()
        elif isinstance(module, WanResample) and module.mode == "upsample3d":
            weight = module.time_conv.weight  # [2 * dim, dim, 3, 1, 1]
            weight.mul_(0.1)
            weight[:, :, -1, 0, 0] = torch.eye(weight.shape[1]).repeat(2, 1)
    middle_block = {k: v.clone() for k, v in vae.encoder.mid_block.state_dict().items()}
    fit_encoder(vae, clips)
    # Silent, but able to learn: only what comes last in each branch stays at zero.
    for name, value in vae.encoder.mid_block.state_dict().items():
        if "conv2" not in name and "proj" not in name:
            value.copy_(middle_block[name])
    vae.quant_conv.bias[vae.config.z_dim :] = -6.0
    for part in (vae.encoder.conv_in, vae.encoder.down_blocks):
        part.requires_grad_(False)


def losses(
    vae: Any, clips: torch.Tensor, noise: torch.Generator, kl_weight: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The loss, its L1 part and the KL divergence per latent number."""
    posterior = vae.encode(clips).latent_dist
    eps = torch.randn(posterior.mean.shape, generator=noise)
    rebuilt = vae.decode(posterior.mean + posterior.std * eps).sample
    error = (rebuilt - clips) * _importance(clips)
    l1 = error.abs().mean()
    edges = (error[..., 1:] - error[..., :-1]).abs().mean()
    edges = edges + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
    return l1 + 0.5 * edges + kl_weight * kl, l1, kl


def _importance(clips: torch.Tensor) -> torch.Tensor:
    """[n, 1, frames, h, w]: more where saturated colours are near."""
    vivid = (clips.amax(dim=1) - clips.amin(dim=1) > 1.0).float()
    return 1 + 3 * F.max_pool2d(vivid, 5, stride=1, padding=2)[:, None]


@torch.no_grad()
def quality(vae: Any, clips: int, frames: int = 17) -> tuple[str, str]:
    """PSNR of rebuilt held-out clips: whole picture, and boxes around the subjects."""
    vae.eval()
    whole, boxes = [], []
    for i in range(clips):
        scene = scenes.sample(i, test=True)
        start = 8 * i
        clip = world.draw(scene, frames, start)
        mean = vae.encode(to_model(clip[None])).latent_dist.mode()
        rebuilt = to_pixels(vae.decode(mean).sample)[0]
        whole.append(psnr(clip, rebuilt))
        boxes += [psnr(a, b) for a, b in _boxes(scene, start, clip, rebuilt)]
    vae.train()
    return f"{np.mean(whole):.2f}", f"{np.mean(boxes):.2f}"


def _boxes(
    scene: world.Scene, start: int, clip: NDArray[np.uint8], rebuilt: NDArray[np.uint8]
) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    frames = len(clip)
    where = world.tracks(scene, start + frames)
    pairs = []
    for i in range(len(scene.figures)):
        for t in range(0, frames, 4):
            zoom = where.zoom[start + t]
            x = world.WIDTH / 2 + (where.x[i, start + t] - world.WIDTH / 2) * zoom
            y = world.HEIGHT / 2 + (where.y[i, start + t] - world.HEIGHT / 2) * zoom
            r = where.radius[i, start + t] * zoom + 2
            top, bottom = max(0, math.floor(y - r)), min(world.HEIGHT, math.ceil(y + r))
            left, right = max(0, math.floor(x - r)), min(world.WIDTH, math.ceil(x + r))
            if bottom - top > 4 and right - left > 4:
                pairs.append((clip[t, top:bottom, left:right], rebuilt[t, top:bottom, left:right]))
    return pairs


def _schedule(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / 100)
    return warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))
