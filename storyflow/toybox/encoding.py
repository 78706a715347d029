"""Clips as latents, fast: the fitted encoder as matrix products."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storyflow.toybox.codec import FastEncoder, cells_of
from storyflow.toybox.pictures import to_model


@torch.no_grad()
def encode_fast(encoder: FastEncoder, clips: NDArray[np.uint8]) -> Tensor:
    """Latents [n, 16, k + 1, h, w] of clips uint8 [n, 4k + 1, 8h, 8w, 3], as `vae.encode` makes
    them. Clips of four frames are one chunk each."""
    video = to_model(clips).to(encoder.still.device)
    if video.shape[2] == 4:
        return encoder.code(cells_of(video))[:, :, None]
    parts = [encoder.code(cells_of(video[:, :, :1]))[:, :, None]]
    if video.shape[2] > 1:
        n, c, t, high, wide = video[:, :, 1:].shape
        moving = video[:, :, 1:].reshape(n, c, t // 4, 4, high, wide).transpose(1, 2).flatten(0, 1)
        codes = encoder.code(cells_of(moving))
        parts.append(codes.reshape(n, -1, *codes.shape[1:]).transpose(1, 2))
    return torch.cat(parts, dim=2)
