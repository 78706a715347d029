"""The worker side of the full-sequence models: what is rendered, and what is refused."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from storyflow.errors import SegmentError
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.noise import SeededNoise
from storyflow.forcing.renderer import (
    check_array,
    check_window,
    checked_embedding,
    numerics_of,
    pinned_threads,
)
from storyflow.forcing.sequence.loading import load_sequence
from storyflow.forcing.sequence.segment import SequenceModel, render_sequence
from storyflow.renderer import Given, SegmentSpec, Sink

_WANTS = {
    0: "text-to-video weights read no pictures",
    1: "image-to-video weights read a start picture and no other",
    2: "weights for first and last frame read a start and an end picture",
}


class SequenceRenderer:
    """SkyReels-V2's text-to-video and image-to-video models as a `Renderer`.

    As with diffusion forcing, a segment's pixels depend on the arguments of `render`, the config
    and the numerics class, and on nothing else. No latents are given to the sink: nothing continues
    from them.
    """

    def __init__(self, config: ForcingConfig) -> None:
        self._config = config
        self._model: SequenceModel | None = None

    def setup(self) -> None:
        """Load transformer, VAE and, for image to video, CLIP. Raises ModelError."""
        if self._model is None:
            self._model = load_sequence(self._config)

    def render(
        self,
        spec: SegmentSpec,
        prompt: NDArray[np.float32] | None,
        negative: NDArray[np.float32] | None,
        given: Given,
        sink: Sink,
    ) -> None:
        """Render one shot into `sink`: steps, then frames as they are decoded.

        `prompt` and `negative` are [tokens, text_dim]; `negative` is read only when guidance is on.
        An end picture, where the weights read one, is the window's last frame. Raises SegmentError
        for what this model can never render.
        """
        self.setup()
        assert self._model is not None
        check_window(spec, self._config.window)
        self._check_given(spec, given, self._model.pictures)
        text_dim = self._model.transformer.text_dim
        prompt = checked_embedding("prompt", prompt, text_dim)
        guided = self._config.guided
        negative = checked_embedding("negative prompt", negative, text_dim) if guided else None
        noise = SeededNoise(spec.seed)
        with pinned_threads(self._config.threads), torch.inference_mode():
            render_sequence(self._model, self._config, spec, prompt, negative, given, noise, sink)

    def numerics(self) -> str:
        """See `numerics_of`."""
        return numerics_of(self._config)

    def close(self) -> None:
        """Give the memory back; the next `render` loads again."""
        self._model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _check_given(self, spec: SegmentSpec, given: Given, pictures: int) -> None:
        if given.history is not None or spec.overlap:
            raise SegmentError(
                "a full-sequence model continues nothing, it renders whole windows",
                cure="use a diffusion-forcing (DF) pipeline, or cut the shot here",
            )
        found = [name for name in ("start", "end") if getattr(given, name) is not None]
        if found != ["start", "end"][:pictures]:
            got = " and ".join(found) or "none"
            raise SegmentError(
                f"{_WANTS[pictures]}; the segment has {got}",
                cure="choose the pipeline that fits the shot: T2V, I2V, or diffusion forcing (DF)",
            )
        for name, picture in (("start", given.start), ("end", given.end)):
            if picture is not None:
                check_array(
                    f"the {name} picture is", picture, (spec.height, spec.width, 3), "uint8"
                )
