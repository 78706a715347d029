"""Random-weight full-sequence models of a few thousand parameters, as Diffusers folders.

Three families of weights: `text` (T2V), `image` (I2V) and `ends` (first and last frame).
"""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

import tiny_models

Weights = Literal["text", "image", "ends"]

IMAGE_DIM = 16
IMAGE_TOKENS = 5
"""Of CLIP's picture of 28x28: four patches and the whole."""

_PIPELINES = {
    "text": "SkyReelsV2Pipeline",
    "image": "SkyReelsV2ImageToVideoPipeline",
    "ends": "SkyReelsV2ImageToVideoPipeline",
}


@functools.cache
def transformer(weights: Weights) -> Any:
    """Shared, so leave the weights as they are."""
    import torch
    from diffusers import SkyReelsV2Transformer3DModel

    sees: dict[str, Any] = {}
    if weights != "text":
        sees = {"in_channels": 36, "image_dim": IMAGE_DIM, "added_kv_proj_dim": 24}
    if weights == "ends":
        sees["pos_embed_seq_len"] = 2 * IMAGE_TOKENS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = SkyReelsV2Transformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            text_dim=tiny_models.TEXT_DIM,
            freq_dim=32,
            ffn_dim=48,
            num_layers=2,
            **sees,
        )
        if weights == "ends":
            torch.nn.init.normal_(model.condition_embedder.image_embedder.pos_embed)
    return model.eval()


@functools.cache
def image_encoder(*, projects: bool = True) -> Any:
    """CLIP's vision half, with or without the projection that nobody reads."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=IMAGE_DIM,
        intermediate_size=32,
        projection_dim=8,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        hidden_act="gelu",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        if not projects:
            return CLIPVisionModel(config).eval()
        return CLIPVisionModelWithProjection(config).eval()


@functools.cache
def folder(weights: Weights) -> Path:
    """A Diffusers folder, made once per process; read only, please."""
    place = Path(_keep(tempfile.TemporaryDirectory(prefix="storyflow-tiny-")).name) / weights
    shutil.copytree(tiny_models.folder(), place)
    shutil.rmtree(place / "transformer")
    transformer(weights).save_pretrained(place / "transformer", safe_serialization=True)
    index = json.loads((place / "model_index.json").read_text())
    index["_class_name"] = _PIPELINES[weights]
    if weights != "text":
        image_encoder().save_pretrained(place / "image_encoder")
        index["image_encoder"] = ["transformers", "CLIPVisionModelWithProjection"]
    (place / "model_index.json").write_text(json.dumps(index))
    return place


def copy_folder(target: Path, weights: Weights) -> Path:
    """A copy of `folder(weights)` at `target`, to be damaged at will."""
    return Path(shutil.copytree(folder(weights), target))


_kept: list[Any] = []


def _keep(thing: Any) -> Any:
    """Hold a temporary folder until the process ends."""
    _kept.append(thing)
    return thing
