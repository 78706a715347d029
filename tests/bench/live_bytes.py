"""Counts tensor operations and the bytes that tensors hold, on any device.

    with LiveBytes() as live:
        ...
    live.peak, live.operations

Bytes are those of the storages that operations made inside; what was there before (the weights)
does not count, views count once, and what is freed is subtracted. On the meta device nothing is
computed, so a pass of the largest model can be measured in seconds on any machine. Kernels'
working memory is not seen.

Use it under `torch.no_grad()`: in inference mode composite operations arrive whole, and what they
hold inside is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveBytes(TorchDispatchMode):
    """`now` and `peak` in bytes, `operations` counted; `at_peak` names the operation there.

    With `device` (`cpu`, `cuda`, `meta`) only tensors there count as bytes.
    """

    def __init__(self, device: str | None = None) -> None:
        super().__init__()
        self.now = self.peak = self.operations = 0
        self.at_peak = ""
        self._device = device
        self._held: dict[int, Any] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        known = {id(storage) for storage in map(_storage, tree_iter((args, kwargs))) if storage}
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        for storage in map(_storage, tree_iter(result)):
            if storage is None or id(storage) in known or id(storage) in self._held:
                continue
            if self._device is None or storage.device.type == self._device:
                self._hold(storage)
        if self.now > self.peak:
            self.peak, self.at_peak = self.now, str(func)
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        size, key = storage.nbytes(), id(storage)
        self._held[key] = weakref.ref(storage, self._dropper(key, size))
        self.now += size

    def _dropper(self, key: int, size: int) -> Callable[[Any], None]:
        def drop(_: Any) -> None:
            if self._held.pop(key, None) is not None:
                self.now -= size

        return drop


def _storage(value: Any) -> torch.UntypedStorage | None:
    return value.untyped_storage() if isinstance(value, torch.Tensor) else None
