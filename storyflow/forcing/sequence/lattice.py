"""Segment lengths of the full-sequence models; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from storyflow.forcing.lattice import FRAMES_PER_LATENT, latent_frames
from storyflow.forcing.wrong import WrongSetting

SHORTEST = FRAMES_PER_LATENT + 1
"""Two latents: one alone would be a still picture."""


@dataclass(frozen=True)
class SequenceLattice:
    """The `Lattice` of a model that renders single windows of up to `window` frames (4k+1).

    Raises WrongSetting for a window off the grid or too short.
    """

    window: int

    def __post_init__(self) -> None:
        try:
            latents = latent_frames(self.window)
        except ValueError as error:
            raise WrongSetting("window", str(error)) from None
        if latents < 2:
            raise WrongSetting(
                "window", f"a window of {self.window} frame is a picture; use {SHORTEST} or more"
            )

    @property
    def overlap(self) -> int:
        """Nothing is continued, so no frames are read."""
        return 0

    @property
    def grid(self) -> int:
        """Frames per latent."""
        return FRAMES_PER_LATENT

    def new_frames(self, *, fresh: bool) -> range:
        """Legal lengths of a shot's only segment; none for a continuing one."""
        if not fresh:
            return range(0)
        return range(SHORTEST, self.window + 1, FRAMES_PER_LATENT)
