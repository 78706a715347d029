"""Lets the CUDA build of torchvision be imported under CPU torch, in every process of the tests.

The registry has no CPU build. Its import fails for two missing operators that nobody calls here.
torch is only imported, and only patched, where torchvision is asked for.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType


class _Before(importlib.abc.MetaPathFinder):
    """Declares the operators right before torchvision is found."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            _declare()
        return None


_KEPT = []


def _declare() -> None:
    import torch

    if torch.version.cuda is not None:
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)


if not any(type(finder).__name__ == _Before.__name__ for finder in sys.meta_path):
    # Once, also where the tests import this again.
    sys.meta_path.insert(0, _Before())
