"""How much memory the streaming VAE takes beside its weights; pure arithmetic, no torch.

The Wan VAE works through a film chunk by chunk: 4 frames of pixels, 1 of latents. Its causal
convolutions keep the last two frames of what they read, so that the next chunk can go on: this
feature cache and the largest layer's tensors decide the peak, and both are the same for any length.
The walk below follows the layers of diffusers' AutoencoderKLWan and adds up, at the places where a
tensor is made, what is alive at that moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Half = Literal["encode", "decode"]

KEPT_FRAMES = 2
"""What a causal convolution over three frames reads of those before."""


@dataclass(frozen=True)
class VaeShape:
    """The sizes of an AutoencoderKLWan (Wan 2.1's layout); the defaults are the released VAE's.

    The names are those of its config.json.
    """

    base_dim: int = 96
    decoder_base_dim: int = 96
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    z_dim: int = 16
    temperal_downsample: tuple[bool, ...] = (False, True, True)


@dataclass(frozen=True)
class VaeMemory:
    """Bytes: the weights of one half, its feature cache, and the peak of a chunk beyond both."""

    weights: int
    cache: int
    chunk: int

    @property
    def working(self) -> int:
        """Beside the weights."""
        return self.cache + self.chunk


def vae_memory(shape: VaeShape, half: Half, width: int, height: int, itemsize: int) -> VaeMemory:
    """Of one half of the VAE on pictures of width x height pixels, once its cache is full.

    `itemsize` is 4 for float32, 2 for bfloat16. A first chunk, or a window of one or two chunks,
    takes less.
    """
    walk = _Walk(itemsize)
    if half == "decode":
        _decoder(walk, shape, height // 8, width // 8)
    else:
        _encoder(walk, shape, height, width)
    items = (walk.weights, walk.cache, walk.peak)
    return VaeMemory(*(itemsize * count for count in items))


class _Walk:
    """Walks through layers and counts numbers (not bytes): `weights`, `cache`, `peak`.

    Sizes of tensors are numbers too. `held` is what callers keep alive around a layer.
    """

    def __init__(self, itemsize: int) -> None:
        self.weights = self.cache = self.peak = 0
        # Normalising makes two copies besides its result; in 16 bits it works on a float32 copy.
        self._norm = 3 if itemsize == 4 else 4
        self._floats = 4 // itemsize

    def _at(self, *alive: int) -> None:
        self.peak = max(self.peak, sum(alive))

    def normalise(self, x: int, channels: int, held: int) -> None:
        self.weights += channels
        self._at(held, x, self._norm * x)

    def convolve(self, frames: int, h: int, w: int, channels: tuple[int, int], held: int) -> int:
        """3x3x3, with its cache; the input is among the `held`. Gives the result's size."""
        into, out = channels
        self.weights += 27 * into * out + out
        kept = KEPT_FRAMES * into * h * w
        longer = (frames + KEPT_FRAMES) * into
        joined, padded = longer * h * w, longer * (h + 2) * (w + 2)
        result = out * frames * h * w
        self.cache += kept
        self._at(held, kept, joined, padded)
        self._at(held, kept, padded, result)
        return result

    def residual(self, frames: int, h: int, w: int, channels: tuple[int, int], held: int) -> int:
        """WanResidualBlock; `held` does not count its input."""
        into, out = channels
        x, result = into * frames * h * w, out * frames * h * w
        around = held + x
        if into != out:
            self.weights += into * out + out
            self._at(around, x, result)  # a 1x1x1 convolution pads too, which copies
            around += result
        self.normalise(x, into, around - x)
        self._at(around, 2 * x)
        self.convolve(frames, h, w, (into, out), around + x)
        self.normalise(result, out, around)
        self._at(around, 2 * result)
        self.convolve(frames, h, w, (out, out), around + result)
        return result

    def attend(self, frames: int, h: int, w: int, channels: int, held: int) -> None:
        """WanAttentionBlock."""
        x = channels * frames * h * w
        self.weights += 4 * channels * channels + 5 * channels
        self._at(held, x, x, 6 * x)

    def enlarge(
        self, frames: int, h: int, w: int, channels: int, *, time: bool, held: int
    ) -> tuple[int, int]:
        """WanResample upwards: twice the height and width, half the channels, and twice the frames
        where `time`. Gives the new number of frames and the result's size."""
        x = channels * frames * h * w
        held += x
        if time:
            self.weights += 3 * channels * 2 * channels + 2 * channels
            kept = KEPT_FRAMES * channels * h * w
            joined = (frames + KEPT_FRAMES) * channels * h * w
            self.cache += kept
            self._at(held, kept, 2 * joined)
            self._at(held, kept, joined, 2 * x)
            self._at(held, 4 * x)
            frames, x = 2 * frames, 2 * x
        large, half = 4 * x, channels // 2
        own = x if time else 0
        result = half * frames * 4 * h * w
        self.weights += 9 * channels * half + half
        if self._floats > 1:
            self._at(held, own, self._floats * (x + large))
            self._at(held, own, self._floats * large, large)
        self._at(held, own, large, result)
        return frames, result

    def reduce(
        self, frames: int, h: int, w: int, channels: int, *, time: bool, held: int
    ) -> tuple[int, int]:
        """WanResample downwards, as `enlarge`; the channels stay."""
        x = channels * frames * h * w
        padded, small = channels * frames * (h + 1) * (w + 1), x // 4
        self.weights += 9 * channels * channels + channels
        self._at(held, x, padded, small)
        if time:
            self.weights += 3 * channels * channels + channels
            kept = channels * h * w // 4
            self.cache += kept
            self._at(held, x, small, kept, kept + small, small)
            frames //= 2
            small = channels * frames * h * w // 4
        return frames, small


def _decoder(walk: _Walk, shape: VaeShape, h: int, w: int) -> None:
    """One latent frame, h x w, to four frames."""
    base, mult = shape.decoder_base_dim, shape.dim_mult
    widths = [base * m for m in (mult[-1], *reversed(mult))]
    top, frames = widths[0], 1
    walk.convolve(frames, h, w, (shape.z_dim, top), shape.z_dim * h * w)
    x = _middle(walk, frames, h, w, top)
    doubles = [*reversed(shape.temperal_downsample)]
    for level, (into, out) in enumerate(pairwise(widths)):
        channels = into if level == 0 else into // 2
        first = x
        for number in range(shape.num_res_blocks + 1):
            held = first if number else 0  # the caller keeps the level's input
            x = walk.residual(frames, h, w, (channels, out), held)
            channels = out
        if level < len(mult) - 1:
            frames, x = walk.enlarge(frames, h, w, out, time=doubles[level], held=first)
            h, w = 2 * h, 2 * w
    walk.normalise(x, widths[-1], 0)
    walk._at(2 * x)
    walk.convolve(frames, h, w, (widths[-1], 3), x)


def _encoder(walk: _Walk, shape: VaeShape, h: int, w: int) -> None:
    """Four frames, h x w, to one latent frame."""
    base, mult = shape.base_dim, shape.dim_mult
    widths = [base * m for m in (1, *mult)]
    frames = 4
    pixels = 3 * frames * h * w
    x = walk.convolve(frames, h, w, (3, widths[0]), pixels)
    for level, (into, out) in enumerate(pairwise(widths)):
        channels = into
        for _ in range(shape.num_res_blocks):
            x = walk.residual(frames, h, w, (channels, out), pixels)
            channels = out
        if level < len(mult) - 1:
            halves = shape.temperal_downsample[level]
            frames, x = walk.reduce(frames, h, w, out, time=halves, held=pixels)
            h, w = h // 2, w // 2
    x = _middle(walk, frames, h, w, widths[-1])
    walk.normalise(x, widths[-1], pixels)
    walk.convolve(frames, h, w, (widths[-1], 2 * shape.z_dim), pixels + x)


def _middle(walk: _Walk, frames: int, h: int, w: int, channels: int) -> int:
    walk.residual(frames, h, w, (channels, channels), channels * frames * h * w)
    walk.attend(frames, h, w, channels, channels * frames * h * w)
    return walk.residual(frames, h, w, (channels, channels), channels * frames * h * w)
