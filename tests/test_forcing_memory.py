"""Predicted memory against measured, within 10 %: at full size without computing, on the meta
device, and at a middle size for real, on the CPU."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, SkyReelsV2Transformer3DModel
from live_bytes import LiveBytes
from numpy.typing import NDArray
from torch import Tensor

from storyflow.forcing.conditions import Conditions
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.cost.memory import CARDS, fit, predict
from storyflow.forcing.cost.vae import VaeShape, vae_memory
from storyflow.forcing.lattice import TransformerShape, latent_frames
from storyflow.forcing.noise import SeededNoise
from storyflow.forcing.offload import ParkedBlocks
from storyflow.forcing.segment import Model, denoise, render_segment
from storyflow.forcing.transformer import LeanTransformer
from storyflow.forcing.vae import StreamingVAE
from storyflow.forcing.weights.quantize import quantize_block
from storyflow.renderer import Given, History, SegmentSpec
from storyflow.timing import Size

SMALL = TransformerShape(width=1536, layers=30, ffn=8960)
LARGE = TransformerShape(width=5120, layers=40, ffn=13824)
MIDDLE = TransformerShape(width=256, layers=3, ffn=1024, text_dim=64, head_dim=64)
P540, P720, TINY = Size(960, 544), Size(1280, 720), Size(64, 48)

GB = 1e9


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, gradients off; on the meta device attention and norms take what the fused
    kernels of a graphics card take."""
    real = torch.nn.functional.scaled_dot_product_attention

    def attend(query: Tensor, key: Tensor, value: Tensor, **rest: Any) -> Tensor:
        if query.device.type != "meta":
            return real(query, key, value, **rest)
        b, heads, n, width = query.shape
        return query.new_empty(b, n, heads, width).transpose(1, 2)

    norm = torch.nn.functional.rms_norm

    def normalise(x: Tensor, *rest: Any) -> Tensor:
        return torch.empty_like(x) if x.device.type == "meta" else norm(x, *rest)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
    monkeypatch.setattr(torch.nn.functional, "rms_norm", normalise)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(before)


def settings(**changed: Any) -> ForcingConfig:
    return ForcingConfig(model="none", **changed)


def transformer_of(
    shape: TransformerShape, dtype: torch.dtype, device: str, layers: int | None = None
) -> Any:
    with torch.device(device):
        model = SkyReelsV2Transformer3DModel(
            num_attention_heads=shape.width // shape.head_dim,
            attention_head_dim=shape.head_dim,
            num_layers=layers or shape.layers,
            ffn_dim=shape.ffn,
            text_dim=shape.text_dim,
            in_channels=shape.channels,
        )
    kept = model._keep_in_fp32_modules
    for name, parameter in model.named_parameters():
        if not any(part in kept for part in name.split(".")):
            parameter.data = parameter.data.to(dtype)
    return model.eval().requires_grad_(False)


def bytes_of(module: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in module.state_dict().values())


def near(predicted: int, measured: int) -> bool:
    return abs(predicted - measured) <= 0.1 * measured


def denoised(
    shape: TransformerShape, config: ForcingConfig, size: Size, window: int, device: str
) -> LiveBytes:
    """The peak of denoising one window, two blocks deep: a block's tensors don't add up."""
    dtype = getattr(torch, config.dtype)
    model = transformer_of(shape, dtype, device, 2)
    if config.quantize != "none":
        for block in model.blocks:
            quantize_block(block, config.quantize)
    lean = LeanTransformer(model, Fraction(24), fuse_guidance=config.fuse_guidance)
    frames, h, w = latent_frames(window), size.height // 8, size.width // 8

    class Noise(SeededNoise):
        def initial(self, shape: tuple[int, ...]) -> Tensor:
            return torch.zeros(shape, device=device)

        history = initial

    with LiveBytes() as live:
        text = torch.zeros(1, 512, shape.text_dim, dtype=dtype, device=device)
        prompts = [lean.read_prompt(text) for _ in range(2 if config.guided else 1)]
        first, end = (torch.zeros(1, 16, n, h, w, device=device) for n in (2, 0))
        known = Conditions(first, end, history=2)
        denoise(lean, config, known, frames, prompts, Noise(1), lambda done, of: None)
    return live


@pytest.mark.parametrize(
    ("shape", "size", "window", "changed"),
    [
        (SMALL, P540, 97, {}),
        (SMALL, P540, 57, {"dtype": "float32"}),
        (SMALL, P540, 97, {"fuse_guidance": True}),
        (SMALL, P540, 97, {"guidance": 1.0}),
        (LARGE, P540, 97, {}),
        (LARGE, P540, 97, {"fuse_guidance": True}),
        (LARGE, P540, 97, {"quantize": "fp8"}),
        (LARGE, P720, 121, {}),
        (LARGE, P720, 57, {"dtype": "float32", "guidance": 1.0}),
    ],
    ids=str,
)
def test_denoising_at_full_size_takes_what_was_predicted(
    shape: TransformerShape, size: Size, window: int, changed: dict[str, Any]
) -> None:
    config = settings(window=121, steps=2, **changed)
    live = denoised(shape, config, size, window, "meta")
    two_deep = TransformerShape(shape.width, 2, shape.ffn)
    predicted = predict(two_deep, window, size, config).denoise
    assert near(predicted, live.peak), (predicted / GB, live.peak / GB, live.at_peak)


@pytest.mark.parametrize(("shape", "layers"), [(SMALL, 30), (LARGE, 40)])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_weights_take_what_was_predicted(shape: TransformerShape, layers: int, dtype: Any) -> None:
    model = transformer_of(shape, getattr(torch, dtype), "meta")
    predicted = predict(shape, 97, P540, settings(dtype=dtype)).transformer_weights
    assert abs(predicted - bytes_of(model)) < 0.001 * bytes_of(model)


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_quantized_weights_take_what_was_predicted(kind: Any) -> None:
    shape = TransformerShape(LARGE.width, 3, LARGE.ffn)
    model = transformer_of(shape, torch.bfloat16, "meta")
    for block in model.blocks:
        quantize_block(block, kind)
    predicted = predict(shape, 97, P540, settings(quantize=kind)).transformer_weights
    assert abs(predicted - bytes_of(model)) < 0.001 * bytes_of(model)


def test_parked_blocks_take_the_room_of_two() -> None:
    model = transformer_of(MIDDLE, torch.bfloat16, "cpu")
    parked = ParkedBlocks(copy.deepcopy(model.blocks[0]).to("meta"), torch.device("cpu"))
    for number, block in enumerate(model.blocks):
        parked.park(number, block.state_dict())
    with LiveBytes("cpu") as live:
        assert len(list(parked)) == MIDDLE.layers
    whole = predict(MIDDLE, 37, TINY, settings())
    offloaded = predict(MIDDLE, 37, TINY, settings(offload="blocks"))
    waiting = whole.transformer_weights - offloaded.transformer_weights
    assert offloaded.host == MIDDLE.layers * waiting  # of three blocks one is not on the device
    assert near(2 * waiting, live.peak)


@pytest.mark.parametrize(("size", "dtype"), [(P540, torch.float32), (P720, torch.bfloat16)])
def test_the_vae_takes_what_was_predicted_however_long_the_film(
    size: Size, dtype: torch.dtype
) -> None:
    with torch.device("meta"):
        vae = AutoencoderKLWan().eval().requires_grad_(False)
    for parameter in vae.parameters():
        parameter.data = parameter.data.to(dtype)
    streaming, itemsize = StreamingVAE(vae), 4 if dtype == torch.float32 else 2
    predicted = vae_memory(VaeShape(), "decode", size.width, size.height, itemsize)
    assert predicted.weights == bytes_of(vae.decoder)
    peaks = []
    for latents in (3, 6):
        film = torch.zeros(1, 16, latents, size.height // 8, size.width // 8, device="meta")
        with LiveBytes() as live:
            for _ in streaming.decode(film):
                pass
        peaks.append(live.peak)
        assert near(predicted.working, live.peak), live.at_peak
    assert peaks[1] < 1.01 * peaks[0]


class Nowhere:
    """A sink that keeps nothing."""

    def regained(self, chunk: NDArray[np.uint8]) -> None:
        pass

    def frames(self, chunk: NDArray[np.uint8]) -> None:
        pass

    def latents(self, chunk: NDArray[np.float32]) -> None:
        pass

    def step(self, done: int, total: int) -> None:
        pass


VAE = VaeShape(base_dim=8, decoder_base_dim=8, num_res_blocks=1)
"""Of the middle size."""


def middle_model(config: ForcingConfig) -> Model:
    torch.manual_seed(0)
    transformer = transformer_of(MIDDLE, getattr(torch, config.dtype), "cpu")
    vae = AutoencoderKLWan(base_dim=VAE.base_dim, num_res_blocks=VAE.num_res_blocks)
    vae.eval().requires_grad_(False)
    return Model(LeanTransformer(transformer, config.fps), StreamingVAE(vae))


@pytest.mark.parametrize("window", [21, 37])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"guidance": 1.0},
        {"history": "latents", "dtype": "bfloat16"},
    ],
    ids=str,
)
def test_a_whole_segment_takes_what_was_predicted(window: int, changed: dict[str, Any]) -> None:
    config = settings(**{"dtype": "float32", "window": 37, "overlap": 9, "steps": 2, **changed})
    model = middle_model(config)
    h, w = TINY.height, TINY.width
    history = History(
        np.zeros((9, h, w, 3), np.uint8), np.zeros((16, 3, h // 8, w // 8), np.float32)
    )
    text = np.ones((4, MIDDLE.text_dim), np.float32)
    spec = SegmentSpec(w, h, window, 9, seed=1)
    with LiveBytes() as live:
        render_segment(
            model,
            config,
            spec,
            text,
            text if config.guided else None,
            Given(history),
            SeededNoise(1),
            Nowhere(),
        )
    predicted = predict(MIDDLE, window, TINY, config, VAE)
    working = max(predicted.encode, predicted.denoise, predicted.decode)
    assert near(working, live.peak), (predicted, live.peak, live.at_peak)


def test_small_cards_are_told_what_to_change_and_too_small_ones_that_nothing_helps() -> None:
    config = settings(window=121)
    small = fit(SMALL, 97, P540, config, CARDS[0])
    assert small.text == "fits"
    large = fit(LARGE, 97, P540, config, CARDS[1])
    assert large.text == "fits"
    offloaded = fit(LARGE, 97, P540, config, CARDS[0])
    assert offloaded.fits and offloaded.switches == (("engine.offload", "blocks"),)
    assert offloaded.memory.host > 20e9
    tiny = CARDS[0].__class__("8 GB", 7 * 10**9)
    assert fit(LARGE, 121, P720, config, tiny).text == "does not fit"
