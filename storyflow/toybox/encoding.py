"""The trained encoder, fast: its way down as one matrix product, its middle on planes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storyflow.toybox import codec
from storyflow.toybox.pictures import to_model


def fast_encoder(vae: Any) -> tuple[codec.Sketch, codec.WayDown]:
    """The encoder as a sketch and two matrices, on the VAE's device."""
    device = vae.encoder.conv_in.weight.device
    way = codec.way_down(vae.to("cpu")).to(device)
    vae.to(device)
    sketch = codec.Sketch().to(device)
    sketch.take(vae)
    return sketch, way


@torch.no_grad()
def encode_fast(sketch: codec.Sketch, way: codec.WayDown, clips: NDArray[np.uint8]) -> Tensor:
    """Latents [n, 16, k + 1, h, w] of clips uint8 [n, 4k + 1, 8h, 8w, 3], as `vae.encode` makes
    them, but with the way down as one matrix and the middle on planes.

    Clips of four frames are one chunk each."""
    video = to_model(clips).to(way.still.device)
    if video.shape[2] == 4:
        return sketch.code(way.features(codec.cells_of(video)))[:, :, None]
    chunks = [video[:, :, :1]]
    if video.shape[2] > 1:
        n, c, t, high, wide = video[:, :, 1:].shape
        moving = video[:, :, 1:].reshape(n, c, t // 4, 4, high, wide)
        chunks.append(moving.transpose(1, 2).flatten(0, 1))
    codes = [sketch.code(way.features(codec.cells_of(chunk))) for chunk in chunks]
    parts = [codes[0][:, :, None]]
    if len(codes) > 1:
        parts.append(codes[1].reshape(len(clips), -1, *codes[1].shape[1:]).transpose(1, 2))
    return torch.cat(parts, dim=2)
