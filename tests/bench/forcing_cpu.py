"""The rows of bench_forcing.py that any machine can run."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from figures import PATIENCE, Figure, Row, interleaved
from forcing_pairs import (
    LARGE,
    MIDDLE,
    SMALL,
    Pair,
    SameNoise,
    distance,
    fused_on_meta,
    quick_vae,
    random_pair,
    stock_pass,
    toybox_pair,
    two_deep,
)
from live_bytes import LiveBytes
from torch import Tensor

from storyflow.forcing.conditions import Conditions
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.lattice import TransformerShape
from storyflow.forcing.segment import Model, denoise, render_segment
from storyflow.forcing.transformer import LeanTransformer
from storyflow.forcing.vae import StreamingVAE
from storyflow.renderer import Given, History, SegmentSpec

P540 = (960, 544)


def cpu_toybox() -> Row:
    """Whole segments, decoded, of the model that ships."""
    pair = toybox_pair()
    config = pair.config(steps=20, guidance=4.0)
    exact, quick = StreamingVAE(pair.vae), quick_vae(pair)
    fused = LeanTransformer(pair.transformer, Fraction(24), fuse_guidance=True)
    seconds, made = interleaved(
        [
            ("stock", lambda: pair.stock(config, decode=True)),
            ("bitwise", lambda: pair.ours(config, vae=exact)),
            ("shipped", lambda: pair.ours(config, vae=quick)),
            ("fused", lambda: pair.ours(config, fused, vae=quick)),
        ],
        rounds=PATIENCE.rounds,
    )
    latents = distance(pair.ours(config), pair.stock(config))
    frames = distance(made["shipped"], made["stock"])
    stock = seconds["stock"]
    return Row(
        "cpu-toybox",
        f"97 frames of 96x64, 20 steps, guidance, decoded; medians of {PATIENCE.rounds}",
        (
            Figure("stock", stock, "s"),
            Figure("storyflow as it ships (rounding: VAE kernels)", seconds["shipped"], "s"),
            Figure("stock / storyflow", stock / seconds["shipped"], "", ">= 1.3"),
            Figure("stock / storyflow, class bitwise", stock / seconds["bitwise"]),
            Figure("stock / storyflow, fused guidance", stock / seconds["fused"]),
            Figure("largest difference of the latents", latents[0], "", "0"),
            Figure("largest difference of the frames, of 1 (8 bits)", frames[0], "", "<= 0.004"),
        ),
    )


def cpu_middle() -> Row:
    """Where arithmetic decides: what the lean pass must not lose."""
    pair = random_pair(MIDDLE, (320, 192), 33, torch.float32)
    config = pair.config(steps=3)
    fused = LeanTransformer(pair.transformer, Fraction(24), fuse_guidance=True)
    seconds, made = interleaved(
        [
            ("stock", lambda: pair.stock(config)),
            ("ours", lambda: pair.ours(config)),
            ("fused", lambda: pair.ours(config, fused)),
        ],
        rounds=PATIENCE.rounds,
    )
    largest = distance(made["ours"], made["stock"])[0]
    products, attention = _shares(pair)
    return Row(
        "cpu-middle",
        "28 M random weights, 33 frames of 320x192 (2,160 tokens), 3 steps, guidance, latents; "
        f"medians of {PATIENCE.rounds}",
        (
            Figure("stock", seconds["stock"], "s"),
            Figure("storyflow", seconds["ours"], "s"),
            Figure("stock / storyflow", seconds["stock"] / seconds["ours"], "", ">= 1.0"),
            Figure("stock / storyflow, fused guidance", seconds["stock"] / seconds["fused"]),
            Figure("matrix products' part of our pass", products),
            Figure("attention's part of our pass", attention),
            Figure("everything else: the remaining overhead", 1 - products - attention),
            Figure("largest difference of the latents", largest, "", "0"),
        ),
    )


def _shares(pair: Pair) -> tuple[float, float]:
    """The parts of a pass that matrix products and attention take, by torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    lean = LeanTransformer(pair.transformer, Fraction(24))
    latents, timesteps = _inputs(pair)
    with torch.inference_mode():
        prompts = [lean.read_prompt(text) for text in pair.prompts]
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            lean(latents, timesteps, prompts)
    own = {event.key: event.self_cpu_time_total for event in seen.key_averages()}
    total = sum(own.values())
    products = sum(own.get(f"aten::{name}", 0) for name in ("addmm", "mm", "bmm", "linear"))
    products += sum(took for name, took in own.items() if "convolution" in name)
    attention = sum(took for name, took in own.items() if "scaled_dot_product" in name)
    return products / total, attention / total


def _inputs(pair: Pair) -> tuple[Tensor, Tensor]:
    f, h, w = (pair.frames - 1) // 4 + 1, pair.height // 8, pair.width // 8
    latents = torch.zeros(1, 16, f, h, w, device=pair.device, dtype=pair.dtype)
    return latents, torch.full((1, f), 500, dtype=torch.int64, device=pair.device)


def cpu_540p_memory() -> Row:
    """What a pass holds above the weights, at the token count of 540P."""
    figures = []
    middle = TransformerShape(width=256, layers=2, ffn=1024, text_dim=64, head_dim=64)
    cases: list[tuple[str, TransformerShape, torch.dtype]] = [
        ("mid-size, float32", middle, torch.float32),
        ("1.3B, bfloat16", SMALL, torch.bfloat16),
        ("14B, bfloat16", LARGE, torch.bfloat16),
    ]
    with fused_on_meta():
        for name, shape, dtype in cases:
            pair = random_pair(two_deep(shape), P540, 97, dtype, "meta")
            stock, ours = _held(pair)
            figures += [
                Figure(f"stock, {name}", stock / 1e9, "GB"),
                Figure(f"storyflow, {name}", ours / 1e9, "GB"),
                Figure(f"storyflow / stock, {name}", ours / stock, "", "<= 0.6"),
            ]
    return Row(
        "cpu-540p-memory",
        "one guided pass over 51,000 tokens, bytes of live tensors above weights and inputs; sizes "
        "are exact, nothing is computed",
        tuple(figures),
    )


def _held(pair: Pair) -> tuple[int, int]:
    """Peak bytes of both passes: stock's and ours."""
    latents, timesteps = _inputs(pair)
    with torch.no_grad():
        with LiveBytes() as stock:
            stock_pass(pair, latents, timesteps)
        lean = LeanTransformer(pair.transformer, Fraction(24))
        prompts = [lean.read_prompt(text) for text in pair.prompts]
        with LiveBytes() as ours:
            lean(latents, timesteps, prompts)
    return stock.peak, ours.peak


def operations() -> Row:
    """Tensor operations of a step outside the transformer."""
    pair = random_pair(two_deep(MIDDLE), (96, 64), 97, torch.float32)
    counted = {
        "stock, synchronous": _stock_operations(pair),
        "storyflow, synchronous": _own_operations(pair),
        "storyflow, synchronous, history noise": _own_operations(pair, history_noise=20),
    }
    figures = [Figure(name, count, "per step", "<= 150") for name, count in counted.items()]
    blocks = 5
    count = _own_operations(pair, ar_step=5, block=5) / blocks
    figures.append(Figure("storyflow, asynchronous", count, "per block and step", "<= 150"))
    return Row("operations", "97 frames (25 latents), guidance, UniPC", tuple(figures))


class _Silent:
    """Stands in the transformer's place and asks nothing of the device."""

    image_dim = None

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype, self.device = dtype, torch.device("cpu")

    def __call__(self, latents: Tensor, timesteps: Tensor, prompts: Any, **rest: Any) -> Any:
        return [latents] * len(prompts)


def _own_operations(pair: Pair, **changed: Any) -> float:
    def count(steps: int) -> int:
        config = pair.config(steps=steps, **changed)
        first = torch.zeros(1, 16, 5 if config.history_noise else 0, 8, 12)
        known = Conditions(first, torch.zeros(1, 16, 0, 8, 12), first.shape[2])
        model: Any = _Silent(torch.float32)
        with torch.no_grad(), LiveBytes() as live:
            prompts: Any = [None, None]
            denoise(model, config, known, 25, prompts, SameNoise(), lambda done, of: None)
        return live.operations

    return (count(40) - count(30)) / 10


def _stock_operations(pair: Pair) -> float:
    def echo(hidden_states: Tensor, **rest: Any) -> tuple[Tensor]:
        return (hidden_states,)

    def count(steps: int) -> int:
        with LiveBytes() as live:
            pair.stock(pair.config(steps=steps))
        return live.operations

    pair.transformer.forward = echo
    try:
        return (count(8) - count(6)) / 2
    finally:
        del pair.transformer.forward


def shot_memory() -> Row:
    """A long shot must not take more than a short one."""
    pair = toybox_pair()
    config = pair.config(steps=2, history="pixels", overlap=9, window=33)
    model = Model(LeanTransformer(pair.transformer, Fraction(24)), quick_vae(pair))
    peaks = [_shot_peak(model, config, segments) for segments in (2, 10)]
    return Row(
        "shot-memory",
        "toybox, windows of 33 frames, pixel history; bytes of live tensors",
        (
            Figure("2 segments", peaks[0] / 1e6, "MB"),
            Figure("10 segments", peaks[1] / 1e6, "MB"),
            Figure("10 segments / 2 segments", peaks[1] / peaks[0], "", "<= 1.05"),
        ),
    )


class _Tail:
    """A sink that keeps the last frames alone."""

    def __init__(self, frames: int) -> None:
        self.kept = np.zeros((0, 64, 96, 3), np.uint8)
        self._frames = frames

    def regained(self, chunk: Any) -> None:
        pass

    def frames(self, chunk: Any) -> None:
        self.kept = np.concatenate([self.kept, chunk])[-self._frames :]

    def latents(self, chunk: Any) -> None:
        pass

    def step(self, done: int, total: int) -> None:
        pass


def _shot_peak(model: Model, config: ForcingConfig, segments: int) -> int:
    text = np.ones((4, model.transformer.text_dim), np.float32)
    with torch.no_grad(), LiveBytes() as live:
        tail = _Tail(config.overlap)
        for number in range(segments):
            overlap = config.overlap if number else 0
            spec = SegmentSpec(96, 64, config.window, overlap, seed=number)
            given = Given(History(tail.kept) if number else None)
            render_segment(model, config, spec, text, text, given, SameNoise(number), tail)
    return live.peak


def cpu_rounding() -> Row:
    """How far bfloat16 takes either of them from float32."""
    exact = random_pair(MIDDLE, (160, 96), 33, torch.float32)
    rounded = random_pair(MIDDLE, (160, 96), 33, torch.bfloat16)
    # The same weights: float32 copies of the rounded ones.
    exact.transformer.load_state_dict(
        {k: v.float() for k, v in rounded.transformer.state_dict().items()}
    )
    texts = [text.float() for text in rounded.prompts]
    exact.prompts = texts[0], texts[1]
    right = exact.stock(exact.config(steps=6))
    config = rounded.config(steps=6)
    stock = distance(rounded.stock(config), right)[1]
    fused = LeanTransformer(rounded.transformer, Fraction(24), fuse_guidance=True)
    ours = {
        "storyflow": distance(rounded.ours(config), right)[1],
        "storyflow, fused guidance": distance(rounded.ours(config, fused), right)[1],
    }
    figures = [Figure("stock in bfloat16, from float32", stock)]
    for name, value in ours.items():
        figures.append(Figure(f"{name} in bfloat16, from float32", value))
        figures.append(Figure(f"{name} / stock", value / stock, "", "<= 1.1"))
    return Row(
        "cpu-rounding",
        "28 M random weights, 33 frames of 160x96, 6 steps; root mean square of the difference",
        tuple(figures),
    )


CPU_ROWS: dict[str, Callable[[], Row]] = {
    "cpu-toybox": cpu_toybox,
    "cpu-middle": cpu_middle,
    "cpu-540p-memory": cpu_540p_memory,
    "operations": operations,
    "shot-memory": shot_memory,
    "cpu-rounding": cpu_rounding,
}
