"""The border between plan and models: two small protocols and the values that cross it.

Everything here is numpy at most, so that planner, farm and tests never import torch. A model kind
implements `Renderer` (and `TextEncoder`, where it has one); `kinds.py` lists the kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from storyflow.errors import Problem
    from storyflow.storyboard.resolved import Mode

EVERY_MODE: frozenset[Mode] = frozenset({"text", "image", "first-last", "extend", "continue"})
"""All kinds of shots; a model kind without limits renders each of them."""


class Lattice(Protocol):
    """Which segment lengths a model kind can render; the planner knows no numbers of its own."""

    @property
    def overlap(self) -> int:
        """History frames that a continuing segment takes."""

    @property
    def grid(self) -> int:
        """Frames per latent after the first: positions in a shot move in steps of this."""

    def new_frames(self, *, fresh: bool) -> range:
        """Legal numbers of new frames for one segment, ascending.

        `fresh` is a shot's first segment without history; a continuing segment's window is
        `overlap` longer than its new frames. The range's last value is the trained length, its
        first the shortest that still leaves `overlap` frames for the next segment.

        A kind that renders single windows continues nothing: its `overlap` is 0 and its range of a
        continuing segment empty, so a shot there is one beat of at most one window.
        """


@dataclass(frozen=True)
class SegmentSpec:
    """One diffusion-forcing call.

    `window` counts all frames the model sees, of which the first `overlap` are history (0 when
    fresh). `seed` is the segment's own; renderers salt it by purpose and never draw from a global
    generator. `label` is text for renderers that draw it (slate), else empty.
    """

    width: int
    height: int
    window: int
    overlap: int
    seed: int
    label: str = ""

    @property
    def new(self) -> int:
        """Frames that this segment adds to the film."""
        return self.window - self.overlap


@dataclass(frozen=True)
class History:
    """The last `overlap` frames before a segment, in the stored form and dtype.

    `pixels`: uint8 [overlap, height, width, 3], RGB. `latents`: float32 [channels, latent frames,
    h, w], the latents of the same frames, or None where there are none: the kind has none, or the
    frames are a clip's that was never rendered.
    """

    pixels: NDArray[np.uint8]
    latents: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Given:
    """What a segment is given besides its prompt.

    `history` belongs to continuing segments. `start` and `end` are pictures, uint8
    [height, width, 3], RGB, of the segment's size: a fresh segment's first frame, and the frame
    right after a segment's last one (of a full-sequence model's, the last one itself).
    """

    history: History | None = None
    start: NDArray[np.uint8] | None = None
    end: NDArray[np.uint8] | None = None


class Sink(Protocol):
    """Takes what a renderer makes, as it is made; memory stays flat."""

    def regained(self, chunk: NDArray[np.uint8]) -> None:
        """The next frames of the history as this segment's model decodes them, before any new one.

        They are not part of the film: held against the history they tell how much the model alone
        changes colours. A renderer that does not decode its history gives none.
        """

    def frames(self, chunk: NDArray[np.uint8]) -> None:
        """The next new frames, uint8 [n, height, width, 3], RGB; history frames never come.

        The array is the sink's from then on: it is encoded while more frames are computed.
        """

    def latents(self, chunk: NDArray[np.float32]) -> None:
        """The latents of the new frames, float32 [channels, n, h, w]; once per segment."""

    def step(self, done: int, total: int) -> None:
        """Progress within the segment, in solver steps."""


class TextEncoder(Protocol):
    """Turns a prompt into the embedding that a renderer of the same kind reads."""

    def setup(self) -> None:
        """Load the model. Raises ModelError."""

    def encode(self, text: str) -> NDArray[np.float32]:
        """[tokens, dim], without padding; float32 holds bfloat16 exactly."""

    def close(self) -> None:
        """Give the memory back."""


class Renderer(Protocol):
    """Renders segments. A segment's output is a pure function of the arguments of `render`."""

    def setup(self) -> None:
        """Load the model. Raises ModelError."""

    def render(
        self,
        spec: SegmentSpec,
        prompt: NDArray[np.float32] | None,
        negative: NDArray[np.float32] | None,
        given: Given,
        sink: Sink,
    ) -> None:
        """Render one segment into `sink`. Raises SegmentError for inputs it can never render."""

    def numerics(self) -> str:
        """The numerics class: device kind and instruction set, dtype, backend, compile, torch."""

    def close(self) -> None:
        """Give the memory back."""


class Tokens(Protocol):
    """How long prompts are to a text encoder, told without loading it."""

    @property
    def limit(self) -> int:
        """The most tokens that the text encoder reads."""

    def fits(self, text: str) -> bool | None:
        """Whether it reads all of a text; None where its tokenizer isn't here."""

    def count(self, text: str) -> int | None:
        """Tokens of a text, None where its tokenizer isn't here. Raises ModelError."""

    def fetch(self) -> bool:
        """Bring the tokenizer here; whether it is here now."""


@dataclass(frozen=True)
class Cost:
    """What one segment costs, before it is rendered: floating-point operations."""

    flops: float


@dataclass(frozen=True)
class CardFit:
    """How one segment gets on with a size of graphics cards, before anything is loaded.

    `switches` are the settings (`engine.offload=blocks`) with which it fits, none where it fits as
    it is, None where nothing helps; `peak` is the predicted memory with them, in bytes.
    """

    card: str
    switches: tuple[str, ...] | None
    peak: int

    @property
    def text(self) -> str:
        """`fits`, `fits with engine.offload=blocks`, or `does not fit`."""
        if self.switches is None:
            return "does not fit"
        return f"fits with {' '.join(self.switches)}" if self.switches else "fits"


class Costs(Protocol):
    """What a segment costs by its length."""

    def __call__(self, window: int, overlap: int = 0) -> Cost:
        """Of a segment of `window` frames, of which the first `overlap` are history."""


@dataclass(frozen=True)
class ModelKind:
    """A kind of model that a profile can name, without loading anything.

    `identity` names the weights and `pixel_fields` every profile field that changes pixels, both
    as JSON-able values for keys. `embeds_prompts` says whether prompts go through a text encoder,
    `encoder` which (weights and dtype, for the keys of prompts; empty where there is none);
    `reads_negative` is False where guidance is off, so that a negative prompt changes nothing;
    `modes` are the kinds of shots that these very weights can render, among those that a storyboard
    can ask for: weights for image to video, say, render nothing without a start picture. Planning
    refuses the others at the shot's line, where `modes` says so before anything is loaded.
    `wants_gpu` says whether a worker takes a GPU where there is one and the operator is silent;
    `draws_labels` whether the label is part of the picture (and so of the key). `cost` takes
    frames. `notice` is one line to tell the user about the weights in use, or None; `notices` are
    about settings, told with the plan's. `memory` predicts, for a window in frames, what it needs
    on common graphics cards; None for kinds that need none. `fit` says the same of one card that
    gives out so many bytes: `fit(window, size)`. `tokens` measures prompts; None for kinds without
    a text encoder.
    """

    name: str
    lattice: Lattice
    identity: str
    pixel_fields: tuple[tuple[str, object], ...]
    embeds_prompts: bool
    draws_labels: bool
    keeps_latents: bool
    cost: Costs
    renderer: Callable[[], Renderer]
    text_encoder: Callable[[], TextEncoder] | None
    notice: str | None = None
    encoder: str = ""
    reads_negative: bool = True
    wants_gpu: bool = False
    modes: frozenset[Mode] = EVERY_MODE
    notices: tuple[Problem, ...] = ()
    memory: Callable[[int], tuple[CardFit, ...]] | None = None
    fit: Callable[[int, int], CardFit] | None = None
    tokens: Tokens | None = None
