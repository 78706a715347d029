"""What CLIP says of a picture: the second way in which image-to-video weights see it.

CLIP looks at squares of 224x224. As in SkyworkAI's own code the whole picture is squeezed into the
square, which is what the weights were trained with. Stock scales the shorter side and cuts the
square out of the middle, so that it does not see the sides of a wide picture at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from storyflow.forcing.sequence.pictures import Picture
from storyflow.forcing.vae import to_floats

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""Of red, green and blue in CLIP's training set (Radford et al. 2021, arXiv 2103.00020)."""


class ImageEncoder:
    """Wraps a CLIPVisionModel in evaluation mode.

    It lives where its weights are; `device` is where it computes. Where these differ it is moved
    for each call and back, which costs a moment and saves its memory.
    """

    def __init__(self, model: Any, device: torch.device) -> None:
        self._model = model
        self._home = next(model.parameters()).device
        self._device = device

    @property
    def dim(self) -> int:
        return int(self._model.config.hidden_size)

    def encode(self, pictures: Sequence[Picture]) -> Tensor:
        """The last layer but one, [n, 257, dim], of n pictures: of the whole, then patch by patch.

        In the encoder's dtype, on the device where it computes.
        """
        self._model.to(self._device)
        weight: Tensor = self._model.embeddings.patch_embedding.weight
        pixels = squeezed(pictures, int(self._model.config.image_size))
        states = self._model(
            pixel_values=pixels.to(self._device, weight.dtype), output_hidden_states=True
        )
        embedding: Tensor = states.hidden_states[-2]
        self._model.to(self._home)
        return embedding


def squeezed(pictures: Sequence[Picture], side: int) -> Tensor:
    """Pictures of one size as CLIP reads them, float32 [n, 3, side, side]."""
    whole = torch.cat([to_floats(picture[None])[:, :, 0] for picture in pictures])
    square = functional.interpolate(whole, size=(side, side), mode="bicubic", align_corners=False)
    mean, deviation = (torch.tensor(x).view(1, 3, 1, 1) for x in (MEAN, DEVIATION))
    return (square * 0.5 + 0.5 - mean) / deviation
