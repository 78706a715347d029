"""Transformer blocks that wait in main memory and are fetched while the one before them computes.

Class *bitwise*: the same numbers come to the same kernels. On the device there is room for two
blocks, its seats: while one computes, the next travels into the other on a stream of its own. A
block is one stretch of bytes, so it travels in one copy, whatever the dtypes in it.

A pass of 540P computes for tens of milliseconds a block at 1.3B and over 100 at 14B; a block of 14B
in bfloat16 (0.7 GB) takes some 30 over PCIe 4. So fetching hides behind computing.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from storyflow.forcing.weights.fill import assign

_ALIGNED = 256
"""Bytes: tensors start at multiples of this, as allocators' do, so kernels choose the same way."""


@dataclass(frozen=True)
class _Place:
    name: str
    start: int
    size: int
    dtype: torch.dtype
    shape: tuple[int, ...]


class Lane(Protocol):
    """How blocks travel into the two seats."""

    def fetch(self, seat: int, target: Tensor, source: Tensor) -> None:
        """Begin to copy once the work on `seat` is done."""

    def wait(self, seat: int) -> None:
        """Work that is asked for from here on starts when the copy has arrived."""

    def release(self, seat: int) -> None:
        """All work on `seat` has been asked for."""


class DirectLane:
    """Copies at once; for devices without streams."""

    def fetch(self, seat: int, target: Tensor, source: Tensor) -> None:
        target.copy_(source)

    def wait(self, seat: int) -> None:
        pass

    def release(self, seat: int) -> None:
        pass


class CudaLane:
    """Copies on a stream of its own; events keep both streams in order, the CPU never waits."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        event: Any = torch.cuda.Event
        self._arrived = (event(), event())
        self._free = (event(), event())
        for seat in (0, 1):  # whoever had the seats' memory before may still be at work on it
            self.release(seat)

    def fetch(self, seat: int, target: Tensor, source: Tensor) -> None:
        self._stream.wait_event(self._free[seat])
        with torch.cuda.stream(self._stream):
            target.copy_(source, non_blocking=True)
            self._arrived[seat].record(self._stream)

    def wait(self, seat: int) -> None:
        torch.cuda.current_stream(self._device).wait_event(self._arrived[seat])

    def release(self, seat: int) -> None:
        self._free[seat].record(torch.cuda.current_stream(self._device))


class ParkedBlocks:
    """The blocks of a model, in order, each fetched ahead of its turn; iterate once for each pass.

    `block` is one of them, empty, as a pattern for all: they must have the same tensors. A block
    that came from the iterator may be used until the next one is asked for.
    """

    def __init__(self, block: Any, device: torch.device, lane: Lane | None = None) -> None:
        self._pattern = block
        self._device = device
        self._lane = lane
        self._places: tuple[_Place, ...] = ()
        self._parked: list[Tensor] = []
        self._seats: list[tuple[Any, Tensor]] = []
        self._holds: list[int | None] = [None, None]
        self._turn = 0

    def park(self, number: int, tensors: Mapping[str, Tensor]) -> None:
        """Take the tensors of block `number`; blocks come in order."""
        places = _places(tensors)
        if number != len(self._parked) or (self._places and places != self._places):
            raise ValueError(f"block {number} differs from the others or comes out of order")
        self._places = places
        slab = _pinned(_size(places), self._device)
        for name, part in _parts(slab, places).items():
            part.copy_(tensors[name])
        self._parked.append(slab)

    def __len__(self) -> int:
        return len(self._parked)

    def __iter__(self) -> Iterator[Any]:
        if not self._seats:
            self._take_seats()
        lane, last = self._lane, len(self) - 1
        assert lane is not None
        self._fetch(lane, self._turn, 0)
        for number in range(len(self)):
            seat = self._turn
            if last > 0:  # the block after the last is the next pass's first
                self._fetch(lane, 1 - seat, 0 if number == last else number + 1)
                self._turn = 1 - seat
            lane.wait(seat)
            try:
                yield self._seats[seat][0]
            finally:
                lane.release(seat)

    def _fetch(self, lane: Lane, seat: int, number: int) -> None:
        if self._holds[seat] != number:
            lane.fetch(seat, self._seats[seat][1], self._parked[number])
            self._holds[seat] = number

    def _take_seats(self) -> None:
        for _ in range(2 if len(self) > 1 else 1):
            slab = torch.empty(_size(self._places), dtype=torch.uint8, device=self._device)
            block = copy.deepcopy(self._pattern)
            assign(block, _parts(slab, self._places))
            self._seats.append((block.eval(), slab))
        if self._lane is None:
            cuda = self._device.type == "cuda"
            self._lane = CudaLane(self._device) if cuda else DirectLane()


def _places(tensors: Mapping[str, Tensor]) -> tuple[_Place, ...]:
    places, start = [], 0
    for name, tensor in sorted(tensors.items()):
        size = tensor.numel() * tensor.element_size()
        places.append(_Place(name, start, size, tensor.dtype, tuple(tensor.shape)))
        start += -(-size // _ALIGNED) * _ALIGNED
    return tuple(places)


def _size(places: tuple[_Place, ...]) -> int:
    return -(-(places[-1].start + places[-1].size) // _ALIGNED) * _ALIGNED


def _parts(slab: Tensor, places: tuple[_Place, ...]) -> dict[str, Tensor]:
    return {p.name: slab[p.start : p.start + p.size].view(p.dtype).view(p.shape) for p in places}


def _pinned(size: int, device: torch.device) -> Tensor:
    """Main memory that a CUDA device can read by itself.

    Registered, not allocated by torch's pinned allocator: that one rounds up to powers of two.
    """
    slab = torch.empty(size, dtype=torch.uint8)
    if device.type == "cuda":
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        if int(runtime.cudaHostRegister(slab.data_ptr(), size, 0)) == 0:
            undo = weakref.finalize(slab, runtime.cudaHostUnregister, slab.data_ptr())
            undo.atexit = False  # by then the driver may be gone
    return slab
