"""What is loaded, what is refused, and what the refusal says."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file

from storyflow.errors import ModelError, SegmentError
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.loading import load_model, load_text_encoder
from storyflow.forcing.text import UMT5TextEncoder, clean
from storyflow.forcing.weights.identity import identity
from storyflow.forcing.weights.source import TOYBOX_SHAPE, locate, transformer_shape

WEIGHTS = "diffusion_pytorch_model.safetensors"


def config(model: Path | str) -> ForcingConfig:
    return ForcingConfig(model=str(model), dtype="float32", window=33, overlap=9)


def edit_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def edit_weights(file: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def to_pickle(file: Path) -> None:
    file.with_suffix(".bin").write_bytes(pickle.dumps({"boom": 1}))
    file.unlink()


def reshape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["proj_out.weight"] = torch.zeros(3, 3)


def other_channels(folder: Path) -> None:
    torch_parts = tiny_models.components()
    settings = dict(torch_parts.vae.config)
    settings |= {"z_dim": 4, "latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}
    from diffusers import AutoencoderKLWan

    fields = {k: v for k, v in settings.items() if not k.startswith("_")}
    AutoencoderKLWan(**fields).save_pretrained(folder / "vae")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing folder": (shutil.rmtree, "there is no folder"),
    "empty folder": (empty, "no model_index.json; it holds nothing"),
    "no model_index": (
        lambda f: (f / "model_index.json").unlink(),
        "no model_index.json; it holds scheduler, text_encoder",
    ),
    "broken model_index": (
        lambda f: (f / "model_index.json").write_text("{"),
        "model_index.json can't be read as JSON",
    ),
    "list as model_index": (
        lambda f: (f / "model_index.json").write_text("[]"),
        "does not hold a JSON object",
    ),
    "text-to-video weights": (
        lambda f: edit_json(f / "model_index.json", _class_name="SkyReelsV2Pipeline"),
        "says SkyReelsV2Pipeline, expected SkyReelsV2DiffusionForcing.*DF",
    ),
    "Wan weights": (
        lambda f: edit_json(f / "model_index.json", _class_name="WanPipeline"),
        "another kind: model_index.json says WanPipeline",
    ),
    "no vae": (lambda f: shutil.rmtree(f / "vae"), "has no vae folder; it holds"),
    "no config": (lambda f: (f / "vae/config.json").unlink(), "vae has no config.json"),
    "another transformer": (
        lambda f: edit_json(f / "transformer/config.json", _class_name="WanTransformer3DModel"),
        "describes a WanTransformer3DModel, expected SkyReelsV2Transformer3DModel",
    ),
    "no weights": (lambda f: (f / "transformer" / WEIGHTS).unlink(), "holds no safetensors"),
    "pickle only": (
        lambda f: to_pickle(f / "transformer" / WEIGHTS),
        r"only as pickles \(diffusion_pytorch_model.bin\).*safetensors version",
    ),
    "truncated": (lambda f: truncate(f / "vae" / WEIGHTS), "is truncated or not a safetensors"),
    "not safetensors": (
        lambda f: (f / "vae" / WEIGHTS).write_bytes(b"hello, this is no header"),
        "is truncated or not a safetensors",
    ),
    "missing shard": (
        lambda f: (f / "transformer" / (WEIGHTS + ".index.json")).write_text(
            json.dumps({"weight_map": {"a": "one-of-two.safetensors"}})
        ),
        "lacks one-of-two.safetensors",
    ),
    "wrong shape": (
        lambda f: edit_weights(f / "transformer" / WEIGHTS, reshape),
        r"proj_out.weight has the shape \[3, 3\] where config.json asks for \[64, 24\]",
    ),
    "config of another size": (
        lambda f: edit_json(f / "transformer/config.json", num_layers=3),
        r"tensors are missing, the first is blocks\.2\.",
    ),
    "config of fewer layers": (
        lambda f: edit_json(f / "transformer/config.json", num_layers=1),
        r"no place for \d+ tensors such as blocks\.1\.",
    ),
    "shard outside the folder": (
        lambda f: (f / "transformer" / (WEIGHTS + ".index.json")).write_text(
            json.dumps({"weight_map": {"a": f"../vae/{WEIGHTS}"}})
        ),
        "lacks ../vae/",
    ),
    "index without files": (
        lambda f: (f / "transformer" / (WEIGHTS + ".index.json")).write_text("{}"),
        "names no weight files",
    ),
    "vae with other channels": (other_channels, "reads 16 channels, the VAE makes 4"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_folder_of_the_wrong_kind_is_refused(kind: str, tmp_path: Path) -> None:
    damage, message = DAMAGE[kind]
    folder = tiny_models.copy_folder(tmp_path / "model")
    damage(folder)
    with pytest.raises(ModelError, match=message) as refused:
        load_model(config(folder))
    assert refused.value.cure


def test_a_file_instead_of_a_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    with pytest.raises(ModelError, match=r"model.safetensors is a file.*Diffusers folder"):
        load_model(config(file))


@pytest.mark.parametrize("model", ["toy box", "a/b/c", "https://example.org/x", "modelname"])
def test_a_name_that_is_no_place_is_refused(model: str) -> None:
    with pytest.raises(ModelError, match=r"hub id .owner/name. or `toybox`"):
        load_model(config(model))


def test_a_hub_id_that_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*args: object, **kwargs: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("offline and not in the cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ModelError, match=r"nobody/nothing at revision v9 .*offline and not in"):
        load_model(ForcingConfig(model="nobody/nothing", revision="v9"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: shutil.rmtree(f / "tokenizer"), "has no tokenizer folder"),
        (lambda f: truncate(f / "text_encoder/model.safetensors"), "is truncated"),
        (lambda f: edit_json(f / "text_encoder/config.json", d_ff=64), "can't be loaded"),
        (lambda f: edit_json(f / "text_encoder/config.json", num_layers=2), "tensors are missing"),
        (lambda f: edit_json(f / "text_encoder/config.json", num_layers=0), "has no place for"),
        (
            lambda f: edit_json(f / "text_encoder/config.json", architectures=["CLIPTextModel"]),
            "describes a CLIPTextModel, expected UMT5EncoderModel",
        ),
    ],
)
def test_a_damaged_text_encoder_is_refused(
    damage: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    folder = tiny_models.copy_folder(tmp_path / "model")
    damage(folder)
    with pytest.raises(ModelError, match=message):
        load_text_encoder(config(folder))
    if "tokenizer" in message:
        load_model(config(folder))  # a renderer needs no tokenizer


@pytest.mark.parametrize("model", ["toybox", "folder"])
def test_half_precision_keeps_the_sensitive_parts_in_float32(model: str) -> None:
    name = model if model == "toybox" else str(tiny_models.folder())
    loaded = load_model(ForcingConfig(model=name))
    weights = loaded.transformer._model.state_dict()
    assert weights["blocks.0.attn1.to_q.weight"].dtype == torch.bfloat16
    assert weights["condition_embedder.time_embedder.linear_1.weight"].dtype == torch.float32
    assert weights["blocks.0.scale_shift_table"].dtype == torch.float32
    assert {w.dtype for w in loaded.vae._vae.state_dict().values()} == {torch.float32}


def test_loading_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for model in ("toybox", str(tiny_models.folder())):
        capfd.readouterr()
        load_model(config(model))
        load_text_encoder(config(model))
        assert capfd.readouterr() == ("", "")


def test_identity_follows_the_content_not_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one, two = (tiny_models.copy_folder(tmp_path / name) for name in ("one", "two"))
    first = identity(str(one))
    assert first.startswith("sha256:") and identity(str(two)) == first == identity(str(one))
    (two / "README.md").write_text("notes do not count")
    assert identity(str(two)) == first
    edit_weights(two / "vae" / WEIGHTS, lambda t: next(iter(t.values())).add_(1))
    assert identity(str(two)) != first


def test_identity_hashes_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from storyflow.forcing.weights import identity as module

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tiny_models.copy_folder(tmp_path / "model")
    first = identity(str(folder))
    monkeypatch.setattr(module, "_sha256", lambda file: pytest.fail(f"hashed {file} again"))
    assert identity(str(folder)) == first


@pytest.mark.parametrize("memory", ["{", "[]", '{"x": 1}'])
def test_a_damaged_identity_memory_only_costs_time(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = identity(str(tiny_models.folder()))
    (tmp_path / "storyflow" / "weights.json").write_text(memory)
    assert identity(str(tiny_models.folder())) == first


def test_identity_of_hub_ids_is_id_and_revision() -> None:
    assert identity("owner/name", "abc123") == "owner/name@abc123"
    assert identity("owner/name") == "owner/name@main"


def test_identity_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        identity(str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="holds no model"):
        identity(str(tmp_path))


def test_shapes_are_known_without_loading() -> None:
    from storyflow.toybox import architecture

    toy: dict[str, Any] = architecture.TRANSFORMER
    assert TOYBOX_SHAPE.width == toy["num_attention_heads"] * toy["attention_head_dim"]
    assert (TOYBOX_SHAPE.layers, TOYBOX_SHAPE.ffn, TOYBOX_SHAPE.text_dim) == (
        toy["num_layers"],
        toy["ffn_dim"],
        toy["text_dim"],
    )
    tiny = transformer_shape(str(tiny_models.folder()))
    assert (tiny.width, tiny.layers, tiny.ffn, tiny.text_dim) == (24, 2, 48, tiny_models.TEXT_DIM)
    assert transformer_shape("Skywork/SkyReels-V2-DF-14B-720P-Diffusers").layers == 40


def test_an_existing_folder_wins_over_a_hub_id_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate("owner/name").hub_id == "owner/name"
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert locate("owner/name").folder == Path("owner/name")


def test_prompts_are_encoded_as_the_stock_pipeline_does() -> None:
    from diffusers import SkyReelsV2DiffusionForcingPipeline

    parts = tiny_models.components()
    stock = SkyReelsV2DiffusionForcingPipeline(
        parts.tokenizer, parts.text_encoder, parts.transformer, parts.vae, parts.scheduler
    )
    encoder = UMT5TextEncoder(config(tiny_models.folder()))
    for text in ("a  red &amp; white swan\n left", ""):
        ours = encoder.encode(text)
        with torch.inference_mode():
            theirs, _ = stock.encode_prompt(
                text, do_classifier_free_guidance=False, max_sequence_length=512
            )
        padded = np.zeros((512, tiny_models.TEXT_DIM), np.float32)
        padded[: len(ours)] = ours
        assert ours.dtype == np.float32 and 0 < len(ours) < 512
        assert np.array_equal(padded, theirs[0].numpy())


def test_text_is_cleaned() -> None:
    assert clean("  a&amp;amp;b \n\tc\u2019s ") == "a&b c's"


def test_a_prompt_over_the_limit_is_refused_with_its_count() -> None:
    encoder = UMT5TextEncoder(config(tiny_models.folder()))
    assert len(encoder.encode("left " * 511)) == 512
    with pytest.raises(SegmentError, match=r"of 513 tokens .* reads, 512.*about 1 tokens"):
        encoder.encode("left " * 512)
