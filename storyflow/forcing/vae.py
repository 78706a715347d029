"""Streaming VAE: pixels to latents and back, a few frames at a time.

Diffusers' AutoencoderKLWan is causal in time and carries a feature cache from chunk to chunk, but
its `decode` joins all frames before it returns them. Here each chunk leaves as it is made, with the
same bits, so memory does not grow with the length.

Pictures are uint8 RGB outside and float32 in [-1, 1] inside; `to_bytes` and `to_floats` are the
only two places that convert.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from numpy.typing import NDArray
from torch import Tensor, nn

from storyflow.forcing.lattice import FRAMES_PER_LATENT, latent_frames


def to_bytes(frames: Tensor) -> NDArray[np.uint8]:
    """[1, 3, n, h, w] in [-1, 1] to uint8 [n, h, w, 3]; rounds to the nearest, halves to even."""
    levels = ((frames[0].float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(1, 2, 3, 0).contiguous().cpu().numpy()


def to_floats(frames: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, h, w, 3] to float32 [1, 3, n, h, w] in [-1, 1]; `to_bytes` undoes it exactly."""
    levels = torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)[None]
    return levels.float() / 127.5 - 1


class StreamingVAE:
    """Wraps an AutoencoderKLWan (Wan 2.1 layout, no patching) in evaluation mode.

    Latents are normalised by the model's per-channel mean and deviation, as the transformer reads
    them.
    """

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self._mean = _per_channel(vae.config.latents_mean)
        self._inverse_std = 1.0 / _per_channel(vae.config.latents_std)

    @property
    def channels(self) -> int:
        return int(self._vae.config.z_dim)

    def encode(self, frames: NDArray[np.uint8]) -> Tensor:
        """Latents float32 [1, channels, f, h/8, w/8] of uint8 frames [4f-3, h, w, 3].

        The mean of the posterior, no sampling. Raises ValueError for other numbers of frames.
        """
        count = latent_frames(len(frames))
        return self.encode_chunks(to_floats(frames[slice(*_frames_of(i))]) for i in range(count))

    def encode_chunks(self, chunks: Iterable[Tensor]) -> Tensor:
        """Latents as of `encode`, of frames in [-1, 1] that come in order as [1, 3, n, h, w].

        The first chunk is one frame, each later one four.
        """
        features = _cache(self._vae.encoder)
        seen = [
            self._vae.encoder(self._move(chunk), feat_cache=features, feat_idx=[0])
            for chunk in chunks
        ]
        moments = self._vae.quant_conv(torch.cat(seen, dim=2))  # [1, 2 * channels, f, h/8, w/8]
        mean: Tensor = moments.chunk(2, dim=1)[0].float()
        return (mean - self._mean.to(mean.device)) * self._inverse_std.to(mean.device)

    def decode(self, latents: Tensor) -> Iterator[Tensor]:
        """The frames of [1, channels, f, h, w], as [1, 3, n, 8h, 8w] in [-1, 1]: 1, then 4 by 4."""
        latents = latents.float()
        scaled = latents / self._inverse_std.to(latents.device) + self._mean.to(latents.device)
        features = _cache(self._vae.decoder)
        inner = self._vae.post_quant_conv(self._move(scaled))
        for i in range(inner.shape[2]):
            chunk = self._vae.decoder(
                inner[:, :, i : i + 1], feat_cache=features, feat_idx=[0], first_chunk=i == 0
            )
            yield chunk.clamp(-1, 1)

    def _move(self, x: Tensor) -> Tensor:
        weight: Tensor = self._vae.post_quant_conv.weight
        return x.to(weight.device, weight.dtype)


def _frames_of(latent: int) -> tuple[int, int]:
    """The pixel frames, from and to, that the latent frame of this number stands for."""
    end = FRAMES_PER_LATENT * latent + 1
    return max(0, end - FRAMES_PER_LATENT), end


def _cache(half: nn.Module) -> list[Tensor | None]:
    """An empty feature cache for the encoder or decoder: one place per causal convolution."""
    return [None] * sum(isinstance(m, WanCausalConv3d) for m in half.modules())


def _per_channel(values: list[float]) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1, 1)
