"""What the renderers of both kinds of model share: a window at a time, nothing but the arguments
counts, and what either kind refuses."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from storyflow.errors import SegmentError
from storyflow.forcing.attention import backend_of
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.lattice import PIXELS_PER_LATENT, latent_frames
from storyflow.forcing.loading import device_of
from storyflow.forcing.tokens import TEXT_TOKENS
from storyflow.forcing.transformer import LeanTransformer
from storyflow.renderer import Given, SegmentSpec, Sink


class _Loaded(Protocol):
    @property
    def transformer(self) -> LeanTransformer: ...


M = TypeVar("M", bound=_Loaded)


class WindowRenderer(ABC, Generic[M]):
    """A SkyReels-V2 model as a `Renderer`.

    A segment's pixels depend on the arguments of `render`, the config and the numerics class, and
    on nothing else: not on other segments, the process, the order or any global generator.
    """

    def __init__(self, config: ForcingConfig) -> None:
        self._config = config
        self._model: M | None = None

    def setup(self) -> None:
        """Load the model. Raises ModelError."""
        self._loaded()

    def render(
        self,
        spec: SegmentSpec,
        prompt: NDArray[np.float32] | None,
        negative: NDArray[np.float32] | None,
        given: Given,
        sink: Sink,
    ) -> None:
        """Render one segment into `sink`: steps, latents if any, frames as they are decoded.

        `prompt` and `negative` are [tokens, text_dim]; `negative` is read only when guidance is on.
        Raises SegmentError for what this model can never render.
        """
        model = self._loaded()
        check_window(spec, self._config.window)
        self._check(model, spec, given)
        text_dim = model.transformer.text_dim
        prompt = checked_embedding("prompt", prompt, text_dim)
        guided = self._config.guided
        negative = checked_embedding("negative prompt", negative, text_dim) if guided else None
        with pinned_threads(self._config.threads), torch.inference_mode():
            self._render(model, spec, prompt, negative, given, sink)

    def numerics(self) -> str:
        """See `numerics_of`."""
        return numerics_of(self._config)

    def close(self) -> None:
        """Give the memory back; the next `render` loads again."""
        self._model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _loaded(self) -> M:
        if self._model is None:
            self._model = self._load()
        return self._model

    @abstractmethod
    def _load(self) -> M:
        """The model of the config. Raises ModelError."""

    @abstractmethod
    def _check(self, model: M, spec: SegmentSpec, given: Given) -> None:
        """Refuse what this model does not render from. Raises SegmentError."""

    @abstractmethod
    def _render(
        self,
        model: M,
        spec: SegmentSpec,
        prompt: NDArray[np.float32],
        negative: NDArray[np.float32] | None,
        given: Given,
        sink: Sink,
    ) -> None:
        """Render what was checked."""


def numerics_of(config: ForcingConfig) -> str:
    """What can change the last bits, such as `cpu-AVX512 float32 native eager torch-2.13.0`.

    Attention kernel, compilation and fused guidance are only here and never in a key. Raises
    ModelError for a kernel or a device that is not there.
    """
    device = device_of(config)
    told = [
        _chip(device),
        config.dtype,
        f"weights-{config.quantize}" if config.quantize != "none" else "",
        f"vae-{config.vae_dtype}" if config.vae_dtype != "float32" else "",
        backend_of(config, device),
        "compiled" if config.compile else "eager",
        "fused-guidance" if config.fuse_guidance and config.guided else "",
        f"torch-{torch.__version__}",
        f"threads-{config.threads}",
    ]
    return " ".join(word for word in told if word)


def encoder_numerics(config: ForcingConfig) -> str:
    """The same of the text encoder, which has neither kernels nor a VAE to choose."""
    words = (_chip(device_of(config)), config.dtype)
    return " ".join((*words, f"torch-{torch.__version__}", f"threads-{config.threads}"))


def _chip(device: torch.device) -> str:
    if device.type != "cuda":
        return f"{device.type}-{torch.backends.cpu.get_cpu_capability()}"
    chip = torch.cuda.get_device_name(device).replace(" ", "-")
    major, minor = torch.cuda.get_device_capability(device)
    return f"cuda-{chip}-sm{major}{minor}"


def check_window(spec: SegmentSpec, trained: int) -> None:
    """Refuse a frame size or a window that no SkyReels-V2 model renders. Raises SegmentError."""
    side = 2 * PIXELS_PER_LATENT
    if spec.width % side or spec.height % side or spec.width < side or spec.height < side:
        raise SegmentError(
            f"a picture of {spec.width}x{spec.height} does not divide by {side}",
            cure=f"choose a frame size in multiples of {side}",
        )
    try:
        latent_frames(spec.window)
    except ValueError as error:
        raise SegmentError(f"window: {error}", cure="plan on this model's lattice") from None
    if spec.window > trained:
        raise SegmentError(
            f"a window of {spec.window} frames is longer than the {trained} that the model was "
            "trained on",
            cure="plan shorter segments",
        )


def check_array(
    what: str,
    array: NDArray[np.uint8] | NDArray[np.float32],
    shape: tuple[int, ...],
    dtype: str,
) -> None:
    """Refuse another shape or dtype. Raises SegmentError."""
    if array.shape != shape or array.dtype != dtype:
        raise SegmentError(
            f"{what} {array.dtype} {list(array.shape)}, expected {dtype} {list(shape)}",
            cure="give what has the segment's own frame size and overlap",
        )


def checked_embedding(
    name: str, embedding: NDArray[np.float32] | None, text_dim: int
) -> NDArray[np.float32]:
    """The embedding [tokens, text_dim]; refused where there is none or another. SegmentError."""
    if embedding is None:
        raise SegmentError(
            f"the segment has no {name}", cure="encode one, an empty text if need be"
        )
    if embedding.ndim != 2 or embedding.shape[1] != text_dim or len(embedding) > TEXT_TOKENS:
        raise SegmentError(
            f"the {name}'s embedding is {list(embedding.shape)}, expected up to {TEXT_TOKENS} "
            f"tokens of {text_dim} numbers",
            cure="encode it with the text encoder of the same model",
        )
    return embedding


@contextlib.contextmanager
def pinned_threads(count: int) -> Iterator[None]:
    """Torch uses `count` CPU threads inside: their number can change the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
