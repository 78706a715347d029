"""A work folder that begins with trained weights: training as a chain, each link from a committed
folder."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from storyflow.errors import ModelError
from storyflow.toybox import architecture
from storyflow.toybox.checkpoint import store
from storyflow.toybox.text_stage import Reader, TextPlan


def from_folder(folder: Path, work: Path) -> dict[str, Tensor]:
    """Write the checkpoints of finished code and text stages from a Diffusers folder into `work`,
    where there are none yet, the former with the trained decoder; returns the transformer's
    weights.

    Raises ModelError where the folder is no toybox; nothing is written then.
    """
    built = architecture.build(0)
    try:
        trained = architecture.load(folder)
        built.transformer.load_state_dict(trained.transformer.state_dict())
        built.vae.load_state_dict(trained.vae.state_dict())
        built.text_encoder.load_state_dict(trained.text_encoder.state_dict())
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        cure = "name a folder that this command wrote, or storyflow/toybox/weights"
        raise ModelError(f"no weights of a toybox in {folder}: {first}", cure=cure) from error
    if not (work / "vae.pt").exists():
        store(work / "vae.pt", 1, built.vae)
    if not (work / "text.pt").exists():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            reader = Reader(built.text_encoder)
        store(work / "text.pt", TextPlan().steps, reader)
    weights: dict[str, Tensor] = built.transformer.state_dict()
    return weights
