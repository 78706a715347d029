"""Noise levels of a segment's solver steps; numpy only.

Flow matching: a sample at noise level sigma is `(1 - sigma) * clean + sigma * noise`, and the model
is told `t = floor(1000 * sigma)`. `shift` bends the levels so that more steps fall on high noise:
`sigma' = shift * sigma / (1 + (shift - 1) * sigma)` (Esser et al. 2024, arXiv 2403.03206, eq. 23).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Spacing = Literal["reference", "diffusers"]

LEVELS = 1000
"""Timesteps that the model was trained on."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """`timesteps` int64 [steps], descending; `sigmas` float32 [steps + 1], the last is 0."""

    timesteps: NDArray[np.int64]
    sigmas: NDArray[np.float32]

    @property
    def steps(self) -> int:
        return len(self.timesteps)


def make_schedule(steps: int, shift: float, spacing: Spacing) -> Schedule:
    """The levels of `steps` solver steps.

    `reference` spaces them as SkyReels-V2's own code does (fm_solvers_unipc.py: 0.999 down to 0),
    `diffusers` as UniPCMultistepScheduler with flow sigmas does (1 down to 0.001); before shifting.

    Raises ValueError for values out of range and for so many steps that two of them would share a
    timestep, which is the same as stepping nowhere.
    """
    if steps < 1:
        raise ValueError(f"steps {steps}: give 1 or more")
    if not shift > 0:
        raise ValueError(f"shift {shift}: give a positive number, 8 is usual")
    if spacing == "reference":
        even = np.linspace(1 - 1 / LEVELS, 0, steps + 1)[:-1]
    elif spacing == "diffusers":
        even = np.linspace(1, 1 / LEVELS, steps + 1)[:-1]
    else:
        raise ValueError(f"sigmas {spacing}: choose reference or diffusers")
    sigmas = shift * even / (1 + (shift - 1) * even)
    if abs(sigmas[0] - 1) < 1e-6:
        sigmas[0] -= 1e-6  # log(1 - sigma) must stay finite
    timesteps = (sigmas * LEVELS).astype(np.int64)
    if len(set(timesteps.tolist())) < steps:
        raise ValueError(
            f"{steps} steps with shift {shift:g} share timesteps; use fewer steps or a shift near 1"
        )
    return Schedule(timesteps, np.append(sigmas, 0).astype(np.float32))
