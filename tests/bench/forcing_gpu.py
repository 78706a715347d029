"""The rows of bench_forcing.py that need a CUDA device; the weights are random and made on it.

Peak memory is what torch's allocator gave out. Nothing is read or fetched.
"""

from __future__ import annotations

import copy
import functools
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from figures import Figure, Row, interleaved
from forcing_pairs import LARGE, SMALL, Pair, distance, random_pair

from storyflow.forcing.attention import backend_of, dispatch_name, usable
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.cost.memory import CARDS, RESERVE, predict
from storyflow.forcing.lattice import TransformerShape, forward_flops
from storyflow.forcing.offload import ParkedBlocks
from storyflow.forcing.transformer import LeanTransformer
from storyflow.forcing.vae import StreamingVAE
from storyflow.forcing.weights.quantize import quantize_block
from storyflow.timing import Size

CUDA = "cuda:0"
P540, P720 = (960, 544), (1280, 720)
SMALLER = (480, 272), 37
"""A window that float32 gets through in time."""

STEPS = 30


def _done(value: Any) -> Any:
    torch.cuda.synchronize()
    return value


@functools.cache
def matrix_rate() -> float:
    """bf16 operations per second of large matrix products of random numbers."""
    n, rounds = 8192, 20
    a, b = (torch.randn(n, n, device=CUDA, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        a @ b
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(rounds):
        a @ b
    torch.cuda.synchronize()
    return 2 * n**3 * rounds / (time.perf_counter() - began)


def _floor(shape: TransformerShape, size: tuple[int, int], frames: int, steps: int) -> float:
    """Seconds that a guided segment's arithmetic takes at the matrix rate."""
    return 2 * steps * forward_flops(frames, *size, shape) / matrix_rate()


def _lean(pair: Pair, kernel: str | None = None, **rest: Any) -> LeanTransformer:
    if kernel is None:
        kernel = dispatch_name(backend_of(pair.config(), torch.device(CUDA)))
    return LeanTransformer(pair.transformer, Fraction(24), kernel=kernel, **rest)


@functools.cache
def _small() -> Pair:
    return random_pair(SMALL, P540, 97, torch.bfloat16, CUDA, sample_info=True)


def gpu_matrix() -> Row:
    """The rate that floors are reckoned with."""
    properties = torch.cuda.get_device_properties(0)
    return Row(
        "gpu-matrix",
        "8192 x 8192 x 8192 in bfloat16, random numbers",
        (
            Figure("rate", matrix_rate() / 1e12, "TFLOP/s"),
            Figure("memory of the card", properties.total_memory / 1e9, "GB"),
        ),
    )


def gpu_speed() -> Row:
    """1.3B, 540P, 97 frames: few steps in turn, then one whole segment each."""
    pair = _small()
    few = pair.config(steps=2)
    eager, compiled = _lean(pair), _lean(pair, compiler="inductor")
    seconds, made = interleaved(
        [
            ("stock", lambda: _done(pair.stock(few))),
            ("eager", lambda: _done(pair.ours(few, eager))),
            ("compiled", lambda: _done(pair.ours(few, compiled))),
        ],
        rounds=2,
    )
    whole = pair.config(steps=STEPS)
    long: dict[str, float] = {}
    for name, run in (
        ("stock", lambda: pair.stock(whole)),
        ("storyflow", lambda: pair.ours(whole, compiled)),
    ):
        began = time.perf_counter()
        _done(run())
        long[name] = time.perf_counter() - began
    floor = _floor(SMALL, P540, 97, STEPS)
    largest, relative = distance(made["compiled"], made["stock"])
    return Row(
        "gpu-speed",
        "1.3B random weights, 540P, 97 frames, guidance, latents; storyflow compiled, kernel "
        f"{backend_of(few, torch.device(CUDA))}",
        (
            Figure("stock, 2 steps", seconds["stock"], "s"),
            Figure("storyflow eager, 2 steps", seconds["eager"], "s"),
            Figure("storyflow compiled, 2 steps", seconds["compiled"], "s"),
            Figure("stock / storyflow eager", seconds["stock"] / seconds["eager"]),
            Figure("stock / storyflow compiled", seconds["stock"] / seconds["compiled"]),
            Figure(f"stock, {STEPS} steps", long["stock"], "s"),
            Figure(f"storyflow, {STEPS} steps", long["storyflow"], "s"),
            Figure("stock / storyflow", long["stock"] / long["storyflow"], "", ">= 1.8"),
            Figure("arithmetic floor", floor, "s"),
            Figure("stock / floor", long["stock"] / floor),
            Figure("storyflow / floor", long["storyflow"] / floor, "", "<= 1.4"),
            Figure("largest difference of the latents, 2 steps", largest),
            Figure("root mean square difference, of 1", relative),
        ),
    )


def gpu_switches() -> Row:
    """1.3B, 540P: one switch at a time, eager."""
    pair = _small()
    config = pair.config(steps=2)
    kernels = usable(torch.device(CUDA), torch.bfloat16)
    parts: list[tuple[str, Callable[[], Any]]] = [("stock", lambda: _done(pair.stock(config)))]
    for kernel in kernels:
        lean = _lean(pair, dispatch_name(kernel))
        parts.append((f"attention {kernel}", lambda lean=lean: _done(pair.ours(config, lean))))
    fused = _lean(pair, fuse_guidance=True)
    parts.append(("fused guidance", lambda: _done(pair.ours(config, fused))))
    quantized = copy.deepcopy(pair)
    for block in quantized.transformer.blocks:
        quantize_block(block, "fp8")
    eight = _lean(quantized)
    parts.append(("fp8 weights", lambda: _done(pair.ours(config, eight))))
    seconds, made = interleaved(parts, rounds=1)
    figures = [Figure(name, took / 2, "s a step") for name, took in seconds.items()]
    figures += [
        Figure(f"{name}: difference from stock, root mean square", distance(x, made["stock"])[1])
        for name, x in made.items()
        if name != "stock"
    ]
    return Row("gpu-switches", "1.3B random weights, 540P, 97 frames, 2 steps", tuple(figures))


def gpu_rounding() -> Row:
    """1.3B, a smaller window: how far from float32 stock and storyflow are."""
    (size, frames), steps = SMALLER, 6
    rounded = Pair(_small().transformer, None, _small().prompts, *size, frames)
    exact = Pair(
        copy.deepcopy(rounded.transformer).float(),
        None,
        (rounded.prompts[0].float(), rounded.prompts[1].float()),
        *size,
        frames,
    )
    right = exact.stock(exact.config(steps=steps))
    config = rounded.config(steps=steps)
    stock = distance(rounded.stock(config), right)[1]
    ours = {
        "eager": _lean(rounded),
        "fused guidance": _lean(rounded, fuse_guidance=True),
        "compiled": _lean(rounded, compiler="inductor"),
    }
    figures = [Figure("stock in bfloat16, from float32", stock)]
    for name, lean in ours.items():
        value = distance(rounded.ours(config, lean), right)[1]
        figures.append(Figure(f"storyflow {name} / stock", value / stock, "", "<= 1.1"))
    return Row(
        "gpu-rounding",
        f"1.3B random weights, {frames} frames of {size[0]}x{size[1]}, {steps} steps; root mean "
        "square of the difference",
        tuple(figures),
    )


@dataclass(frozen=True)
class _Peaks:
    """Bytes at most in each phase, weights included, and what the allocator held of the card."""

    encode: int
    denoise: int
    decode: int
    held: int
    seconds: float


def _measured(
    pair: Pair, config: ForcingConfig, lean: LeanTransformer, vae: StreamingVAE
) -> _Peaks:
    """One step of a segment, phase by phase."""
    history = np.zeros((17, pair.height, pair.width, 3), np.uint8)
    peaks = []

    def phase(run: Callable[[], Any]) -> Any:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        made = _done(run())
        peaks.append(torch.cuda.max_memory_allocated())
        return made

    with torch.inference_mode():
        phase(lambda: vae.encode(history))
        began = time.perf_counter()
        latents = phase(lambda: pair.ours(config, lean))
        took = time.perf_counter() - began
        phase(lambda: [None for _ in vae.decode(latents[:, :, :6])])
    return _Peaks(peaks[0], peaks[1], peaks[2], torch.cuda.max_memory_reserved(), took)


def _vae() -> StreamingVAE:
    with torch.device(CUDA):
        return StreamingVAE(AutoencoderKLWan().eval().requires_grad_(False))


def _memory_figures(
    name: str, shape: TransformerShape, size: tuple[int, int], config: ForcingConfig, peaks: _Peaks
) -> list[Figure]:
    told = predict(shape, config.window, Size(*size), config)
    weights = told.transformer_weights + told.vae_weights
    figures = []
    for phase in ("encode", "denoise", "decode"):
        seen, said = getattr(peaks, phase), weights + getattr(told, phase)
        figures.append(Figure(f"{name}, {phase}: measured", seen / 1e9, "GB"))
        ratio = Figure(f"{name}, {phase}: predicted / measured", said / seen, "", "0.9 to 1.1")
        figures.append(ratio)
    peak = max(peaks.encode, peaks.denoise, peaks.decode)
    cards = [card.name for card in CARDS if peak + RESERVE <= card.usable]
    figures.append(Figure(f"{name}: peak (fits {cards[0] if cards else 'none'})", peak / 1e9, "GB"))
    figures.append(Figure(f"{name}: held by the allocator", peaks.held / 1e9, "GB"))
    figures.append(Figure(f"{name}: seconds of a guided step", peaks.seconds, "s"))
    return figures


def _settings(pair: Pair, **changed: Any) -> ForcingConfig:
    return pair.config(steps=1, history="pixels", **changed)


def gpu_14b_540p() -> Row:
    """14B at 540P: as it is, with fp8, with offload, with both."""
    _small.cache_clear()
    _empty()
    pair, vae = random_pair(LARGE, P540, 97, torch.bfloat16, CUDA), _vae()
    torch.cuda.reset_peak_memory_stats()
    _done(pair.stock(_settings(pair)))
    figures = [Figure("stock: denoise", torch.cuda.max_memory_allocated() / 1e9, "GB")]
    for name, changed in (
        ("as it is", {}),
        ("fp8", {"quantize": "fp8"}),
        ("fp8 and offload", {"quantize": "fp8", "offload": "blocks"}),
    ):
        config = _settings(pair, **changed)
        lean = _switched(pair, config)
        _empty()
        peaks = _measured(pair, config, lean, vae)
        figures += _memory_figures(name, LARGE, P540, config, peaks)
    return Row("gpu-14b-540p", "14B random weights, 540P, 97 frames, one step", tuple(figures))


def gpu_14b_720p() -> Row:
    """14B at 720P: as it is, and with offload."""
    _small.cache_clear()
    _empty()
    pair, vae = random_pair(LARGE, P720, 121, torch.bfloat16, CUDA), _vae()
    config = _settings(pair)
    figures = _memory_figures(
        "as it is", LARGE, P720, config, _measured(pair, config, _lean(pair), vae)
    )
    parked = _settings(pair, offload="blocks")
    lean = _switched(pair, parked)
    _empty()
    figures += _memory_figures("offload", LARGE, P720, parked, _measured(pair, parked, lean, vae))
    return Row("gpu-14b-720p", "14B random weights, 720P, 121 frames, one step", tuple(figures))


def _switched(pair: Pair, config: ForcingConfig) -> LeanTransformer:
    """The pair's own transformer with weights quantized and parked as `config` says, for good."""
    model = pair.transformer
    if config.quantize != "none":
        for block in model.blocks:
            if not hasattr(block.attn1.to_q, "scale"):
                quantize_block(block, config.quantize)
    if config.offload == "none":
        return _lean(pair)
    pattern = copy.deepcopy(model.blocks[0]).to("meta")
    parked = ParkedBlocks(pattern, torch.device(CUDA))
    for number in range(len(model.blocks)):
        parked.park(number, model.blocks[number].state_dict())
        model.blocks[number] = torch.nn.Identity()
    return _lean(pair, blocks=parked)


def _empty() -> None:
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


GPU_ROWS: dict[str, Callable[[], Row]] = {
    "gpu-matrix": gpu_matrix,
    "gpu-speed": gpu_speed,
    "gpu-switches": gpu_switches,
    "gpu-rounding": gpu_rounding,
    "gpu-14b-540p": gpu_14b_540p,
    "gpu-14b-720p": gpu_14b_720p,
}
