"""Muon (Jordan et al. 2024): momentum whose matrices are made orthogonal before each step.

Small transformers need about half the steps with it. `torch.optim.Muon` works in bfloat16, which
CPUs without such units emulate; here that is a choice, and all matrices of a shape go at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

QUINTICS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
)
"""Coefficients of the iterations: Polar Express (Amsel et al. 2025), which needs four rounds where
Newton-Schulz needs six."""
MARGIN = 1.01
"""Singular values are held this much below what the iterations are made for: rounded to bfloat16,
one at the limit would run away."""


class Muon(torch.optim.Optimizer):
    """For matrices only. A step has the size that AdamW's would have at the same rate. Matrices are
    made orthogonal in `precision`."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.95,
        decay: float = 0.0,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})
        self.precision = precision

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Take a step along the gradients."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    shapes[p.shape].append(p)
            for shape, params in shapes.items():
                updates = []
                for p in params:
                    assert p.grad is not None
                    state = self.state[p]
                    if not state:
                        state["momentum"] = torch.zeros_like(p)
                    state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                    updates.append(torch.lerp(p.grad, state["momentum"], group["momentum"]))
                whole = orthogonal(torch.stack(updates).to(self.precision)).float()
                steps = whole * (0.2 * max(shape) ** 0.5 * group["lr"])
                for p, update in zip(params, steps, strict=True):
                    p.mul_(1 - group["lr"] * group["decay"]).sub_(update)


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest half-orthogonal matrices, roughly, of [n, rows, columns]."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (MARGIN * x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for a, b, c in QUINTICS:
        a, b, c = a / MARGIN, b / MARGIN**3, c / MARGIN**5
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    out: Tensor = x.mT if tall else x
    return out
