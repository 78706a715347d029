"""Noise levels of a segment's solver steps, and which frames are at which level; numpy only.

Flow matching: a sample at noise level sigma is `(1 - sigma) * clean + sigma * noise`, and the model
is told `t = floor(1000 * sigma)`. `shift` bends the levels so that more steps fall on high noise:
`sigma' = shift * sigma / (1 + (shift - 1) * sigma)` (Esser et al. 2024, arXiv 2403.03206, eq. 23).

A `Schedule` is what one frame goes through. A `Timetable` says when each frame of a window goes
through it: all at once (synchronous), or in blocks of which each lags `ar_step` steps behind the
one before it (asynchronous; SkyReels-V2, arXiv 2504.13074, section 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from storyflow.forcing.wrong import WrongSetting

Spacing = Literal["reference", "diffusers"]

LEVELS = 1000
"""Timesteps that the model was trained on."""

PURE_NOISE = LEVELS - 1
"""The timestep of frames that wait for their first step."""


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

    Raises WrongSetting for values out of range and for so many steps that two of them would share a
    timestep, which is the same as stepping nowhere.
    """
    if steps < 1:
        raise WrongSetting("steps", f"steps {steps}: give 1 or more")
    if not shift > 0:
        raise WrongSetting("shift", f"shift {shift}: give a positive number, 8 is usual")
    if spacing == "reference":
        even = np.linspace(1 - 1 / LEVELS, 0, steps + 1)[:-1]
    elif spacing == "diffusers":
        even = np.linspace(1, 1 / LEVELS, steps + 1)[:-1]
    else:
        raise WrongSetting("sigmas", f"sigmas {spacing}: choose reference or diffusers")
    sigmas = shift * even / (1 + (shift - 1) * even)
    if abs(sigmas[0] - 1) < 1e-6:
        sigmas[0] -= 1e-6  # log(1 - sigma) must stay finite
    timesteps = (sigmas * LEVELS).astype(np.int64)
    if len(set(timesteps.tolist())) < steps:
        raise WrongSetting(
            "steps",
            f"{steps} steps with shift {shift:g} share timesteps; use fewer steps or a shift near "
            "1",
        )
    return Schedule(timesteps, np.append(sigmas, 0).astype(np.float32))


def guided_steps(steps: int, start: float, end: float) -> range:
    """The steps, from 0, that classifier-free guidance works in; `start` and `end` are parts of 1.

    Guidance pays at middle noise levels (Kynkäänniemi et al. 2024, arXiv 2404.07724), so the parts
    count a frame's own steps: in an asynchronous timetable every block is guided at the same
    levels, whenever it comes to them. Raises WrongSetting where no step lies between.
    """
    inside = range(round(start * steps), round(end * steps))
    if not inside:
        raise WrongSetting(
            "guidance_to",
            f"guidance from {start:g} to {end:g} holds none of {steps} steps; "
            "widen it, or set guidance to 1",
        )
    return inside


@dataclass(frozen=True)
class Block:
    """Latent frames `start` to `stop` (excluded) of a window, always at one noise level.

    They take their first step after the forward pass of the number `delay`, from 0.
    """

    start: int
    stop: int
    delay: int


@dataclass(frozen=True, eq=False)
class Timetable:
    """The forward passes of one window.

    `timesteps` int64 [passes, frames] is what each pass is told; `blocks` are the frames that are
    not known, in order and without gaps. Each block takes all `steps`, one after each pass from its
    delay on.
    """

    timesteps: NDArray[np.int64]
    blocks: tuple[Block, ...]
    steps: int

    @property
    def passes(self) -> int:
        return len(self.timesteps)

    def stepping(self, row: int) -> list[tuple[int, int]]:
        """The blocks that step after pass `row`: (place in `blocks`, its step from 0)."""
        steps = ((i, row - block.delay) for i, block in enumerate(self.blocks))
        return [(i, step) for i, step in steps if 0 <= step < self.steps]


def make_timetable(
    schedule: Schedule,
    frames: int,
    known: int,
    *,
    ends: int = 0,
    ar_step: int = 0,
    block: int = 1,
    history_noise: int = 0,
) -> Timetable:
    """The passes of a window of `frames` latent frames, of which the first `known` are given.

    `history_noise` is the timestep of the known ones. `ends` given frames stand after the window,
    at timestep 0 (in the columns from `frames` on). Blocks are counted from the window's start, so
    the first one that is not known is shorter when `known` does not divide by `block`, and so is
    the last one when `frames` does not: no frame is left out. `ar_step` 0 makes one block of all.
    """
    lag = min(ar_step, schedule.steps)  # no block waits for longer than until the last is done
    edges = [known, *range(known - known % block + block, frames, block)] if lag else [known]
    stops = [*edges[1:], frames]
    blocks = tuple(
        Block(start, stop, i * lag)
        for i, (start, stop) in enumerate(zip(edges, stops, strict=True))
        if start < stop
    )
    passes = schedule.steps + blocks[-1].delay if blocks else 0
    timesteps = np.zeros((passes, frames + ends), np.int64)
    timesteps[:, :known] = history_noise
    for part in blocks:
        begin, done = part.delay, part.delay + schedule.steps
        timesteps[:begin, part.start : part.stop] = PURE_NOISE
        timesteps[begin:done, part.start : part.stop] = schedule.timesteps[:, None]
    return Timetable(timesteps, blocks, schedule.steps)


def block_numbers(frames: int, block: int, ends: int = 0) -> NDArray[np.int64]:
    """The block of every latent frame of a window, int64 [frames + ends], for causal weights.

    The given frames after the window belong to the first block: a frame attends to its own block
    and those before it, and what is given may be seen by all.
    """
    return np.concatenate([np.arange(frames) // block, np.zeros(ends, np.int64)]).astype(np.int64)
