"""From a checked folder to a full-sequence model in memory, as `forcing/loading.py` does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, SkyReelsV2Transformer3DModel
from transformers import CLIPVisionModel, CLIPVisionModelWithProjection

from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.loading import (
    Part,
    device_of,
    frozen,
    load_transformer,
    load_vae,
    no_place,
    pretrained,
)
from storyflow.forcing.sequence.clip import ImageEncoder
from storyflow.forcing.sequence.segment import SequenceModel
from storyflow.forcing.weights.family import CLIP_TOKENS, SEQUENCE, shape_of
from storyflow.forcing.weights.fill import broken
from storyflow.forcing.weights.source import local_folder, locate, read_json

PARTS = ("transformer", "vae", "image_encoder")
"""What a renderer loads; text-to-video folders have no image encoder."""


def load_sequence(config: ForcingConfig) -> SequenceModel:
    """The networks of `config.model`, on its device. Raises ModelError."""
    folder = local_folder(locate(config.model, config.revision), PARTS, SEQUENCE)
    device = device_of(config)
    part = Part.of(SkyReelsV2Transformer3DModel, folder, "transformer")
    pictures = shape_of(part.module.config).image_tokens // CLIP_TOKENS
    transformer = load_transformer(config, part)
    encoder = None
    if pictures:
        encoder = ImageEncoder(_load_clip(folder / "image_encoder", config, device), device)
        if encoder.dim != transformer.image_dim:
            raise broken(
                folder / "image_encoder",
                f"it tells a picture in {encoder.dim} numbers a patch, the transformer reads "
                f"{transformer.image_dim}",
            )
    vae = load_vae(config, Part.of(AutoencoderKLWan, folder, "vae"))
    return SequenceModel(transformer, vae, encoder, pictures)


def _load_clip(place: Path, config: ForcingConfig, device: torch.device) -> Any:
    """The CLIPVisionModel at `place`, in main memory where the transformer's blocks are too."""
    named = read_json(place / "config.json").get("architectures") or []
    projects = CLIPVisionModelWithProjection.__name__ in named
    model_class = CLIPVisionModelWithProjection if projects else CLIPVisionModel
    model, extra = pretrained(model_class, place, getattr(torch, config.dtype))
    if extra:
        raise no_place(place, extra)
    home = torch.device("cpu") if config.offload == "blocks" else device
    return frozen(model.vision_model if projects else model, home)
