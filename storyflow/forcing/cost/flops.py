"""How many forward passes a segment takes, and what they cost; imports no torch."""

from __future__ import annotations

from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.lattice import TransformerShape, forward_flops, latent_frames
from storyflow.forcing.schedule import guided_steps, make_schedule, make_timetable


def forward_passes(config: ForcingConfig, window: int, overlap: int = 0) -> int:
    """Of one segment of `window` frames, history of `overlap` frames included.

    A synchronous segment takes one pass a step; an asynchronous one takes more, for its last block
    starts late. While a block is guided every pass is run twice. What `step_cache` skips is counted
    as if it were run: which steps these are only the weights tell.
    """
    table = make_timetable(
        make_schedule(config.steps, config.shift, config.sigmas),
        latent_frames(window),
        latent_frames(overlap) if overlap else 0,
        ar_step=config.ar_step,
        block=config.block,
    )
    guided = range(0)
    if config.guided:
        guided = guided_steps(config.steps, config.guidance_from, config.guidance_to)
    twice = sum(
        any(step in guided for _, step in table.stepping(row)) for row in range(table.passes)
    )
    return table.passes + twice


def segment_flops(
    config: ForcingConfig,
    shape: TransformerShape,
    width: int,
    height: int,
    window: int,
    overlap: int = 0,
) -> float:
    """Floating-point operations of one segment's denoising (the VAE adds about one per cent)."""
    return forward_passes(config, window, overlap) * forward_flops(window, width, height, shape)
