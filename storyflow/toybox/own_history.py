"""Histories as the transformer itself would have painted them.

In a long shot each history is what the model painted before, with its faults. A model that has only
ever continued true histories takes faults for truth and adds its own, segment by segment (exposure
bias; Self Forcing, arXiv 2506.08009, rolls out whole films against it). Here a true history is
covered with noise and painted by the transformer in one step, as the sampler's last step does; what
has to follow it is the truth. So the model learns to go on well from what it painted less well.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from storyflow.toybox import architecture
from storyflow.toybox.batched import Block, velocities
from storyflow.toybox.precision import multiplied_in

LEVELS: Final = (0.15, 0.6)
"""How much noise covers a history; the sampler's last step of twelve begins at 0.42."""


@torch.no_grad()
def repainted(
    transformer: Any,
    history: Tensor,
    text: Tensor,
    lengths: Tensor,
    rng: np.random.Generator,
    block: Block | None = None,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """Histories [b, 16, f, 8, 12] as the transformer paints them, each from a noise level of its
    own; `text` [b, tokens, 128] and `lengths` [b] are their captions."""
    levels = torch.from_numpy(rng.uniform(*LEVELS, len(history)).astype(np.float32))
    noise = torch.from_numpy(rng.standard_normal(history.shape, dtype=np.float32))
    levels, noise = levels.to(history.device), noise.to(history.device)
    part = levels.view(-1, 1, 1, 1, 1)
    noisy = history * (1 - part) + noise * part
    steps = (1000 * levels).round().long()[:, None].expand(-1, history.shape[2])
    with multiplied_in(precision, history.device):
        said, _ = velocities(
            transformer, noisy, steps, text, lengths, architecture.TEXT_TOKENS, block
        )
    out: Tensor = noisy - part * said
    return out
