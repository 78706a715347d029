"""One segment: what is given goes in, new frames come out. The heart of diffusion forcing.

SkyReels-V2 (arXiv 2504.13074, section 3.3) trains with a noise level of its own for every latent
frame (Diffusion Forcing, arXiv 2407.01392). So frames that are already there enter the window with
noise level 0 and stay as they are, and the others are denoised beside them: all at once, or block
after block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storyflow.errors import SegmentError
from storyflow.forcing.conditions import Conditions, blurred, read_conditions
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.lattice import latent_frames
from storyflow.forcing.noise import NoiseSource, moved
from storyflow.forcing.schedule import (
    Schedule,
    block_numbers,
    guided_steps,
    make_schedule,
    make_timetable,
)
from storyflow.forcing.solver import Consistency, Solver, UniPC
from storyflow.forcing.stepcache import fit_of, skipped_steps
from storyflow.forcing.tokens import TEXT_TOKENS
from storyflow.forcing.transformer import LeanTransformer, PromptContext
from storyflow.forcing.vae import StreamingVAE, to_bytes
from storyflow.renderer import Given, SegmentSpec, Sink


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
    given: Given,
    noise: NoiseSource,
    sink: Sink,
) -> None:
    """Denoise one window and stream the frames after its history into `sink`.

    The arguments have been checked (see renderer.py). Raises SegmentError when the result is not
    finite.
    """
    conditions = read_conditions(model.vae, config, spec, given)
    texts = [prompt] if negative is None else [prompt, negative]
    window = denoise(
        model.transformer,
        config,
        conditions,
        latent_frames(spec.window),
        [model.transformer.read_prompt(padded(model.transformer, text)) for text in texts],
        noise,
        sink.step,
    )
    check_finite(window, config)
    sink.latents(window[0, :, conditions.history :].contiguous().cpu().numpy())
    # The history is decoded too: its features lead over into the first frame after it.
    for latent, frames in enumerate(decoded(model.vae, window)):
        (sink.frames if latent >= conditions.history else sink.regained)(frames)


def padded(transformer: LeanTransformer, embedding: NDArray[np.float32]) -> Tensor:
    """A prompt's embedding [tokens, text_dim] as the transformer reads it, [1, 512, text_dim]."""
    # The padding is attended to, as in training.
    prompt = torch.zeros(1, TEXT_TOKENS, transformer.text_dim)
    prompt[0, : len(embedding)] = torch.from_numpy(np.array(embedding, dtype=np.float32))
    return prompt.to(transformer.device, transformer.dtype)


def check_finite(window: Tensor, config: ForcingConfig) -> None:
    """Raises SegmentError for latents that no picture can be made of."""
    if not bool(torch.isfinite(window).all()):
        raise SegmentError(
            f"the model gave numbers that are not finite (dtype {config.dtype}, "
            f"guidance {config.guidance:g})",
            cure="use bfloat16 or float32, or less guidance",
        )


class Velocities(Protocol):
    """What the loop asks: a LeanTransformer, or something around one that lets it see more."""

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def image_dim(self) -> int | None: ...

    def time_embedding(self, timesteps: Tensor) -> Tensor: ...

    def __call__(
        self,
        latents: Tensor,
        timesteps: Tensor,
        prompts: Sequence[PromptContext],
        blocks: Tensor | None = None,
        keep: list[Tensor] | None = None,
    ) -> list[Tensor]: ...

    def again(
        self, latents: Tensor, timesteps: Tensor, added: Sequence[Tensor]
    ) -> list[Tensor]: ...


def denoise(
    transformer: Velocities,
    config: ForcingConfig,
    conditions: Conditions,
    window: int,
    prompts: list[PromptContext],
    noise: NoiseSource,
    progress: Callable[[int, int], None],
) -> Tensor:
    """The whole window's latents, float32 [1, c, window, h, w]; the known ones as they were.

    `window` counts latent frames. `prompts` holds the prompt and, when guided, the negative one.
    """
    schedule = make_schedule(config.steps, config.shift, config.sigmas)
    table = make_timetable(
        schedule,
        window,
        conditions.known,
        ends=conditions.ends,
        ar_step=config.ar_step,
        block=config.block,
        history_noise=config.history_noise,
    )
    dtype, device = transformer.dtype, transformer.device
    _, channels, _, h, w = conditions.first.shape
    first, end = (x.to(device, dtype) for x in (conditions.first, conditions.end))
    rows = torch.from_numpy(table.timesteps).to(device)
    numbers = block_numbers(window, config.block, conditions.ends)
    visible = torch.from_numpy(numbers) if config.causal else None

    start = noise.initial((1, channels, window, h, w)).to(device)
    samples = [start[:, :, block.start : block.stop] for block in table.blocks]
    solver = _solver(config, schedule, noise, device)
    steppers = [solver.begin() for _ in samples]
    guided = range(0)
    if config.guided:
        guided = guided_steps(config.steps, config.guidance_from, config.guidance_to)
    skipped = _skipped(transformer, config, schedule, guided)
    added: list[Tensor] = []  # by the blocks in the last computed pass, for each prompt

    for row in range(table.passes):
        parts = [blurred(first, config.history_noise, noise), *(s.to(dtype) for s in samples), end]
        stepping = table.stepping(row)
        asked = prompts if any(step in guided for _, step in stepping) else prompts[:1]
        latents, levels = torch.cat(parts, dim=2), rows[row : row + 1]
        if row in skipped:
            velocities = transformer.again(latents, levels, added[: len(asked)])
        else:
            keep = added if skipped else None
            velocities = transformer(latents, levels, asked, blocks=visible, keep=keep)
        for i, step in stepping:
            frames = slice(table.blocks[i].start, table.blocks[i].stop)
            own = [v[:, :, frames].float() for v in velocities]
            velocity = _guide(own if step in guided else own[:1], config.guidance)
            samples[i] = steppers[i].step(velocity, samples[i])
        progress(row + 1, table.passes)
    return torch.cat([conditions.first.to(device), *samples], dim=2)


def decoded(vae: StreamingVAE, window: Tensor) -> Iterator[NDArray[np.uint8]]:
    """The frames of each of a window's latents in turn, uint8 [n, height, width, 3]."""
    return map(to_bytes, vae.decode(window))


def _solver(
    config: ForcingConfig, schedule: Schedule, noise: NoiseSource, device: torch.device
) -> Solver:
    if config.solver == "unipc":
        return UniPC(schedule.sigmas, aliasing=config.solver_aliasing)
    return Consistency(
        schedule.sigmas, lambda shape: moved(noise.consistency(shape), device, torch.float32)
    )


def _skipped(
    transformer: Velocities, config: ForcingConfig, schedule: Schedule, guided: range
) -> frozenset[int]:
    """The steps that reuse what the blocks gave; the first guided one can't, it has no negative."""
    if not config.step_cache:
        return frozenset()
    timesteps = torch.from_numpy(schedule.timesteps)[None].to(transformer.device)
    embeddings = transformer.time_embedding(timesteps)[0].float().cpu().numpy()
    fit = fit_of(embeddings.shape[-1], pictures=transformer.image_dim is not None)
    return skipped_steps(embeddings, config.step_cache, guided[:1], fit)


def _guide(velocities: list[Tensor], guidance: float) -> Tensor:
    """Classifier-free guidance (arXiv 2207.12598): away from the negative prompt."""
    if len(velocities) == 1:
        return velocities[0]
    wanted, unwanted = velocities
    return unwanted + guidance * (wanted - unwanted)
