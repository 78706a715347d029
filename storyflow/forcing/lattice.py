"""Segment lengths that SkyReels-V2 diffusion forcing can render, and what a pass costs; no torch.

The VAE turns 4 frames into one latent frame, except the first frame, which is a latent of its own:
`frames = 4 * latents - 3`. So windows and overlaps are 4k+1 frames, and a continuing segment adds a
multiple of 4.
"""

from __future__ import annotations

from dataclasses import dataclass

from storyflow.forcing.wrong import WrongSetting

FRAMES_PER_LATENT = 4
PIXELS_PER_LATENT = 8


def latent_frames(frames: int) -> int:
    """Latent frames of `frames` pixel frames (4k+1); raises ValueError for other numbers."""
    if frames < 1 or frames % FRAMES_PER_LATENT != 1:
        down = max(1, (frames - 1) // FRAMES_PER_LATENT * FRAMES_PER_LATENT + 1)
        raise ValueError(
            f"{frames} frames do not fit the VAE's grid of 4k+1; "
            f"use {down} or {down + FRAMES_PER_LATENT}"
        )
    return (frames - 1) // FRAMES_PER_LATENT + 1


@dataclass(frozen=True)
class ForcingLattice:
    """The `Lattice` of one model: `window` is the trained length, both in frames.

    Raises WrongSetting for a window or overlap off the grid, or a window too short to be followed:
    every segment must add at least `overlap` frames, so that the next one's history is all its own.
    """

    window: int
    overlap: int

    def __post_init__(self) -> None:
        for name in ("window", "overlap"):
            try:
                latent_frames(getattr(self, name))
            except ValueError as error:
                raise WrongSetting(name, str(error)) from None
        if self.overlap >= self.window:
            raise WrongSetting(
                "overlap",
                f"overlap {self.overlap} leaves nothing of a window of {self.window} frames; "
                "make the overlap shorter, 17 is usual",
            )
        if self.window < 2 * self.overlap + 3:
            raise WrongSetting(
                "window",
                f"a window of {self.window} frames adds fewer than its overlap of {self.overlap}; "
                f"use at least {2 * self.overlap + 3} frames, or a shorter overlap",
            )

    @property
    def grid(self) -> int:
        """Frames per latent."""
        return FRAMES_PER_LATENT

    def new_frames(self, *, fresh: bool) -> range:
        """Legal numbers of new frames, ascending; see `storyflow.renderer.Lattice`."""
        if fresh:
            return range(self.overlap, self.window + 1, FRAMES_PER_LATENT)
        return range(self.overlap + 3, self.window - self.overlap + 1, FRAMES_PER_LATENT)


@dataclass(frozen=True)
class TransformerShape:
    """The sizes of a transformer that decide its cost. `width` is heads times head dimension.

    `image_tokens` of `image_dim` numbers are what an image-to-video transformer reads of its
    pictures beside the prompt; both are 0 for others.
    """

    width: int
    layers: int
    ffn: int
    text_dim: int = 4096
    channels: int = 16
    text_tokens: int = 512
    patch: int = 2
    out_channels: int = 16
    image_dim: int = 0
    image_tokens: int = 0
    head_dim: int = 128


def forward_flops(window: int, width: int, height: int, shape: TransformerShape) -> float:
    """Floating-point operations of one forward pass over `window` frames of width x height pixels.

    Two per multiply-add: attention and matrix products; elementwise work is not counted.
    """
    side = PIXELS_PER_LATENT * shape.patch
    tokens = latent_frames(window) * (width // side) * (height // side)
    d, text = shape.width, shape.text_tokens
    read = text + shape.image_tokens
    projections = 2 * tokens * d * (4 * d + 2 * d + 2 * shape.ffn)  # self q k v o, cross q o, ffn
    self_attention = 4 * tokens * tokens * d
    cross_attention = 4 * tokens * read * d + 2 * read * d * 2 * d  # scores and values; k v of text
    ends = 2 * tokens * d * (shape.channels + shape.out_channels) * shape.patch**2
    text_embedder = 2 * text * d * (shape.text_dim + d)
    image_embedder = 2 * shape.image_tokens * shape.image_dim * (shape.image_dim + d)
    blocks = shape.layers * (projections + self_attention + cross_attention)
    return float(blocks + ends + text_embedder + image_embedder)
