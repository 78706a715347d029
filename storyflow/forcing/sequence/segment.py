"""One shot of a full-sequence model: noise in, a whole window out.

The loop is that of diffusion forcing with nothing known beforehand and one noise level for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storyflow.forcing.conditions import Conditions
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.lattice import PIXELS_PER_LATENT, latent_frames
from storyflow.forcing.noise import NoiseSource
from storyflow.forcing.segment import check_finite, decoded, denoise, padded
from storyflow.forcing.sequence.clip import ImageEncoder
from storyflow.forcing.sequence.pictures import SequenceTransformer, picture_condition
from storyflow.forcing.transformer import LeanTransformer
from storyflow.forcing.vae import StreamingVAE
from storyflow.renderer import Given, SegmentSpec, Sink


@dataclass(frozen=True)
class SequenceModel:
    """What renders, on its device. `image_encoder` is None for text to video.

    `pictures` is how many each shot is given: none, a first, or a first and a last frame.
    """

    transformer: LeanTransformer
    vae: StreamingVAE
    image_encoder: ImageEncoder | None
    pictures: int


def render_sequence(
    model: SequenceModel,
    config: ForcingConfig,
    spec: SegmentSpec,
    prompt: NDArray[np.float32],
    negative: NDArray[np.float32] | None,
    given: Given,
    noise: NoiseSource,
    sink: Sink,
) -> None:
    """Denoise a window and stream its frames into `sink`; the arguments have been checked.

    Raises SegmentError when the result is not finite.
    """
    texts = [prompt] if negative is None else [prompt, negative]
    window = sequence_latents(
        model, config, spec, [padded(model.transformer, text) for text in texts], given, noise, sink
    )
    check_finite(window, config)
    for frames in decoded(model.vae, window):
        sink.frames(frames)


def sequence_latents(
    model: SequenceModel,
    config: ForcingConfig,
    spec: SegmentSpec,
    texts: list[Tensor],
    given: Given,
    noise: NoiseSource,
    sink: Sink,
) -> Tensor:
    """The window's latents, float32 [1, c, f, h, w].

    `texts` holds the padded prompt and, when guided, the negative one. Pictures are seen by both
    passes of guidance, as in both reference codes.
    """
    transformer, vae = model.transformer, model.vae
    height, width = spec.height // PIXELS_PER_LATENT, spec.width // PIXELS_PER_LATENT
    frames = latent_frames(spec.window)
    image: Tensor | None = None
    condition = torch.zeros(1, 0, frames, height, width)
    if model.image_encoder is not None:
        pictures = [picture for picture in (given.start, given.end) if picture is not None]
        image = model.image_encoder.encode(pictures).to(transformer.device, transformer.dtype)
        condition = picture_condition(vae, spec.window, *pictures)
    nothing = torch.zeros(1, vae.channels, 0, height, width)
    return denoise(
        SequenceTransformer(transformer, condition),
        config,
        Conditions(first=nothing, end=nothing, history=0),
        frames,
        [transformer.read_prompt(text, image) for text in texts],
        noise,
        sink.step,
    )
