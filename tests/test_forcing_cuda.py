"""What only a GPU can prove: kernels, streams, pinned memory. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import SkyReelsV2Transformer3DModel
from torch import Tensor

from storyflow.forcing.attention import usable
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.loading import Part, load_transformer
from storyflow.forcing.offload import ParkedBlocks
from storyflow.forcing.transformer import LeanTransformer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

TEXT_DIM = 64
LAYERS = 5


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, large enough that a copy which comes too late shows: 60 MB a block."""
    torch.manual_seed(0)
    model = SkyReelsV2Transformer3DModel(
        num_attention_heads=8,
        attention_head_dim=128,
        ffn_dim=8192,
        num_layers=LAYERS,
        text_dim=TEXT_DIM,
        freq_dim=64,
        inject_sample_info=True,
    )
    place = tmp_path_factory.mktemp("cuda")
    model.to(torch.bfloat16).save_pretrained(place / "transformer")
    return place


def loaded(folder: Path, **changes: Any) -> LeanTransformer:
    config = ForcingConfig(model=str(folder), device="cuda", **changes)
    return load_transformer(config, Part.of(SkyReelsV2Transformer3DModel, folder, "transformer"))


def velocity(lean: LeanTransformer, size: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    text = torch.randn(1, 512, TEXT_DIM, generator=generator).to("cuda", lean.dtype)
    latents = torch.randn(1, 16, 5, size, size, generator=generator).to("cuda", lean.dtype)
    levels = torch.tensor([[20, 20, 700, 900, 999]], device="cuda")
    prompts = [lean.read_prompt(text), lean.read_prompt(-text)]
    return torch.cat(lean(latents, levels, prompts)).float().cpu()


def distance(got: Tensor, wanted: Tensor) -> float:
    return float((got - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("quantize", ["none", "int8", "fp8"])
@pytest.mark.parametrize("size", [4, 16, 64])  # copies slower than computing, and faster
def test_parked_blocks_give_the_same_bits(folder: Path, quantize: str, size: int) -> None:
    here = loaded(folder, quantize=quantize)
    away = loaded(folder, quantize=quantize, offload="blocks")
    wanted = velocity(here, size)
    for _ in range(5):
        assert torch.equal(velocity(away, size), wanted)


@pytest.mark.parametrize("quantize", ["none", "fp8"])
def test_parked_blocks_leave_room_for_two_on_the_device(folder: Path, quantize: str) -> None:
    def held(**changes: Any) -> int:
        before = torch.cuda.memory_allocated()
        lean = loaded(folder, quantize=quantize, **changes)
        velocity(lean)
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated() - before

    here, away = held(), held(offload="blocks")
    assert away < here * (2 / LAYERS + 0.15)


def test_parked_blocks_wait_in_pinned_memory(folder: Path) -> None:
    blocks = loaded(folder, offload="blocks")._blocks
    assert isinstance(blocks, ParkedBlocks)
    assert all(slab.is_pinned() for slab in blocks._parked)


def test_quantizing_never_has_the_whole_model_on_the_device(folder: Path) -> None:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    lean = loaded(folder, quantize="fp8")
    held = torch.cuda.memory_allocated() - before
    peak = torch.cuda.max_memory_allocated() - before
    assert peak < held + 300_000_000 / LAYERS * 3
    assert distance(velocity(lean), velocity(loaded(folder))) < 0.06


def test_every_kernel_of_attention_gives_nearly_the_same(folder: Path) -> None:
    kernels = usable(torch.device("cuda"), torch.bfloat16)
    wanted = velocity(loaded(folder, dtype="float32"))
    plain = distance(velocity(loaded(folder, attention="native")), wanted)
    for kernel in kernels:
        got = velocity(loaded(folder, attention=kernel))
        assert distance(got, wanted) < 1.2 * plain, kernel


@pytest.mark.parametrize("changes", [{"compile": True}, {"fuse_guidance": True}])
def test_switches_of_class_rounding_stay_near(folder: Path, changes: dict[str, bool]) -> None:
    wanted = velocity(loaded(folder, dtype="float32"))
    plain = distance(velocity(loaded(folder)), wanted)
    assert distance(velocity(loaded(folder, **changes)), wanted) < 1.2 * plain
