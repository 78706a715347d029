"""Skip steps that would change little; lossy, off by default, for synchronous timetables only.

TeaCache (Liu et al. 2024, arXiv 2411.19108): the less the time embedding changes from one step to
the next, the less the blocks' output does. A skipped step runs no block; it adds again what the
blocks added in the last computed step. Here only the embedding of the frames being made counts, and
that is known before the first step, so the skipped steps are one fixed list for every segment of
the same settings. The reference code averages over all frames of the window, so it skips more the
longer the history, and measures in the loop.

The maintainers of SkyReels-V2 advise against it for diffusion-forcing weights (SkyReels-V2 issue
123), although their own examples turn it on: compare before use.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

ALWAYS_FIRST = 5
"""Steps at the start that are never skipped: they decide the layout."""

_FITTED: dict[int, tuple[float, ...]] = {
    1536: (-5.21862437e4, 9.23041404e3, -5.28275948e2, 1.36987616e1, -4.99875664e-2),
    5120: (-3.03318725e5, 4.90537029e4, -2.65530556e3, 5.87365115e1, -3.15583525e-1),
}
"""Hidden width (1.3B, 14B) to TeaCache's fit of the output's change to the embedding's, highest
degree first."""


def fit_of(width: int, *, pictures: bool) -> tuple[float, ...]:
    """TeaCache's published fit for a model, or the embedding's change as it is.

    The fits of weights that read `pictures` differ by frame size and are not used.
    """
    return (1.0, 0.0) if pictures else _FITTED.get(width, (1.0, 0.0))


def skipped_steps(
    embeddings: NDArray[np.float32],
    threshold: float,
    computed: Collection[int],
    fit: tuple[float, ...] = (1.0, 0.0),
) -> frozenset[int]:
    """Which steps to skip, from the time embedding of every step, float32 [steps, 6, width].

    A step is skipped while the changes since the last computed one, put through `fit`, add up to
    less than `threshold`. The first five steps, the last and those in `computed` are never skipped.
    """
    steps = len(embeddings)
    sizes = np.abs(embeddings[:-1]).mean(axis=(1, 2), dtype=np.float64)
    changes = np.abs(np.diff(embeddings, axis=0)).mean(axis=(1, 2), dtype=np.float64) / sizes
    changes = np.polyval(fit, changes)
    skipped: set[int] = set()
    total = 0.0
    for step in range(1, steps):
        total += float(changes[step - 1])
        wanted = step < ALWAYS_FIRST or step == steps - 1 or step in computed
        if wanted or total >= threshold:
            total = 0.0
        else:
            skipped.add(step)
    return frozenset(skipped)
