"""LoRAs: what they add, both layouts, what is refused, and what they do to keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import tiny_models
import torch
from safetensors.torch import save_file
from torch import Tensor

from storyflow.errors import ModelError
from storyflow.forcing.config import ForcingConfig, Lora
from storyflow.forcing.loading import load_model
from storyflow.forcing.weights.lora import read_loras
from storyflow.forcing.weights.lorafiles import identities

RANK = 2
WIDTH, FFN = 24, 48

WAN = {
    "blocks.0.attn1.to_q": "blocks.0.self_attn.q",
    "blocks.1.attn1.to_out.0": "blocks.1.self_attn.o",
    "blocks.0.attn2.to_v": "blocks.0.cross_attn.v",
    "blocks.1.ffn.net.0.proj": "blocks.1.ffn.0",
    "blocks.1.ffn.net.2": "blocks.1.ffn.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "proj_out": "head.head",
}


def config(*loras: Lora, **changes: object) -> ForcingConfig:
    return ForcingConfig(
        model=str(tiny_models.folder()),
        window=33,
        overlap=9,
        loras=loras,
        **{"dtype": "float32", **changes},  # type: ignore[arg-type]
    )


def parameters() -> dict[str, Tensor]:
    state: dict[str, Tensor] = tiny_models.components().transformer.state_dict()
    return state


def shapes() -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in parameters().items()}


def drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def matrices(module: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Down [rank, in] and up [out, rank] for a linear layer."""
    out, inward = shapes()[f"{module}.weight"]
    return drawn((RANK, inward), seed), drawn((out, RANK), seed + 1)


def loaded(*loras: Lora, **changes: object) -> Mapping[str, Tensor]:
    state: dict[str, Tensor] = load_model(config(*loras, **changes)).transformer._model.state_dict()
    return state


def diffusers_file(file: Path, seed: int = 0, prefix: str = "transformer.") -> Path:
    tensors = {}
    for i, module in enumerate(WAN):
        down, up = matrices(module, seed + 2 * i)
        tensors[f"{prefix}{module}.lora_A.weight"] = down
        tensors[f"{prefix}{module}.lora_B.weight"] = up
    save_file(tensors, file)
    return file


def test_a_lora_adds_scale_times_up_times_down(tmp_path: Path) -> None:
    file = diffusers_file(tmp_path / "style.safetensors")
    plain, merged = parameters(), loaded(Lora(str(file), scale=0.5))
    for i, module in enumerate(WAN):
        down, up = matrices(module, 2 * i)
        name = f"{module}.weight"
        assert torch.allclose(merged[name], plain[name] + 0.5 * up @ down, atol=1e-6)
    touched = {f"{module}.weight" for module in WAN}
    assert all(torch.equal(merged[name], plain[name]) for name in plain.keys() - touched)


@pytest.mark.parametrize("down, up", [("lora_down", "lora_up"), ("lora_A", "lora_B")])
def test_both_layouts_say_the_same(down: str, up: str, tmp_path: Path) -> None:
    tensors = {}
    for i, (module, name) in enumerate(WAN.items()):
        first, second = matrices(module, 2 * i)
        tensors[f"diffusion_model.{name}.{down}.weight"] = first
        tensors[f"diffusion_model.{name}.{up}.weight"] = second
        tensors[f"diffusion_model.{name}.alpha"] = torch.tensor(RANK / 2)
    save_file(tensors, tmp_path / "wan.safetensors")
    wan = loaded(Lora(str(tmp_path / "wan.safetensors"), scale=1.0))
    ours = loaded(Lora(str(diffusers_file(tmp_path / "style.safetensors")), scale=0.5))
    assert all(torch.allclose(wan[name], ours[name], atol=1e-6) for name in ours)


def test_the_wan_layout_is_read_as_diffusers_reads_it(tmp_path: Path) -> None:
    from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_wan_lora_to_diffusers

    tensors = {}
    for i, (module, name) in enumerate(WAN.items()):
        down, up = matrices(module, 2 * i)
        tensors[f"diffusion_model.{name}.lora_down.weight"] = down
        tensors[f"diffusion_model.{name}.lora_up.weight"] = up
        if name.startswith("blocks"):  # stock reads alpha of the blocks only
            tensors[f"diffusion_model.{name}.alpha"] = torch.tensor(0.5)
            tensors[f"diffusion_model.{name}.diff_b"] = drawn((up.shape[0],), 50 + i)
    save_file(tensors, tmp_path / "wan.safetensors")
    merged = loaded(Lora(str(tmp_path / "wan.safetensors"), scale=0.8))
    converted = _convert_non_diffusers_wan_lora_to_diffusers(dict(tensors))
    plain = parameters()
    for module in WAN:
        head = f"transformer.{module}."
        delta = converted[head + "lora_B.weight"] @ converted[head + "lora_A.weight"]
        wanted = plain[f"{module}.weight"] + 0.8 * delta
        assert torch.allclose(merged[f"{module}.weight"], wanted, atol=1e-6)
        if module.startswith("blocks"):
            wanted = plain[f"{module}.bias"] + 0.8 * converted[head + "lora_B.bias"]
            assert torch.allclose(merged[f"{module}.bias"], wanted, atol=1e-6)


def test_kohya_names_and_norms_are_read(tmp_path: Path) -> None:
    down, up = matrices("blocks.1.attn2.to_k")
    norm, table = drawn((WIDTH,), 3), drawn((1, 6, WIDTH), 4)
    tensors = {
        "lora_unet_blocks_1_cross_attn_k.lora_down.weight": down,
        "lora_unet_blocks_1_cross_attn_k.lora_up.weight": up,
        "lora_unet_blocks_1_cross_attn_k.alpha": torch.tensor(4.0),
    }
    save_file(tensors, tmp_path / "kohya.safetensors")
    differences = {
        "diffusion_model.blocks.0.norm3.diff": norm,  # the norm before the prompt, norm2 here
        "diffusion_model.blocks.0.norm3.diff_b": norm.clone(),
        "diffusion_model.blocks.0.modulation.diff": table,
        "diffusion_model.blocks.0.self_attn.norm_q.diff": norm.clone(),
    }
    save_file(differences, tmp_path / "differences.safetensors")
    plain = parameters()
    merged = loaded(
        Lora(str(tmp_path / "kohya.safetensors")),
        Lora(str(tmp_path / "differences.safetensors"), scale=2.0),
    )
    name = "blocks.1.attn2.to_k.weight"
    assert torch.allclose(merged[name], plain[name] + 4 / RANK * up @ down, atol=1e-6)
    for name, difference in {
        "blocks.0.norm2.weight": norm,
        "blocks.0.norm2.bias": norm,
        "blocks.0.scale_shift_table": table,
        "blocks.0.attn1.norm_q.weight": norm,
    }.items():
        assert torch.allclose(merged[name], plain[name] + 2 * difference, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "factor"),
    [
        ({}, 1.0),
        ({"transformer.lora_alpha": 8, "transformer.r": RANK}, 8 / RANK),
        ({"transformer.lora_alpha": 8, "transformer.use_rslora": True}, 8 / RANK**0.5),
        ({"lora_alpha": 8, "alpha_pattern": {"attn1.to_q": 6}}, 6 / RANK),
    ],
)
def test_the_settings_of_peft_in_the_header_count(
    settings: dict[str, object], factor: float, tmp_path: Path
) -> None:
    down, up = matrices("blocks.0.attn1.to_q")
    head = "transformer.blocks.0.attn1.to_q"
    file = tmp_path / "peft.safetensors"
    save_file(
        {f"{head}.lora_A.weight": down, f"{head}.lora_B.weight": up},
        file,
        metadata={"lora_adapter_metadata": json.dumps(settings)},
    )
    name = "blocks.0.attn1.to_q.weight"
    loras = read_loras(config(Lora(str(file))), shapes())
    got = loras.merged(name, parameters()[name])
    assert torch.allclose(got, parameters()[name] + factor * up @ down, atol=1e-5)


def test_several_are_added_up_and_rounded_once(tmp_path: Path) -> None:
    files = [diffusers_file(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 40)]
    scales = (0.5, -1.25)
    loras = [Lora(str(f), scale=s) for f, s in zip(files, scales, strict=True)]
    merged = loaded(*loras, dtype="bfloat16")
    name, module = "blocks.0.attn1.to_q.weight", "blocks.0.attn1.to_q"
    wanted = parameters()[name]
    for seed, scale in zip((0, 40), scales, strict=True):
        down, up = matrices(module, seed)
        wanted = wanted + scale * 1.0 * (up @ down)
    assert merged[name].dtype == torch.bfloat16
    assert torch.equal(merged[name], wanted.to(torch.bfloat16))


def save(file: Path, **tensors: Tensor) -> Path:
    save_file({name.replace("__", "."): tensor for name, tensor in tensors.items()}, file)
    return file


HEAD = "transformer__blocks__0__attn1__to_q__"
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "another model": (
        lambda f: save(f, unet__down__lora_A__weight=torch.zeros(2, 2)),
        r"has no place in the model: unet.down.lora_A.weight; expected names such as .*0 to 1",
    ),
    "a block too many": (
        lambda f: save(f, transformer__blocks__7__attn1__to_q__lora_A__weight=torch.zeros(2, 24)),
        r"no place in the model: transformer.blocks.7.attn1.to_q.lora_A.weight",
    ),
    "dora": (
        lambda f: save(f, **{HEAD + "dora_scale": torch.zeros(24)}),
        "no place in the model: .*dora_scale",
    ),
    "empty": (lambda f: save_file({}, f), "holds no LoRA; expected names such as"),
    "half": (
        lambda f: save(f, **{HEAD + "lora_A__weight": torch.zeros(2, 24)}),
        "to_q.lora_A.weight without its other matrix",
    ),
    "down of another width": (
        lambda f: save(
            f,
            **{
                HEAD + "lora_A__weight": torch.zeros(2, 32),
                HEAD + "lora_B__weight": torch.zeros(24, 2),
            },
        ),
        r"lora_A.weight has the shape \[2, 32\] where the model asks for \[2, 24\]; .*14B",
    ),
    "up of another rank": (
        lambda f: save(
            f,
            **{
                HEAD + "lora_A__weight": torch.zeros(2, 24),
                HEAD + "lora_B__weight": torch.zeros(24, 3),
            },
        ),
        r"lora_B.weight has the shape \[24, 3\] where the model asks for \[24, 2\]",
    ),
    "bias of another width": (
        lambda f: save(f, diffusion_model__blocks__0__self_attn__q__diff_b=torch.zeros(5)),
        r"q.diff_b has the shape \[5\] where the model asks for \[24\]",
    ),
    "no safetensors": (lambda f: f.write_bytes(b"PK\x03\x04"), "truncated or not a safetensors"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_does_not_belong_is_refused_with_names(kind: str, tmp_path: Path) -> None:
    make, message = BROKEN[kind]
    file = tmp_path / "broken.safetensors"
    make(file)
    with pytest.raises(ModelError, match=message) as refused:
        read_loras(config(Lora(str(file))), shapes())
    assert refused.value.cure


def test_a_lora_is_found_by_file_folder_or_name(tmp_path: Path) -> None:
    file = diffusers_file(tmp_path / "style.safetensors")
    whole = identities(config(Lora(str(file))))
    assert identities(config(Lora(str(tmp_path)))) == whole
    assert identities(config(Lora(str(tmp_path), file="style.safetensors"))) == whole
    diffusers_file(tmp_path / "other.safetensors", seed=9)
    with pytest.raises(ModelError, match=r"holds 2 safetensors files: other.*name the one"):
        identities(config(Lora(str(tmp_path))))
    with pytest.raises(ModelError, match=r"has no third.safetensors; it holds other"):
        identities(config(Lora(str(tmp_path), file="third.safetensors")))
    (tmp_path / "style.pt").write_bytes(b"pickle")
    with pytest.raises(ModelError, match=r"expected a safetensors file, found style.pt"):
        identities(config(Lora(str(tmp_path / "style.pt"))))
    with pytest.raises(ModelError, match="there is no such file"):
        identities(config(Lora(str(tmp_path / "gone.safetensors"))))
    with pytest.raises(ModelError, match="nor a hub id"):
        identities(config(Lora("not a lora")))


def test_a_lora_that_cannot_be_fetched_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*args: object, **kwargs: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("offline and not in the cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ModelError, match=r"LoRA a/b at revision v1 can't be fetched .*offline"):
        read_loras(config(Lora("a/b", revision="v1")), shapes())


def test_identities_follow_content_and_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one, same = (diffusers_file(tmp_path / f"{n}.safetensors") for n in ("one", "same"))
    other = diffusers_file(tmp_path / "other.safetensors", seed=9)
    assert identities(config()) == ""
    first = identities(config(Lora(str(one))))
    assert first.startswith("lora sha256:") and identities(config(Lora(str(same)))) == first
    texts = {
        first,
        identities(config(Lora(str(one), scale=0.5))),
        identities(config(Lora(str(other)))),
        identities(config(Lora(str(one)), Lora(str(other)))),
        identities(config(Lora(str(other)), Lora(str(one)))),
    }
    assert len(texts) == 5
    assert identities(config(Lora("a/b", "c.safetensors", "v1"))) == (
        "lora a/b/c.safetensors@v1 x 1.0"
    )


@pytest.mark.parametrize("layout", ["diffusers", "wan"])
def test_what_is_fused_is_what_diffusers_fuses(layout: str, tmp_path: Path) -> None:
    from diffusers import SkyReelsV2Pipeline, SkyReelsV2Transformer3DModel

    file = diffusers_file(tmp_path / "style.safetensors")
    if layout == "wan":
        tensors = {}
        for i, (module, name) in enumerate(WAN.items()):
            down, up = matrices(module, 2 * i)
            tensors[f"diffusion_model.{name}.lora_A.weight"] = down
            tensors[f"diffusion_model.{name}.lora_B.weight"] = up
        save_file(tensors, file)
    model = SkyReelsV2Transformer3DModel.from_pretrained(tiny_models.folder() / "transformer")
    stock = SkyReelsV2Pipeline(None, None, model, tiny_models.components().vae, None)
    stock.load_lora_weights(str(tmp_path), weight_name=file.name, adapter_name="style")
    stock.set_adapters(["style"], [0.7])
    stock.fuse_lora(components=["transformer"], lora_scale=1.0)
    stock.unload_lora_weights()
    merged, fused = loaded(Lora(str(file), scale=0.7)), model.state_dict()
    assert fused.keys() == merged.keys()
    assert all(torch.allclose(merged[name], fused[name], atol=1e-6) for name in fused)
    assert not torch.equal(fused["proj_out.weight"], parameters()["proj_out.weight"])
