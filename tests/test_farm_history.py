from __future__ import annotations

import pytest

from storyflow.farm.history import latent_stretch


@pytest.mark.parametrize(
    ("start", "stop", "fresh", "latents"),
    [
        (0, 1, True, (0, 1)),
        (0, 97, True, (0, 25)),
        (80, 97, True, (20, 25)),
        (4, 9, True, (1, 3)),
        (1, 5, True, (1, 2)),
        (63, 80, False, (15, 20)),
        (0, 80, False, (0, 20)),
        (3, 8, False, (0, 2)),
        (0, 4, False, (0, 1)),
    ],
)
def test_history_frames_lie_in_these_latents(
    start: int, stop: int, fresh: bool, latents: tuple[int, int]
) -> None:
    assert latent_stretch(start, stop, 4, fresh=fresh) == latents
