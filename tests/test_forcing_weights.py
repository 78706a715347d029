"""Weights in memory: loaded once and block by block, quantized, parked, and no copy beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from live_bytes import LiveBytes
from safetensors.torch import load_file, save_file
from torch import Tensor

from storyflow.errors import ModelError
from storyflow.forcing.attention import backend_of, usable
from storyflow.forcing.config import ForcingConfig, Lora
from storyflow.forcing.loading import load_model
from storyflow.forcing.offload import DirectLane, ParkedBlocks
from storyflow.forcing.transformer import LeanTransformer
from storyflow.forcing.vae import StreamingVAE
from storyflow.forcing.weights.quantize import Kind, QuantizedLinear, quantize_block, quantized

CPU = torch.device("cpu")
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.no_grad():
        yield


def config(folder: Path | None = None, **changes: Any) -> ForcingConfig:
    settings = {"dtype": "float32", "window": 33, "overlap": 9, **changes}
    return ForcingConfig(model=str(folder or tiny_models.folder()), **settings)


def state(config: ForcingConfig) -> dict[str, Tensor]:
    found: dict[str, Tensor] = load_model(config).transformer._model.state_dict()
    return found


def velocity(lean: LeanTransformer) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    text = torch.randn(1, 512, tiny_models.TEXT_DIM, generator=generator).to(lean.dtype)
    latents = torch.randn(1, 16, 3, 4, 6, generator=generator).to(lean.dtype)
    prompts = [lean.read_prompt(text), lean.read_prompt(-text)]
    return torch.cat(lean(latents, torch.tensor([[20, 700, 999]]), prompts))


def shard(folder: Path) -> None:
    """Divide the transformer's weights into three files with an index, as large models are."""
    place = folder / "transformer"
    tensors = load_file(place / WEIGHTS)
    (place / WEIGHTS).unlink()
    names = sorted(tensors)
    where = {name: f"model-{i % 3 + 1}-of-3.safetensors" for i, name in enumerate(names)}
    for file in set(where.values()):
        save_file({n: tensors[n] for n in names if where[n] == file}, place / file)
    (place / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": where}))


def test_sharded_weights_are_the_same_weights(tmp_path: Path) -> None:
    folder = tiny_models.copy_folder(tmp_path / "model")
    shard(folder)
    whole, sharded = state(config()), state(config(folder))
    assert whole.keys() == sharded.keys()
    assert all(torch.equal(whole[name], sharded[name]) for name in whole)


def test_weights_are_copies_that_outlive_their_file(tmp_path: Path) -> None:
    folder = tiny_models.copy_folder(tmp_path / "model")
    loaded = state(config(folder))
    before = {name: tensor.clone() for name, tensor in loaded.items()}
    for file in folder.rglob("*.safetensors"):
        with file.open("r+b") as stream:
            stream.write(b"\xff" * file.stat().st_size)
    assert all(torch.equal(loaded[name], before[name]) for name in loaded)


PEAK = """
import os, resource, sys
from pathlib import Path
from diffusers import SkyReelsV2Transformer3DModel
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.loading import Part, load_transformer

def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
folder = sys.argv[1]
for dtype, quantize in (how.split(":") for how in sys.argv[2:]):
    child = os.fork()
    if child == 0:
        config = ForcingConfig(model=folder, dtype=dtype, quantize=quantize)
        part = Part.of(SkyReelsV2Transformer3DModel, Path(folder), "transformer")
        before = peak()
        model = load_transformer(config, part)._model
        held = sum(t.numel() * t.element_size() for t in model.state_dict().values())
        print(held, peak() - before, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random transformer of some 190 million parameters, 380 MB in bfloat16."""
    from diffusers import SkyReelsV2Transformer3DModel

    from storyflow.forcing.weights.fill import empty

    settings = {"num_attention_heads": 8, "attention_head_dim": 128, "ffn_dim": 4096}
    settings |= {"num_layers": 10, "text_dim": 256, "freq_dim": 64}
    model = empty(SkyReelsV2Transformer3DModel, settings)
    folder = tmp_path_factory.mktemp("large")
    model.save_config(folder / "transformer")
    weights = {
        name: torch.zeros(tensor.shape, dtype=torch.bfloat16)
        for name, tensor in model.state_dict().items()
    }
    save_file(weights, folder / "transformer" / WEIGHTS)
    return folder


def test_loading_never_holds_a_second_copy(large: Path) -> None:
    stored = (large / "transformer" / WEIGHTS).stat().st_size
    larger = {"bfloat16:none": 1, "float32:none": 2, "bfloat16:int8": 0.53, "bfloat16:fp8": 0.53}
    ran = subprocess.run(
        [sys.executable, "-c", PEAK, str(large), *larger],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    for times, line in zip(larger.values(), ran.stdout.splitlines(), strict=True):
        held, peak = map(int, line.split())
        assert held == pytest.approx(stored * times, rel=0.03)
        # A block is read while it is quantized: a tenth of this model, a fortieth of the largest.
        in_flight = stored / 5 if times < 1 else 0
        assert peak < 1.2 * held + in_flight


@pytest.mark.parametrize("kind", ["int8", "fp8"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quantized_weights_are_near_and_their_largest_exact(kind: Kind, dtype: torch.dtype) -> None:
    weight = torch.randn(64, 96, generator=torch.Generator().manual_seed(2))
    weight[5] *= 100
    weight[6] = 0
    weight = weight.to(dtype).float()
    numbers, scale = quantized(weight, kind, dtype)
    assert (numbers.element_size(), scale.shape, scale.dtype) == (1, (64, 1), dtype)
    back = numbers.float() * scale.float()
    largest = weight.abs().amax(dim=1, keepdim=True)
    step = {"int8": 0.5 / 127, "fp8": 2**-4}[kind]
    assert bool(((back - weight).abs() <= 1.01 * step * largest).all())
    assert torch.isfinite(back).all() and not back[6].any()


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_a_quantized_model_renders_nearly_the_same(kind: Kind) -> None:
    plain = load_model(config()).transformer
    small = load_model(config(quantize=kind)).transformer
    wanted, got = velocity(plain), velocity(small)
    assert 0 < float((got - wanted).norm() / wanted.norm()) < {"int8": 0.02, "fp8": 0.06}[kind]
    layers = [m for m in small._model.modules() if isinstance(m, QuantizedLinear)]
    assert len(layers) == 2 * (4 + 4 + 2)  # two blocks; nothing outside them
    assert all(layer.weight.element_size() == 1 for layer in layers)


def test_quantizing_a_block_in_memory_is_the_same_as_while_loading() -> None:
    loaded = load_model(config(quantize="int8")).transformer
    other = load_model(config()).transformer
    for block in other._model.blocks:
        quantize_block(block, "int8")
    assert torch.equal(velocity(loaded), velocity(other))


def test_loras_are_added_before_quantizing(tmp_path: Path) -> None:
    name = "blocks.0.attn1.to_q"
    down, up = torch.randn(2, 24), torch.randn(24, 2)
    file = tmp_path / "style.safetensors"
    save_file({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, file)
    plain = state(config())[f"{name}.weight"]
    merged = state(config(quantize="int8", loras=(Lora(str(file), scale=3.0),)))
    numbers, scale = quantized(plain + 3.0 * (up @ down), "int8", torch.float32)
    assert torch.equal(merged[f"{name}.scale"], scale)
    assert torch.equal(merged[f"{name}.weight"], numbers)


def test_quantizing_changes_keys_and_offloading_does_not() -> None:
    fields = config().pixel_fields()
    assert config(quantize="int8").pixel_fields() != config(quantize="fp8").pixel_fields() != fields
    assert config(vae_dtype="bfloat16").pixel_fields() != fields
    for same in ({"offload": "blocks"}, {"attention": "native"}, {"compile": True}):
        assert config(**same).pixel_fields() == fields
    assert config(fuse_guidance=True).pixel_fields() == fields


class WatchedLane(DirectLane):
    """Copies only when waited for, as late as a real lane may, and writes down who asked what."""

    def __init__(self, parked: list[Tensor]) -> None:
        self.seen: list[tuple[str, int, int | None]] = []
        self.busy: set[int] = set()
        self._parked = parked
        self._pending: dict[int, tuple[Tensor, Tensor]] = {}

    def fetch(self, seat: int, target: Tensor, source: Tensor) -> None:
        assert seat not in self.busy, "a seat is overwritten while its block computes"
        number = next(i for i, slab in enumerate(self._parked) if slab is source)
        self.seen.append(("fetch", seat, number))
        self._pending[seat] = target, source

    def wait(self, seat: int) -> None:
        self.seen.append(("wait", seat, None))
        if seat in self._pending:
            target, source = self._pending.pop(seat)
            target.copy_(source)
        self.busy.add(seat)

    def release(self, seat: int) -> None:
        self.busy.discard(seat)


def parked(model: Any, lane: WatchedLane | None = None) -> ParkedBlocks:
    blocks = ParkedBlocks(model.blocks[0], CPU, lane)
    for number, block in enumerate(model.blocks):
        blocks.park(number, block.state_dict())
    return blocks


@pytest.mark.parametrize("kind", [None, "int8", "fp8"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_parked_blocks_give_the_same_bits(kind: Kind | None, layers: int) -> None:
    model = load_model(config()).transformer._model
    model.blocks.extend([load_model(config()).transformer._model.blocks[0]])
    del model.blocks[layers:]
    for block in model.blocks if kind else []:
        quantize_block(block, kind or "int8")
    fps = config().fps
    wanted = velocity(LeanTransformer(model, fps))
    blocks = parked(model)
    away = LeanTransformer(model, fps, blocks=blocks)
    assert len(blocks) == layers
    for _ in range(3):
        assert torch.equal(velocity(away), wanted)


def test_the_next_block_travels_while_one_computes() -> None:
    model = load_model(config()).transformer._model
    model.blocks.append(model.blocks[0])
    blocks = parked(model)
    lane = WatchedLane(blocks._parked)
    blocks._lane = lane
    for _ in range(2):
        for _ in blocks:
            lane.seen.append(("compute", -1, None))
    story = [(what, number) for what, _, number in lane.seen if what != "wait"]
    assert story == [
        *(("fetch", 0), ("fetch", 1), ("compute", None)),
        *(("fetch", 2), ("compute", None)),
        *(("fetch", 0), ("compute", None)),  # the next pass's first, ahead of it
        *(("fetch", 1), ("compute", None)),
        *(("fetch", 2), ("compute", None)),
        *(("fetch", 0), ("compute", None)),
    ]


def test_a_pass_that_breaks_off_leaves_the_blocks_in_order() -> None:
    model = load_model(config()).transformer._model
    blocks = parked(model)
    blocks._lane = WatchedLane(blocks._parked)
    away = LeanTransformer(model, config().fps, blocks=blocks)
    wanted = velocity(away)
    for broken_off in (1, 2):
        for number, _ in enumerate(blocks, 1):
            if number == broken_off:
                break
        assert torch.equal(velocity(away), wanted)


def test_blocks_that_differ_are_refused() -> None:
    model = load_model(config()).transformer._model
    blocks = ParkedBlocks(model.blocks[0], CPU)
    with pytest.raises(ValueError, match="block 1 differs from the others or comes out of order"):
        blocks.park(1, model.blocks[1].state_dict())


def test_the_cpu_has_one_kernel_of_attention_and_says_so() -> None:
    assert backend_of(config(), CPU) == backend_of(config(attention="native"), CPU) == "native"
    assert usable(CPU, torch.bfloat16) == ("native",)
    for kernel in ("cudnn", "flash", "flash-3"):
        with pytest.raises(
            ModelError, match=f"kernel {kernel} does not run in float32 on this CPU"
        ) as refused:
            load_model(config(attention=kernel))
        assert "native" in refused.value.cure


@pytest.mark.parametrize(
    ("capability", "dtype", "installed", "wanted"),
    [
        ((9, 0), "bfloat16", False, "cudnn"),
        ((9, 0), "bfloat16", True, "flash-3"),
        ((10, 0), "bfloat16", True, "cudnn"),
        ((8, 9), "float16", True, "native"),
        ((7, 5), "float16", False, "native"),
        ((9, 0), "float32", True, "native"),
    ],
)
def test_auto_chooses_by_device_dtype_and_what_is_installed(
    capability: tuple[int, int],
    dtype: str,
    installed: bool,
    wanted: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if installed else None)
    assert backend_of(config(dtype=dtype), torch.device("cuda")) == wanted


def test_the_vae_computes_in_bfloat16_where_asked() -> None:
    exact, half = (load_model(config(vae_dtype=d)).vae for d in ("float32", "bfloat16"))
    assert {w.dtype for w in half._vae.state_dict().values()} == {torch.bfloat16}
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 16, 3, 4, 6, generator=generator)
    frames, rough = (torch.cat(list(vae.decode(latents)), 2).float() for vae in (exact, half))
    assert rough.shape == frames.shape == (1, 3, 9, 32, 48)
    assert 0 < float((rough - frames).abs().max()) < 0.1
    pixels = torch.randint(0, 256, (9, 32, 48, 3), generator=generator).to(torch.uint8).numpy()
    codes = [vae.encode(pixels) for vae in (exact, half)]
    assert codes[1].dtype == torch.float32
    assert float((codes[0] - codes[1]).norm() / codes[0].norm()) < 0.05


def test_decoding_takes_no_more_memory_for_more_frames() -> None:
    vae: StreamingVAE = load_model(config()).vae
    peaks = []
    for frames in (4, 24):
        latents = torch.zeros(1, 16, frames, 4, 6)
        with LiveBytes() as live:
            for _ in vae.decode(latents):
                pass
        peaks.append(live.peak)
    # Only the latents themselves grow: as they came, scaled and convolved.
    assert peaks[1] - peaks[0] <= 3 * 20 * 16 * 4 * 6 * 4
