"""What a window is given besides noise: latents that are known before its first step.

Three kinds. *History*, the last latents before a continuing segment, stands first in the window. A
*start picture* is a fresh segment's first latent and belongs to it: it is stored and decoded with
the rest. An *end picture* shows the frame right after the segment's last one; its latent stands
after the window, is seen by every pass at timestep 0, and is not decoded.

History and start picture get a little noise (`history_noise`) in every pass and are said to be at
that level; the end picture stays clean. Both reference codes do all this. Where they fail (an end
picture in a film of several windows, a start picture with blocks), see tests/test_forcing_modes.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.lattice import PIXELS_PER_LATENT
from storyflow.forcing.noise import NoiseSource, moved
from storyflow.forcing.schedule import LEVELS
from storyflow.forcing.vae import StreamingVAE
from storyflow.renderer import Given, SegmentSpec


@dataclass(frozen=True)
class Conditions:
    """Normalised latents, float32: `first` [1, c, p, h, w] open the window, `end` [1, c, e, h, w]
    follows it; p and e may be 0.

    `history` of the `first` ones are an earlier segment's, so that only what comes after them is
    the segment's own.
    """

    first: Tensor
    end: Tensor
    history: int

    @property
    def known(self) -> int:
        """Latent frames at the window's start that are not denoised."""
        return self.first.shape[2]

    @property
    def ends(self) -> int:
        return self.end.shape[2]


def read_conditions(
    vae: StreamingVAE, config: ForcingConfig, spec: SegmentSpec, given: Given
) -> Conditions:
    """The latents of what is given; the arguments have been checked (see renderer.py).

    History as `pixels` is encoded again, which makes the first of it a one-frame latent, as in
    training; as `latents` it is taken as it was made, without a VAE round trip. A clip's frames
    have no latents yet and are always encoded.
    """
    none = torch.zeros(
        (1, vae.channels, 0, spec.height // PIXELS_PER_LATENT, spec.width // PIXELS_PER_LATENT)
    )
    end = none if given.end is None else vae.encode(given.end[None])
    if given.history is None:
        first = none if given.start is None else vae.encode(given.start[None])
        return Conditions(first, end, history=0)
    latents = given.history.latents
    if config.history == "pixels" or latents is None:
        first = vae.encode(given.history.pixels)
    else:
        first = torch.from_numpy(np.array(latents, dtype=np.float32))[None]
    return Conditions(first, end, history=first.shape[2])


def blurred(known: Tensor, thousandths: int, noise: NoiseSource) -> Tensor:
    """`known` [1, c, p, h, w] with fresh noise, drawn anew for every pass as the reference does."""
    if thousandths == 0 or known.shape[2] == 0:
        return known
    part = thousandths / LEVELS
    drawn = moved(noise.history(tuple(known.shape)), known.device, known.dtype)
    return known * (1 - part) + drawn * part
