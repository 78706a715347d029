"""The worker side of the full-sequence models: what is rendered, and what is refused."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from storyflow.errors import SegmentError
from storyflow.forcing.noise import SeededNoise
from storyflow.forcing.sequence.loading import load_sequence
from storyflow.forcing.sequence.segment import SequenceModel, render_sequence
from storyflow.forcing.windowed import WindowRenderer, check_array
from storyflow.renderer import Given, SegmentSpec, Sink

_WANTS = {
    0: "text-to-video weights read no pictures",
    1: "image-to-video weights read a start picture and no other",
    2: "weights for first and last frame read a start and an end picture",
}


class SequenceRenderer(WindowRenderer[SequenceModel]):
    """SkyReels-V2's text-to-video and image-to-video models: whole windows.

    An end picture, where the weights read one, is the window's last frame. No latents are given to
    the sink: nothing continues from them.
    """

    def _load(self) -> SequenceModel:
        return load_sequence(self._config)

    def _check(self, model: SequenceModel, spec: SegmentSpec, given: Given) -> None:
        if given.history is not None or spec.overlap:
            raise SegmentError(
                "a full-sequence model continues nothing, it renders whole windows",
                cure="use a diffusion-forcing (DF) pipeline, or cut the shot here",
            )
        found = [name for name in ("start", "end") if getattr(given, name) is not None]
        if found != ["start", "end"][: model.pictures]:
            got = " and ".join(found) or "none"
            raise SegmentError(
                f"{_WANTS[model.pictures]}; the segment has {got}",
                cure="choose the pipeline that fits the shot: T2V, I2V, or diffusion forcing (DF)",
            )
        for name, picture in (("start", given.start), ("end", given.end)):
            if picture is not None:
                check_array(
                    f"the {name} picture is", picture, (spec.height, spec.width, 3), "uint8"
                )

    def _render(
        self,
        model: SequenceModel,
        spec: SegmentSpec,
        prompt: NDArray[np.float32],
        negative: NDArray[np.float32] | None,
        given: Given,
        sink: Sink,
    ) -> None:
        noise = SeededNoise(spec.seed)
        render_sequence(model, self._config, spec, prompt, negative, given, noise, sink)
