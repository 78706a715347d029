"""One segment: history in, new frames out. The heart of diffusion forcing.

SkyReels-V2 (arXiv 2504.13074, section 3.3) trains with a noise level of its own for every latent
frame (Diffusion Forcing, arXiv 2407.01392). So frames that are already there enter the window with
noise level 0 and stay as they are, and the frames after them are denoised beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storyflow.errors import SegmentError
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.lattice import PIXELS_PER_LATENT, latent_frames
from storyflow.forcing.noise import NoiseSource
from storyflow.forcing.schedule import LEVELS, make_schedule
from storyflow.forcing.solver import UniPC
from storyflow.forcing.transformer import LeanTransformer, PromptContext
from storyflow.forcing.vae import StreamingVAE, to_bytes
from storyflow.renderer import History, SegmentSpec, Sink

TEXT_TOKENS = 512
"""Prompts are padded with zeros to this length; the padding is attended to, as in training."""


@dataclass(frozen=True)
class Model:
    """What renders: both networks, on their device."""

    transformer: LeanTransformer
    vae: StreamingVAE


def render_segment(
    model: Model,
    config: ForcingConfig,
    spec: SegmentSpec,
    prompt: NDArray[np.float32],
    negative: NDArray[np.float32] | None,
    history: History | None,
    noise: NoiseSource,
    sink: Sink,
) -> None:
    """Denoise one window after its history and stream the new frames into `sink`.

    The arguments have been checked (see renderer.py). Raises SegmentError when the result is not
    finite.
    """
    known = _history_latents(model, config, spec, history)  # [1, c, p, h, w], p may be 0
    prompts = [_read_prompt(model, prompt)]
    if config.guided:
        assert negative is not None
        prompts.append(_read_prompt(model, negative))
    new = denoise(
        model.transformer, config, known, latent_frames(spec.window), prompts, noise, sink.step
    )
    if not bool(torch.isfinite(new).all()):
        raise SegmentError(
            f"the model gave numbers that are not finite (dtype {config.dtype}, "
            f"guidance {config.guidance:g})",
            cure="use bfloat16 or float32, or less guidance",
        )
    sink.latents(new[0].contiguous().cpu().numpy())
    for frames in new_frames(model.vae, known, new):
        sink.frames(frames)


def denoise(
    transformer: LeanTransformer,
    config: ForcingConfig,
    known: Tensor,
    window: int,
    prompts: list[PromptContext],
    noise: NoiseSource,
    progress: Callable[[int, int], None],
) -> Tensor:
    """The new latents, float32 [1, c, window - p, h, w], after `known` [1, c, p, h, w].

    `window` counts latent frames. `prompts` holds the prompt and, when guided, the negative one.
    """
    schedule = make_schedule(config.steps, config.shift, config.sigmas)
    solver = UniPC(schedule.sigmas, aliasing=config.solver_aliasing)
    _, channels, p, h, w = known.shape
    dtype, device = transformer.dtype, transformer.device

    # Row k tells the model every latent frame's timestep: history is (almost) clean.
    rows = torch.from_numpy(schedule.timesteps)[:, None].repeat(1, window)  # [steps, window]
    rows[:, :p] = config.history_noise
    rows = rows.to(device)

    sample = noise.initial((1, channels, window, h, w))[:, :, p:].to(device)
    known = known.to(device, dtype)
    for k in range(schedule.steps):
        seen = torch.cat([_blur(known, config.history_noise, noise), sample.to(dtype)], dim=2)
        velocities = transformer(seen, rows[k : k + 1], prompts)
        velocity = _guide([v[:, :, p:].float() for v in velocities], config.guidance)
        sample = solver.step(velocity, sample)
        progress(k + 1, schedule.steps)
    return sample


def new_frames(vae: StreamingVAE, known: Tensor, new: Tensor) -> Iterator[NDArray[np.uint8]]:
    """Decode a window in order and give only the new frames, uint8 [n, height, width, 3].

    The history is decoded too: its features lead over into the first new frame.
    """
    window = torch.cat([known.to(new.device, new.dtype), new], dim=2)
    for latent, frames in enumerate(vae.decode(window)):
        if latent >= known.shape[2]:
            yield to_bytes(frames)


def _blur(known: Tensor, thousandths: int, noise: NoiseSource) -> Tensor:
    """History with a little fresh noise, drawn anew at every step as the reference does."""
    if thousandths == 0 or known.shape[2] == 0:
        return known
    part = thousandths / LEVELS
    drawn = noise.history(tuple(known.shape)).to(known.device, known.dtype)
    return known * (1 - part) + drawn * part


def _guide(velocities: list[Tensor], guidance: float) -> Tensor:
    """Classifier-free guidance (arXiv 2207.12598): away from the negative prompt."""
    if len(velocities) == 1:
        return velocities[0]
    wanted, unwanted = velocities
    return unwanted + guidance * (wanted - unwanted)


def _history_latents(
    model: Model, config: ForcingConfig, spec: SegmentSpec, history: History | None
) -> Tensor:
    """Normalised latents of the history, float32 [1, c, p, h, w]; p is 0 without history.

    `pixels` encodes the last frames again, which makes the first of them a one-frame latent, as in
    training; `latents` takes the tail as it was, without a VAE round trip.
    """
    if history is None:
        h, w = spec.height // PIXELS_PER_LATENT, spec.width // PIXELS_PER_LATENT
        return torch.zeros(1, model.vae.channels, 0, h, w)
    if config.history == "pixels":
        return model.vae.encode(history.pixels)
    assert history.latents is not None
    return torch.from_numpy(np.array(history.latents, dtype=np.float32))[None]


def _read_prompt(model: Model, embedding: NDArray[np.float32]) -> PromptContext:
    transformer = model.transformer
    padded = torch.zeros(1, TEXT_TOKENS, transformer.text_dim)
    padded[0, : len(embedding)] = torch.from_numpy(np.array(embedding, dtype=np.float32))
    return transformer.read_prompt(padded.to(transformer.device, transformer.dtype))
