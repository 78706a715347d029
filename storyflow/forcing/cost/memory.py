"""How much memory one segment takes, before anything is loaded; pure arithmetic, no torch.

    memory = predict(shape, window=97, size=Size(960, 544), config=config)
    memory.peak, memory.parts()
    fit(shape, 97, Size(960, 544), config, CARDS[1]).text

A segment has three phases that never overlap: history is encoded, the window is denoised, the
window is decoded. The weights stay all along, so the peak is theirs and the largest phase's. What a
phase holds follows from the code: `_MOMENTS` for a transformer block (block.py), vaememory.py for
the VAE. Predictions are of bytes that tensors hold; kernels' working memory, the driver's context
and holes between allocations come on top (`RESERVE`). tests/test_forcing_memory.py holds all of
this against measurements, within 10 %.

Not told apart: compiled blocks hold less than is predicted here, never more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.cost.vae import VaeShape, vae_memory
from storyflow.forcing.lattice import PIXELS_PER_LATENT, TransformerShape, latent_frames
from storyflow.timing import Size

GIB = 1024**3

RESERVE = GIB
"""On a graphics card: the driver's context, libraries' working memory, holes between tensors."""


@dataclass(frozen=True)
class Memory:
    """Bytes that one segment takes on its device, by part.

    `encode`, `denoise` and `decode` are what the phases hold beside the weights; `host` is main
    memory for blocks that wait there (`offload: blocks`), 0 otherwise. `image_encoder` is what
    reads pictures for image-to-video weights.
    """

    transformer_weights: int
    vae_weights: int
    encode: int
    prompts: int
    latents: int
    activations: int
    decode: int
    image_encoder: int = 0
    host: int = 0

    @property
    def denoise(self) -> int:
        return self.prompts + self.latents + self.activations

    @property
    def peak(self) -> int:
        """Of a whole segment, without the reserve."""
        weights = self.transformer_weights + self.vae_weights + self.image_encoder
        return weights + max(self.encode, self.denoise, self.decode)

    def parts(self) -> tuple[tuple[str, int], ...]:
        """Name and bytes of every part, for tables; the phases are alternatives."""
        return (
            ("transformer weights", self.transformer_weights),
            ("VAE weights", self.vae_weights),
            ("image encoder weights", self.image_encoder),
            ("encoding history", self.encode),
            ("denoising: prompts", self.prompts),
            ("denoising: latents", self.latents),
            ("denoising: a block's tensors", self.activations),
            ("decoding", self.decode),
        )


@dataclass(frozen=True)
class Card:
    """A size of graphics cards: its name, and the bytes that the smallest of them gives out."""

    name: str
    usable: int


CARDS = (
    Card("24 GB", int(23.5 * GIB)),
    Card("48 GB", int(44.3 * GIB)),
    Card("80 GB", int(79.0 * GIB)),
    Card("141 GB", int(139.5 * GIB)),
)
"""RTX 4090 and 3090; L40S and A6000; A100 and H100; H200."""


@dataclass(frozen=True)
class Fit:
    """Whether a segment fits on a card, and with which settings changed.

    `switches` are profile fields and values to change, empty where it fits as it is, None where
    nothing helps. `memory` is with them.
    """

    card: Card
    switches: tuple[tuple[str, str], ...] | None
    memory: Memory

    @property
    def fits(self) -> bool:
        return self.switches is not None

    @property
    def text(self) -> str:
        """`fits`, `fits with engine.offload=blocks` or `does not fit`."""
        if self.switches is None:
            return "does not fit"
        if not self.switches:
            return "fits"
        return "fits with " + " ".join(f"{field}={value}" for field, value in self.switches)


_WAYS: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    (("engine.fuse_guidance", "false"),),
    (("engine.offload", "blocks"),),
    (("engine.fuse_guidance", "false"), ("engine.offload", "blocks")),
    (("model.vae_dtype", "bfloat16"),),
    (("engine.offload", "blocks"), ("model.vae_dtype", "bfloat16")),
    (("model.quantize", "fp8"),),
    (("model.quantize", "fp8"), ("model.vae_dtype", "bfloat16")),
    (
        ("engine.fuse_guidance", "false"),
        ("engine.offload", "blocks"),
        ("model.vae_dtype", "bfloat16"),
        ("model.quantize", "fp8"),
    ),
)
"""What can be changed to save memory; what changes no pixels comes first, what is lossy last."""


def fit(
    shape: TransformerShape,
    window: int,
    size: Size,
    config: ForcingConfig,
    card: Card,
    vae: VaeShape | None = None,
) -> Fit:
    """The least change to `config` with which a segment fits on `card`.

    Arguments as for `predict`. Switches that leave the pixels as they are come first.
    """
    smallest = predict(shape, window, size, config, vae)
    for way in _WAYS:
        changed = _changed(config, way)
        if way and changed == config:
            continue
        memory = predict(shape, window, size, changed, vae)
        if memory.peak + RESERVE <= card.usable:
            told = tuple(s for s in way if _changed(config, (s,)) != config)
            return Fit(card, told, memory)
        smallest = min(smallest, memory, key=lambda m: m.peak)
    return Fit(card, None, smallest)


def _changed(config: ForcingConfig, way: tuple[tuple[str, str], ...]) -> ForcingConfig:
    values: dict[str, object] = {}
    for field, value in way:
        name = field.partition(".")[2]
        values[name] = value == "true" if value in ("true", "false") else value
    return replace(config, **values)  # type: ignore[arg-type]


def predict(
    shape: TransformerShape,
    window: int,
    size: Size,
    config: ForcingConfig,
    vae: VaeShape | None = None,
    *,
    history: int | None = None,
    end: bool = False,
) -> Memory:
    """What a segment of `window` frames (4k+1, history included) of `size` takes.

    `vae` is the released one where it is None. `history` counts frames that are encoded before
    denoising, `config.overlap` by default for `history: pixels`; `end` says whether an end picture
    is given, which lengthens the window by a latent.

    Raises ValueError for a window off the VAE's grid.
    """
    vae = vae or VaeShape()
    latents = latent_frames(window) + int(end)
    h, w = size.height // PIXELS_PER_LATENT, size.width // PIXELS_PER_LATENT
    grid = _Grid(latents, h, w, latents * (h // shape.patch) * (w // shape.patch))
    number = 2 if config.dtype != "float32" else 4
    vae_number = 2 if config.vae_dtype == "bfloat16" else 4
    encoder = vae_memory(vae, "encode", size.width, size.height, vae_number)
    decoder = vae_memory(vae, "decode", size.width, size.height, vae_number)
    if history is None:
        history = config.overlap if config.history == "pixels" else 0
    if shape.image_dim:
        history = window  # pictures enter as a film of the window's length
    block, rest = _block_weights(shape, config, number), _other_weights(shape, number)
    on_device = min(shape.layers, BLOCKS_AHEAD) if config.offload == "blocks" else shape.layers
    window_bytes = 4 * shape.out_channels * grid.cells
    return Memory(
        transformer_weights=on_device * block + rest,
        vae_weights=encoder.weights + decoder.weights,
        encode=encoder.working if history > 1 else 0,
        prompts=_prompts(shape, config, number),
        latents=LATENT_COPIES * window_bytes,
        activations=_activations(shape, config, grid, number),
        decode=decoder.working + 3 * window_bytes,
        image_encoder=0 if config.offload == "blocks" else _clip_weights(shape, number),
        host=shape.layers * block if config.offload == "blocks" else 0,
    )


@dataclass(frozen=True)
class _Grid:
    """A window as the networks see it; `frames` counts latents."""

    frames: int
    h: int
    w: int
    tokens: int

    @property
    def cells(self) -> int:
        return self.frames * self.h * self.w


BLOCKS_AHEAD = 2
"""Blocks on the device under `offload: blocks`: the one that computes and the next."""

LATENT_COPIES = 9
"""Of the window in float32 while it is denoised: noise, sample, velocities and solver state."""


@dataclass(frozen=True)
class _Moment:
    """What is alive in a block at one moment, per token: numbers of the hidden width in the model's
    dtype (`own`) and in float32 (`floats`), and of the feed-forward width in the model's dtype."""

    own: int
    floats: int = 0
    ffn: int = 0


_MOMENTS = (
    _Moment(own=5, floats=1),  # keys are rotated; queries wait
    _Moment(own=7),  # what self-attention gave is projected
    _Moment(own=3, ffn=1),  # between the feed-forward layers
)
"""The fullest moments of block.py, by the names that hold tensors there."""


def _activations(shape: TransformerShape, config: ForcingConfig, grid: _Grid, number: int) -> int:
    d = shape.width
    batch = 2 if config.guided and config.fuse_guidance else 1
    waiting = 1 if config.guided and not config.fuse_guidance else 0  # the other pass
    fullest = max(
        number * (moment.own * d + moment.ffn * shape.ffn) + 4 * moment.floats * d
        for moment in _MOMENTS
    )
    kept = (3 if config.guided else 2) if config.step_cache else 0  # see stepcache.py
    rotary = 2 * 4 * shape.head_dim
    per_token = batch * fullest + (waiting + kept) * number * d + rotary
    waves = grid.frames * d * 4 * 14  # modulation by time, per latent frame
    return int(grid.tokens * per_token) + waves + _widened(shape, config, number)


def _widened(shape: TransformerShape, config: ForcingConfig, number: int) -> int:
    """A quantized layer's weights while it computes: brought to the model's dtype."""
    return number * shape.width * shape.ffn if config.quantize != "none" else 0


def _prompts(shape: TransformerShape, config: ForcingConfig, number: int) -> int:
    """Keys and values of the prompts in every block, and the embeddings while they are read."""
    count = 2 if config.guided else 1
    tokens = shape.text_tokens + shape.image_tokens
    kept = 2 * tokens * shape.width * shape.layers * number
    return count * kept


def _block_weights(shape: TransformerShape, config: ForcingConfig, number: int) -> int:
    """One transformer block."""
    d, f = shape.width, shape.ffn
    large = 8 * d * d + 2 * d * f
    pictures = 2 * d * d + 3 * d if shape.image_dim else 0
    small = 8 * d + 4 * d + f + d + pictures  # biases and norms of queries and keys
    floats = 6 * d + 2 * d  # modulation and the norm before the prompt
    kept = {"none": number, "int8": 1, "fp8": 1}[config.quantize]
    scales = number * (9 * d + f) if config.quantize != "none" else 0
    return large * kept + small * number + floats * 4 + scales


def _other_weights(shape: TransformerShape, number: int) -> int:
    """Everything but the blocks. Diffusion forcing's frame rate embedding is left out (7 * d * d
    numbers, of 1.3B weights only)."""
    d, patch = shape.width, shape.patch**2
    time = 256 * d + d * d + 2 * d
    own = (shape.channels + shape.out_channels) * patch * d + d + shape.out_channels * patch
    own += 6 * d * d + 6 * d
    own += shape.text_dim * d + d * d + 2 * d
    if shape.image_dim:
        own += shape.image_dim * (shape.image_dim + d + 3) + 3 * d
    return own * number + (time + 2 * d) * 4


CLIP_LAYERS = 32
"""Of ViT-H/14, the image encoder of all released image-to-video weights."""


def _clip_weights(shape: TransformerShape, number: int) -> int:
    d = shape.image_dim
    return CLIP_LAYERS * (12 * d * d + 13 * d) * number


def table(
    shape: TransformerShape,
    window: int,
    size: Size,
    config: ForcingConfig,
    vae: VaeShape | None = None,
) -> Iterator[Fit]:
    """One line for each of `CARDS`."""
    return (fit(shape, window, size, config, card, vae) for card in CARDS)
