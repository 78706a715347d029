"""Training stage `decoder`: the toy VAE's decoder learns to paint pixels from frozen latents.

Its first half, up to 2x2 pixels, learns first, with a head that is thrown away: that is some five
times cheaper a step than all of it. Then the whole decoder learns, on crops of 13 frames (four of
the VAE's chunks), at last on whole pictures, so that the middle attention sees its real grid. As in
stage `code`, squared errors count, and more around figures. So do errors of the step from frame to
frame: a latent says little of the motion within its four frames, the ones before it say more, and
where a decoder doesn't listen to them, films jump from latent to latent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
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
from torch import Tensor, nn
from torch.nn import functional as F

from storyflow.toybox import architecture, scenes, world
from storyflow.toybox.checkpoint import Log, restore, store
from storyflow.toybox.codec import fast_encoder
from storyflow.toybox.encoding import encode_fast
from storyflow.toybox.measure import psnr
from storyflow.toybox.pictures import Pool, cosine, importance, to_model, to_pixels
from storyflow.toybox.planes import flatten
from storyflow.toybox.precision import multiplied_in


@dataclass(frozen=True)
class DecoderPlan:
    """How long and on what.

    `coarse` steps for the decoder's first half, on `coarse_batch` whole windows; then `steps` for
    all of it on crops of `side` pixels, the last `whole` of them on whole pictures. Latents carry
    noise, up to `grain` times their unit and another share of it in every crop, so that the decoder
    paints clean pictures from latents that the transformer got slightly wrong. `motion` is how much
    errors of steps between frames count. PSNR is logged of `looked_at` held-out clips.
    """

    coarse: int = 1000
    coarse_batch: int = 2
    steps: int = 1800
    whole: int = 150
    batch: int = 4
    side: int = 32
    rate: float = 2e-3
    grain: float = 0.25
    figures: float = 4.0
    motion: float = 2.0
    pool: int = 3000
    looked_at: int = 6
    seed: int = 1

    def longer(self, times: int) -> DecoderPlan:
        """The same with so many times the steps."""
        return replace(
            self,
            coarse=self.coarse * times,
            steps=self.steps * times,
            whole=self.whole * times,
        )

    def resumed(self) -> DecoderPlan:
        """More steps for a trained decoder, at half the rate, mostly on whole pictures, less grain.

        Films of a trained transformer read alike with either grain (docs/toybox.md).
        """
        return replace(self, coarse=0, whole=2 * self.steps // 3, rate=self.rate / 2, grain=0.1)


def train(
    plan: DecoderPlan,
    work: Path,
    device: torch.device,
    *,
    pool: Pool | None = None,
    stop_at: int | None = None,
    precision: torch.dtype = torch.float32,
) -> Any:
    """Train (or go on training) the decoder of `work`'s VAE; returns the VAE.

    Convolutions multiply in `precision`. Step n is a function of the seed and n: a run that is
    stopped goes on exactly.
    """
    vae = load(work, device)
    pool = pool or Pool.read(work / "drawn", plan.pool, plan.seed)
    encoder = fast_encoder(vae)
    latents = torch.cat(
        [encode_fast(encoder, pool.clips[i : i + 50]).cpu() for i in range(0, len(pool.clips), 50)]
    )
    painter = Painter(vae).train()
    optimizer = torch.optim.AdamW(
        painter.parameters(), lr=plan.rate, betas=(0.9, 0.99), weight_decay=0
    )
    first = restore(work / "decoder.pt", painter, optimizer)
    log = Log(work / "decoder.csv", ("step", "loss", "psnr", "psnr_subject"))
    losses: list[float] = []
    total = plan.coarse + plan.steps
    last = total if stop_at is None else stop_at
    for step in range(first, last):
        rng = np.random.default_rng([plan.seed, 2, step])
        coarse = step < plan.coarse
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * (
                cosine(step, plan.coarse) if coarse else cosine(step - plan.coarse, plan.steps)
            )
        clips, codes = _crops(plan, step, pool, latents, rng)
        noise = torch.from_numpy(rng.standard_normal(codes.shape, dtype=np.float32))
        share = torch.from_numpy(rng.random(len(codes), dtype=np.float32)).view(-1, 1, 1, 1, 1)
        with multiplied_in(precision, device):
            rebuilt = painter((codes + plan.grain * share * noise).to(device), coarse=coarse)
        wanted = to_model(clips).to(device)
        count = importance(wanted, plan.figures)
        if coarse:
            rebuilt = _finer(rebuilt)
        loss = error_of(rebuilt - wanted, count, plan.motion)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward([loss])
        torch.nn.utils.clip_grad_norm_(painter.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if (step + 1) % 200 == 0 or step + 1 == last:
            seen = ("", "") if coarse else quality(vae, plan.looked_at)
            log.write(step + 1, f"{np.mean(losses):.6f}", *seen)
            losses.clear()
            store(work / "decoder.pt", step + 1, painter, optimizer)
    return vae.eval()


class Painter(nn.Module):
    """The half of a VAE that this stage trains, and a head for its first half."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.post_quant_conv = vae.post_quant_conv
        self.decoder = vae.decoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.head = nn.Conv3d(self.decoder.up_blocks[2].resnets[0].conv1.in_channels, 12, 1)
        self.head.to(vae.post_quant_conv.weight.device)

    def forward(self, latents: Tensor, *, coarse: bool = False) -> Tensor:
        """Frames [n, 3, 4k - 3, 8h, 8w], not clamped, of latents [n, 16, k, h, w]; with `coarse`
        what the first half makes of them, [n, 12, 4k - 3, 4h, 4w]."""
        cache: list[Any] = [None] * 64
        inner = self.post_quant_conv(latents)
        chunks = []
        for i in range(inner.shape[2]):
            x, first = inner[:, :, i : i + 1], i == 0
            if coarse:
                chunks.append(self._half(x, cache, first))
            else:
                chunks.append(self.decoder(x, feat_cache=cache, feat_idx=[0], first_chunk=first))
        return torch.cat(chunks, dim=2)

    def _half(self, x: Tensor, cache: list[Any], first: bool) -> Tensor:
        decoder, place = self.decoder, [1]
        before = cache[0]
        cache[0] = x if before is None else torch.cat([before[:, :, -1:], x], dim=2)
        x = decoder.mid_block(decoder.conv_in(x, before), feat_cache=cache, feat_idx=place)
        for block in decoder.up_blocks[:2]:
            x = block(x, feat_cache=cache, feat_idx=place, first_chunk=first)
        out: Tensor = self.head(x)
        return out


def error_of(error: Tensor, count: Tensor, motion: float) -> Tensor:
    """Mean square of errors [n, 3, t, h, w] and, times `motion`, of their steps in time; pixels
    count as `count` [n, 1, t, h, w] says."""
    still = (error.square() * count).mean()
    steps = (error.diff(dim=2).square() * count[:, :, 1:]).mean()
    return (still + motion * steps) / count.mean()


def _finer(coarse: Tensor) -> Tensor:
    """[n, 12, t, h, w] to [n, 3, t, 2h, 2w]."""
    frames = F.pixel_shuffle(coarse.transpose(1, 2).flatten(0, 1), 2)
    return frames.reshape(len(coarse), -1, *frames.shape[1:]).transpose(1, 2)


def load(work: Path, device: torch.device) -> Any:
    """The VAE of a work folder as far as it is trained, with its fast kernels."""
    vae = architecture.build(0).vae
    if not restore(work / "vae.pt", vae):
        raise FileNotFoundError(f"{work / 'vae.pt'} is missing; train the stage `code` first")
    restore(work / "decoder.pt", Painter(vae))
    return flatten(vae).eval().to(device)


def _crops(
    plan: DecoderPlan, step: int, pool: Pool, latents: Tensor, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Tensor]:
    """Pixels uint8 [n, frames, h, w, 3] and their latents [n, 16, k, h / 8, w / 8]."""
    size, high, wide = plan.batch, plan.side, plan.side
    if step < plan.coarse:
        size, high, wide = plan.coarse_batch, world.HEIGHT, world.WIDTH
    elif step >= plan.coarse + plan.steps - plan.whole:
        size, high, wide = max(1, plan.batch // 4), world.HEIGHT, world.WIDTH
    pixels, codes = [], []
    for _ in range(size):
        which = int(rng.integers(len(pool.clips)))
        clip = pool.clips[which]
        # The more colourful one of two places: figures fill little of most pictures.
        places = [
            (
                8 * int(rng.integers((world.HEIGHT - high) // 8 + 1)),
                8 * int(rng.integers((world.WIDTH - wide) // 8 + 1)),
            )
            for _ in range(2)
        ]
        y, x = max(
            places,
            key=lambda at: int(
                np.ptp(clip[0, at[0] : at[0] + high, at[1] : at[1] + wide], axis=-1).sum()
            ),
        )
        pixels.append(clip[:, y : y + high, x : x + wide])
        rows, columns = slice(y // 8, (y + high) // 8), slice(x // 8, (x + wide) // 8)
        codes.append(latents[which, :, :, rows, columns])
    return np.stack(pixels), torch.stack(codes)


@torch.no_grad()
def start_decoder(vae: Any, seed: int) -> None:
    """Start values that learn quickly.

    Convolutions keep the variance and look at the pixel and frame they stand for, residual branches
    start almost silent, frames are repeated.
    """
    source = torch.Generator().manual_seed(seed)
    painter = Painter(vae)
    for module in painter.modules():
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
    for module in painter.modules():
        if isinstance(module, WanResidualBlock):
            module.conv2.weight.mul_(0.1)
        elif isinstance(module, WanAttentionBlock):
            module.proj.weight.zero_()
        elif isinstance(module, WanResample) and module.mode == "upsample3d":
            weight = module.time_conv.weight  # [2 * dim, dim, 3, 1, 1]
            weight.mul_(0.1)
            weight[:, :, -1, 0, 0] = torch.eye(weight.shape[1]).repeat(2, 1)


@torch.no_grad()
def quality(vae: Any, clips: int, frames: int = 17) -> tuple[str, str]:
    """PSNR of rebuilt held-out clips: whole picture, and boxes around the subjects."""
    vae.eval()
    whole, subjects = [], []
    for i in range(clips):
        scene = scenes.sample(i, test=True)
        start = 8 * i
        clip = world.draw(scene, frames, start)
        device = vae.post_quant_conv.weight.device
        mean = vae.encode(to_model(clip[None]).to(device)).latent_dist.mode()
        rebuilt = to_pixels(vae.decode(mean).sample)[0]
        whole.append(psnr(clip, rebuilt))
        subjects += [psnr(a, b) for a, b in boxes(scene, start, clip, rebuilt)]
    vae.decoder.train()
    return f"{np.mean(whole):.2f}", f"{np.mean(subjects):.2f}"


def boxes(
    scene: world.Scene, start: int, clip: NDArray[np.uint8], rebuilt: NDArray[np.uint8]
) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """What is around the figures, in pairs, of every fourth frame of a clip that begins at `start`
    and of what was rebuilt of it."""
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
