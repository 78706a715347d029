"""Solvers: from the model's velocities to the next noise level.

A solver knows its schedule; `begin()` starts one block of frames on it. One state serves all frames
that share their noise level, where both reference codes keep one scheduler per latent frame. All
coefficients are known before the first step and are plain numbers, so a step is some fifteen tensor
operations and never waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Stepper(Protocol):
    """One block of frames on its way from noise to picture."""

    def step(self, velocity: Tensor, sample: Tensor) -> Tensor:
        """The sample at the next noise level, from the model's velocity; float32, any shape."""


class Solver(Protocol):
    """A way to step through the noise levels of one schedule."""

    def begin(self) -> Stepper:
        """A block of frames before its first step."""


@dataclass(frozen=True)
class _Update:
    """`sample * keep - push * (data + differences)`, from one noise level to another.

    `ratio` divides the difference to the data predicted one step earlier (None at order 1), `old`
    and `new` weigh it and the difference to the newest prediction.
    """

    keep: float
    push: float
    ratio: float | None
    old: float
    new: float


class UniPC:
    """UniPC (Zhao et al. 2023, arXiv 2302.04867): order 2, B(h) = e^h - 1, data prediction.

    `sigmas` float32 [steps + 1], the last 0. In float32 the results are bitwise those of diffusers'
    UniPCMultistepScheduler.

    Both reference codes have an aliasing error: their first step keeps a view of the sample and
    then overwrites it, so the first corrector reads the wrong one. That matters most with few
    steps. Here it is right; `aliasing=True` repeats the error.
    """

    def __init__(self, sigmas: NDArray[np.float32], *, aliasing: bool = False) -> None:
        self._sigmas = torch.from_numpy(sigmas)
        self._aliasing = aliasing
        steps = len(sigmas) - 1
        orders = [min(2, steps - k, k + 1) for k in range(steps)]  # low at both ends
        self._levels = [float(s) for s in sigmas]
        self._predict = [self._update(k, orders[k], corrects=False) for k in range(steps)]
        self._correct = [self._update(k, orders[k], corrects=True) for k in range(steps - 1)]

    def begin(self) -> Stepper:
        return _UniPCStepper(self._levels, self._predict, self._correct, self._aliasing)

    def _update(self, k: int, order: int, *, corrects: bool) -> _Update:
        """From level k to k + 1. In float32 tensors, as diffusers computes them, for equal bits."""
        sigma, target = self._sigmas[k], self._sigmas[k + 1]
        start = _half_log_snr(sigma)
        h = _half_log_snr(target) - start
        growth = torch.expm1(-h)
        ratio = (_half_log_snr(self._sigmas[k - 1]) - start) / h if order == 2 else None
        old = new = 0.5
        if corrects and ratio is not None:
            # Match the Taylor terms of both differences: [1 1; ratio 1] @ (old, new) = b.
            rows = torch.stack([ratio, torch.ones(())])
            term = growth / -h - 1
            b = [term / growth]
            term = term / -h - 1 / 2
            b.append(term * 2 / growth)
            matrix = torch.stack([torch.pow(rows, 0), torch.pow(rows, 1)])
            old, new = torch.linalg.solve(matrix, torch.stack(b)).tolist()
        return _Update(
            keep=float(target / sigma),
            push=float((1 - target) * growth),
            ratio=None if ratio is None else float(ratio),
            old=old,
            new=new,
        )


class _UniPCStepper:
    def __init__(
        self,
        levels: list[float],
        predict: list[_Update],
        correct: list[_Update],
        aliasing: bool,
    ) -> None:
        self._levels, self._predict, self._correct = levels, predict, correct
        self._aliasing = aliasing
        self._step = 0
        self._data: Tensor | None = None
        self._older_data: Tensor | None = None
        self._last: Tensor | None = None

    def step(self, velocity: Tensor, sample: Tensor) -> Tensor:
        k = self._step
        data = sample - velocity * self._levels[k]
        if k > 0:
            assert self._last is not None and self._data is not None
            sample = _apply(
                self._correct[k - 1], self._last, self._data, self._older_data, newest=data
            )
        self._older_data, self._data, self._last = self._data, data, sample
        result = _apply(self._predict[k], sample, data, self._older_data)
        if self._aliasing and k == 0:
            self._last = result
        self._step += 1
        return result


def _apply(
    update: _Update,
    sample: Tensor,
    data: Tensor,
    older: Tensor | None,
    newest: Tensor | None = None,
) -> Tensor:
    result = sample * update.keep - data * update.push
    change: Tensor | None = None
    if update.ratio is not None:
        assert older is not None
        change = (older - data) / update.ratio * update.old
    if newest is not None:
        newer = (newest - data) * update.new
        change = newer if change is None else change + newer
    return result if change is None else result - change * update.push


class Consistency:
    """Multistep consistency sampling (Song et al. 2023, arXiv 2303.01469, algorithm 1), for flows.

    For step-distilled weights: each step predicts the clean end and goes to the next level with
    noise of its own, `noise(shape)`, float32 on the sample's device.
    """

    def __init__(
        self, sigmas: NDArray[np.float32], noise: Callable[[tuple[int, ...]], Tensor]
    ) -> None:
        self._levels = [float(s) for s in sigmas]
        self._noise = noise

    def begin(self) -> Stepper:
        return _ConsistencyStepper(self._levels, self._noise)


class _ConsistencyStepper:
    def __init__(self, levels: list[float], noise: Callable[[tuple[int, ...]], Tensor]) -> None:
        self._levels = levels
        self._noise = noise
        self._step = 0

    def step(self, velocity: Tensor, sample: Tensor) -> Tensor:
        level, target = self._levels[self._step : self._step + 2]
        self._step += 1
        clean = sample - velocity * level
        if target == 0:
            return clean
        return clean * (1 - target) + self._noise(tuple(clean.shape)) * target


def _half_log_snr(sigma: Tensor) -> Tensor:
    return torch.log(1 - sigma) - torch.log(sigma)
