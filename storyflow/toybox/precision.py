"""The precision that training multiplies matrices in."""

from __future__ import annotations

import torch


def multiplied_in(precision: torch.dtype, device: torch.device) -> torch.autocast:
    """A context where matrices are multiplied in `precision`; nothing changes for float32."""
    low = precision != torch.float32
    return torch.autocast(device.type, dtype=precision if low else None, enabled=low)
