"""A work folder that begins with trained weights: training as a chain, each link from a committed
folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, SkyReelsV2Transformer3DModel
from torch import Tensor
from transformers import UMT5EncoderModel

from storyflow.toybox import architecture
from storyflow.toybox.checkpoint import store
from storyflow.toybox.text_stage import Reader, TextPlan
from storyflow.toybox.vae_stage import DecoderPlan, Painter


def from_folder(folder: Path, work: Path) -> dict[str, Tensor]:
    """Write the checkpoints of finished VAE and text stages from a Diffusers folder into `work`,
    where there are none yet; returns the transformer's weights.

    Raises OSError where the folder lacks a part.
    """
    built = architecture.build(0)

    def read(kind: Any, part: str) -> dict[str, Tensor]:
        trained = kind.from_pretrained(folder / part, torch_dtype=torch.float32)
        weights: dict[str, Tensor] = trained.state_dict()
        return weights

    if not (work / "vae.pt").exists():
        built.vae.load_state_dict(read(AutoencoderKLWan, "vae"))
        plan = DecoderPlan()
        store(work / "decoder.pt", plan.coarse + plan.steps, Painter(built.vae))
        store(work / "vae.pt", 1, built.vae)
    if not (work / "text.pt").exists():
        built.text_encoder.load_state_dict(read(UMT5EncoderModel, "text_encoder"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            reader = Reader(built.text_encoder)
        store(work / "text.pt", TextPlan().steps, reader)
    return read(SkyReelsV2Transformer3DModel, "transformer")
