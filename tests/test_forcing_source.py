"""Weights of one family in the place of another: what is refused, before anything is loaded."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import tiny_sequences

from storyflow.errors import ModelError
from storyflow.forcing.lattice import forward_flops
from storyflow.forcing.weights.family import (
    FORCING,
    IMAGE,
    RELEASED,
    SEQUENCE,
    TEXT,
    Family,
    family_of,
)
from storyflow.forcing.weights.source import (
    RENDERER_PARTS,
    TEXT_PARTS,
    check_folder,
    checkpoint,
    local_folder,
    locate,
)

WEIGHTS = "diffusion_pytorch_model.safetensors"
PARTS = (*RENDERER_PARTS, "image_encoder")
DF = (FORCING,)

Weights = str
"""`forcing`, or a tiny full-sequence model: `text`, `image` or `ends`."""


def copy(weights: Weights, target: Path) -> Path:
    if weights == "forcing":
        return tiny_models.copy_folder(target)
    return tiny_sequences.copy_folder(target, weights)  # type: ignore[arg-type]


def edit(name: str, **changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change


def named(pipeline: str) -> Callable[[Path], None]:
    return edit("model_index.json", _class_name=pipeline)


def nothing(folder: Path) -> None:
    """Leave it as it is."""


def original_layout(folder: Path) -> None:
    """As the authors publish it: weights and a VAE side by side."""
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "Wan2.1_VAE.pth").write_bytes(b"")
    (folder / "config.json").write_text('{"_class_name": "WanModel", "model_type": "t2v"}')
    (folder / "model-00001-of-00012.safetensors").write_bytes(b"")


def to_pickle(part: str, name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / part / name
        file.with_suffix(".bin").write_bytes(pickle.dumps({"boom": 1}))
        file.unlink()

    return change


def remove(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        place = folder / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()

    return change


DF_CURE = r"use weights for diffusion forcing \(DF\), such as Skywork/SkyReels-V2-DF-"
SEQUENCE_CURE = r"use weights for text to video \(T2V\) or image to video \(I2V\), such as Skywork/"

WRONG: dict[str, tuple[Weights, Callable[[Path], Any], tuple[Family, ...], str]] = {
    "T2V weights for DF": (
        "text",
        nothing,
        DF,
        "says SkyReelsV2Pipeline, expected SkyReelsV2DiffusionForcing.*; "
        rf"set model.kind to skyreels-v2 for text to video \(T2V\), or {DF_CURE}",
    ),
    "I2V weights for DF": (
        "image",
        nothing,
        DF,
        "says SkyReelsV2ImageToVideoPipeline, expected SkyReelsV2DiffusionForcing.*; "
        rf"set model.kind to skyreels-v2 for image to video \(I2V\), or {DF_CURE}",
    ),
    "DF weights for full sequence": (
        "forcing",
        nothing,
        SEQUENCE,
        "says SkyReelsV2DiffusionForcingPipeline, expected SkyReelsV2Pipeline or "
        "SkyReelsV2ImageToVideoPipeline; set model.kind to skyreels-v2-df for diffusion forcing "
        rf"\(DF\), or {SEQUENCE_CURE}",
    ),
    "Wan 2.1 for DF": ("forcing", named("WanPipeline"), DF, f"says WanPipeline, .*; {DF_CURE}"),
    "Wan 2.1 for full sequence": (
        "text",
        named("WanPipeline"),
        SEQUENCE,
        f"another kind: model_index.json says WanPipeline, .*; {SEQUENCE_CURE}",
    ),
    "Wan 2.1 I2V for full sequence": (
        "image",
        named("WanImageToVideoPipeline"),
        SEQUENCE,
        "another kind: model_index.json says WanImageToVideoPipeline",
    ),
    "I2V transformer called DF": (
        "image",
        named("SkyReelsV2DiffusionForcingPipeline"),
        DF,
        r"config.json describes a transformer that reads 36 channels and predicts 16; weights for "
        r"diffusion forcing \(DF\) read 16",
    ),
    "I2V transformer called T2V": (
        "image",
        named("SkyReelsV2Pipeline"),
        SEQUENCE,
        r"reads 36 channels and predicts 16; weights for text to video \(T2V\) read 16",
    ),
    "T2V transformer called I2V": (
        "text",
        named("SkyReelsV2ImageToVideoPipeline"),
        SEQUENCE,
        r"reads 16 channels and predicts 16; weights for image to video \(I2V\) read 36",
    ),
    "DF transformer called T2V": (
        "forcing",
        named("SkyReelsV2Pipeline"),
        SEQUENCE,
        "reads the frame rate, as only diffusion forcing",
    ),
    "I2V transformer without CLIP": (
        "image",
        edit("transformer/config.json", image_dim=None, added_kv_proj_dim=None),
        SEQUENCE,
        "lacks layers for CLIP's embedding of a picture",
    ),
    "T2V transformer with CLIP": (
        "text",
        edit("transformer/config.json", image_dim=16, added_kv_proj_dim=24),
        SEQUENCE,
        "has layers for CLIP's embedding of a picture, unlike text to video",
    ),
    "transformer without sizes": (
        "text",
        edit("transformer/config.json", num_layers=None, num_attention_heads="many"),
        SEQUENCE,
        "does not describe a transformer",
    ),
    "no transformer": (
        "text",
        remove("transformer"),
        SEQUENCE,
        r"has no transformer.*; it holds model_index.json.*expected a whole Diffusers folder",
    ),
    "no model_index": ("image", remove("model_index.json"), SEQUENCE, "has no model_index.json"),
    "original layout for DF": (
        "forcing",
        original_layout,
        DF,
        "is not in Diffusers' layout: no model_index.json; it holds Wan2.1_VAE.pth",
    ),
    "original layout for full sequence": (
        "text",
        original_layout,
        SEQUENCE,
        "is not in Diffusers' layout.*SkyReels-V2-T2V-14B-540P-Diffusers",
    ),
    "no folder": ("text", shutil.rmtree, SEQUENCE, r"no folder .*T2V"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_weights_of_another_family_are_refused_before_anything_is_loaded(
    kind: str, tmp_path: Path
) -> None:
    weights, change, families, message = WRONG[kind]
    folder = copy(weights, tmp_path / "model")
    change(folder)
    for ask in (
        lambda: checkpoint(str(folder), None, families),
        lambda: local_folder(locate(str(folder)), PARTS, families),
    ):
        with pytest.raises(ModelError, match=message):
            ask()


BROKEN: dict[str, tuple[Weights, Callable[[Path], Any], str]] = {
    "no VAE": ("text", remove("vae"), "has no vae folder"),
    "no image encoder": ("image", remove("image_encoder"), "has no image_encoder folder"),
    "no weights": ("text", remove(f"transformer/{WEIGHTS}"), "holds no safetensors weights"),
    "transformer as a pickle": (
        "image",
        to_pickle("transformer", WEIGHTS),
        r"only as pickles \(diffusion_pytorch_model.bin\).*safetensors",
    ),
    "image encoder as a pickle": (
        "image",
        to_pickle("image_encoder", "model.safetensors"),
        r"only as pickles \(model.bin\).*safetensors",
    ),
    "VAE of Wan 2.2": (
        "text",
        edit("vae/config.json", z_dim=48, patch_size=2, is_residual=True),
        "does not make 4 frames of 8x8 pixels into one latent, as the Wan 2.1 VAE does",
    ),
    "VAE with other strides": (
        "text",
        edit("vae/config.json", temperal_downsample=[True, True, True]),
        "does not make 4 frames of 8x8 pixels",
    ),
    "VAE with other channels": (
        "image",
        edit("vae/config.json", z_dim=4),
        "the transformer reads 16 channels, the VAE makes 4; use the Wan 2.1 VAE",
    ),
    "another VAE": (
        "text",
        edit("vae/config.json", _class_name="AutoencoderKL"),
        "describes a AutoencoderKL, expected AutoencoderKLWan",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_folder_with_parts_missing_or_wrong_is_refused(kind: str, tmp_path: Path) -> None:
    weights, change, message = BROKEN[kind]
    folder = copy(weights, tmp_path / "model")
    change(folder)
    with pytest.raises(ModelError, match=message) as refused:
        check_folder(folder, PARTS, SEQUENCE)
    assert refused.value.cure


def test_a_single_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "skyreels.safetensors"
    file.write_bytes(b"")
    for families in (DF, SEQUENCE):
        with pytest.raises(ModelError, match=r"skyreels.safetensors is a file"):
            checkpoint(str(file), None, families)


@pytest.mark.parametrize(
    ("weights", "family", "channels", "tokens"),
    [("forcing", FORCING, 16, 0), ("text", TEXT, 16, 0), ("image", IMAGE, 36, 257)],
)
def test_a_whole_folder_tells_what_it_is(
    weights: Weights, family: Family, channels: int, tokens: int
) -> None:
    folder = tiny_models.folder() if weights == "forcing" else tiny_sequences.folder(weights)  # type: ignore[arg-type]
    found = checkpoint(str(folder))
    assert found.family is family
    assert (found.shape.channels, found.shape.out_channels) == (channels, 16)
    assert (found.shape.width, found.shape.layers, found.shape.image_tokens) == (24, 2, tokens)
    assert local_folder(locate(str(folder)), PARTS, (family,)) == folder
    check_folder(folder, TEXT_PARTS)  # the text half is the same in all


def test_weights_for_first_and_last_frame_read_two_pictures() -> None:
    assert checkpoint(str(tiny_sequences.folder("ends"))).shape.image_tokens == 2 * 257


def test_released_checkpoints_are_known_without_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: pytest.fail("asked"))
    for name, (family, shape) in RELEASED.items():
        assert checkpoint(name, "main", (family,)).shape == shape
        others = tuple(f for f in (FORCING, TEXT, IMAGE) if f is not family)
        with pytest.raises(ModelError, match="holds weights for") as refused:
            checkpoint(name, None, others)
        assert family.kind in refused.value.cure
        size = "14B" if "14B" in name else "1.3B"
        assert (shape.width, shape.layers) == {"1.3B": (1536, 30), "14B": (5120, 40)}[size]
        assert family is {"DF": FORCING, "T2V": TEXT, "I2V": IMAGE}[name.split("-")[2]]


@pytest.mark.parametrize("name", ["DF-14B-540P", "I2V-14B-720P"])
def test_the_authors_own_layout_is_answered_with_the_right_name(name: str) -> None:
    with pytest.raises(ModelError, match=rf"original layout.*use Skywork/SkyReels-V2-{name}-Diff"):
        checkpoint(f"Skywork/SkyReels-V2-{name}")


def test_another_hub_id_is_asked_for_two_small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[tuple[str, str | None, list[str]]] = []

    def download(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, allow_patterns))
        return str(tiny_sequences.folder("image"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert checkpoint("me/mine", "v2").family is IMAGE
    assert asked == [("me/mine", "v2", ["model_index.json", "transformer/config.json"])]
    with pytest.raises(ModelError, match="another kind"):
        checkpoint("me/mine", "v2", DF)
    asked.clear()
    local_folder(locate("me/mine", "v2"), PARTS, SEQUENCE)
    assert asked[0][:2] == ("me/mine", "v2")
    assert {p.split("/")[0] for p in asked[0][2]} == {"model_index.json", *PARTS}
    assert not any(p.endswith((".bin", ".pth", "*")) for p in asked[0][2])


def test_pipeline_classes_name_families() -> None:
    for name in ("", "ImageToVideo", "VideoToVideo"):
        assert family_of(f"SkyReelsV2DiffusionForcing{name}Pipeline") is FORCING
    assert family_of("SkyReelsV2Pipeline") is TEXT
    assert family_of("SkyReelsV2ImageToVideoPipeline") is IMAGE
    assert family_of("SkyReelsV3Pipeline") is family_of("nothing") is None


def test_pictures_cost_little() -> None:
    text, image = (
        RELEASED[f"Skywork/SkyReels-V2-{name}-14B-540P-Diffusers"][1] for name in ("T2V", "I2V")
    )
    plain, seeing = (forward_flops(97, 960, 544, shape) for shape in (text, image))
    assert 1.001 < seeing / plain < 1.02
