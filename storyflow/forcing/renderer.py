"""Diffusion forcing on the worker's side: what is rendered, and what is refused."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from storyflow.errors import SegmentError
from storyflow.forcing.lattice import PIXELS_PER_LATENT, latent_frames
from storyflow.forcing.loading import load_model
from storyflow.forcing.noise import SeededNoise
from storyflow.forcing.segment import Model, render_segment
from storyflow.forcing.windowed import WindowRenderer, check_array
from storyflow.renderer import Given, SegmentSpec, Sink


class ForcingRenderer(WindowRenderer[Model]):
    """SkyReels-V2 diffusion forcing: fresh segments and those that continue a history.

    The sink gets the latents of the new frames before their pixels.
    """

    def _load(self) -> Model:
        return load_model(self._config)

    def _check(self, model: Model, spec: SegmentSpec, given: Given) -> None:
        self._check_lengths(spec)
        self._check_given(spec, given, model.vae.channels)

    def _render(
        self,
        model: Model,
        spec: SegmentSpec,
        prompt: NDArray[np.float32],
        negative: NDArray[np.float32] | None,
        given: Given,
        sink: Sink,
    ) -> None:
        noise = SeededNoise(spec.seed)
        render_segment(model, self._config, spec, prompt, negative, given, noise, sink)

    def _check_lengths(self, spec: SegmentSpec) -> None:
        if spec.overlap not in (0, self._config.overlap) or spec.overlap >= spec.window:
            raise SegmentError(
                f"an overlap of {spec.overlap} in a window of {spec.window} frames",
                cure=f"use 0 for a fresh segment or {self._config.overlap} for a continuing one",
            )

    def _check_given(self, spec: SegmentSpec, given: Given, channels: int) -> None:
        history = given.history
        if (history is None) != (spec.overlap == 0):
            raise SegmentError(
                f"overlap {spec.overlap} with {'no' if history is None else 'a'} history",
                cure="give history exactly to continuing segments",
            )
        if given.start is not None and history is not None:
            raise SegmentError(
                "a continuing segment with a start picture: its first frames are its history",
                cure="give a start picture to a fresh segment only",
            )
        picture = (spec.height, spec.width, 3)
        for name, frame in (("start", given.start), ("end", given.end)):
            if frame is not None:
                check_array(f"the {name} picture is", frame, picture, "uint8")
        if history is None:
            return
        if self._config.history == "pixels" or history.latents is None:
            frames = (spec.overlap, *picture)
            check_array("the history's pixels are", history.pixels, frames, "uint8")
        else:
            h, w = spec.height // PIXELS_PER_LATENT, spec.width // PIXELS_PER_LATENT
            tail = (channels, latent_frames(spec.overlap), h, w)
            check_array("the history's latents are", history.latents, tail, "float32")
