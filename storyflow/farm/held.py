"""How long language models have held their GPUs: what their part of the bill is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Held:
    """GPU-seconds: seconds that a model held its place, times the GPUs of it.

    As with workers, a place without GPUs counts as one, and loading counts, too.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done = 0.0
        self._open: dict[int, tuple[float, float]] = {}
        self._numbers = 0

    @property
    def gpu_seconds(self) -> float:
        """So many until now."""
        now = self._clock()
        return self._done + sum(gpus * (now - began) for gpus, began in self._open.values())

    def begin(self, gpus: float) -> int:
        """A place of so many GPUs is held from now on; its number, for `end`."""
        self._numbers += 1
        self._open[self._numbers] = (gpus or 1.0, self._clock())
        return self._numbers

    def end(self, number: int) -> None:
        """It is held no longer. Harmless where it ended before."""
        if number in self._open:
            gpus, began = self._open.pop(number)
            self._done += gpus * (self._clock() - began)

    @contextmanager
    def during(self, gpus: float) -> Iterator[None]:
        """A place of so many GPUs is held inside the block."""
        number = self.begin(gpus)
        try:
            yield
        finally:
            self.end(number)


class Since(Held):
    """What another one counts from now on: one film's part of models that several films share."""

    def __init__(self, held: Held) -> None:
        super().__init__()
        self._held, self._from = held, held.gpu_seconds

    @property
    def gpu_seconds(self) -> float:
        """So many since this was made."""
        return self._held.gpu_seconds - self._from
