"""How many threads torch computes with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pinned_threads(threads: int) -> Iterator[None]:
    """Run torch, where it is loaded, on exactly this many threads: sums depend on their number."""
    if "torch" not in sys.modules:
        yield
        if "torch" in sys.modules:
            _set_threads(threads)
        return
    before = _set_threads(threads)
    try:
        yield
    finally:
        _set_threads(before)


def _set_threads(threads: int) -> int:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    return before
