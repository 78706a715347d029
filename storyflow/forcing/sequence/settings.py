"""What of the sampler's settings means something to a full-sequence model; imports no torch."""

from __future__ import annotations

from storyflow.forcing.config import ForcingConfig

FORCING_ONLY = frozenset(
    {"fps", "history", "history_noise", "ar_step", "block", "causal", "solver_aliasing"}
)
"""Settings about frames that differ in noise, or about history: here there is neither. The frame
rate is told to no full-sequence model; all were trained at 24. No code of theirs has the error
that `solver_aliasing` repeats: they don't step in place."""

NEUTRAL = {"overlap": 1, "history_noise": 0, "ar_step": 0, "block": 1, "causal": False}
"""What a ForcingConfig holds in their place, so that loop and loading can be shared."""


def pixel_fields(config: ForcingConfig) -> tuple[tuple[str, object], ...]:
    """Every setting that changes a full-sequence segment's pixels; see ForcingConfig."""
    return tuple(field for field in config.pixel_fields() if field[0] not in FORCING_ONLY)
