"""The auxiliary task of the transformer's training: to say half-way what its tokens show.

The head reads the hidden states between two blocks, learns along with the transformer and is not
part of the model that is shipped (see `scene_map.py` for why).
"""

from __future__ import annotations

from itertools import chain, islice
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from storyflow.toybox.latents import LatentSet
from storyflow.toybox.scene_map import NUMBERS

INNER: Final = 192
SAMPLE: Final = 200
"""Stretches of each portion that the numbers' sizes are taken from."""
RARE: Final = 0.05
"""Added to the sizes: what hardly ever differs from zero counts less."""


class Head(nn.Module):
    """From hidden states [..., width] to the numbers of a scene map, each in units of its size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sizes: Tensor
        self.register_buffer("sizes", torch.ones(NUMBERS))
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, INNER), nn.GELU(), nn.Linear(INNER, NUMBERS)
        )

    def measured(self, data: LatentSet) -> Head:
        """The same head, with sizes from a training set."""
        maps = chain.from_iterable(
            (item.single_map, item.chunk_map)
            for items in data.items.values()
            for item in islice(items, SAMPLE)
        )
        rows = np.concatenate([each.reshape(-1, NUMBERS) for each in maps]).astype(np.float32)
        self.sizes.copy_(torch.from_numpy(rows.std(axis=0) + RARE))
        return self

    def error(self, hidden: Tensor, shown: Tensor) -> Tensor:
        """Mean squared error of what it says about `hidden` [b, f, tokens, width], where `shown`
        [b, f, tokens, 62] is right."""
        said: Any = self.layers(hidden)
        error: Tensor = (said - shown / self.sizes).square().mean()
        return error
