"""Training stage `code`: the VAE's encoder, in closed form (`codec.py`), and its decoder's start.

From then on the encoder is frozen, and the transformer's data can be made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from storyflow.toybox import architecture, codec
from storyflow.toybox.checkpoint import restore, store
from storyflow.toybox.pictures import Pool, importance, to_model
from storyflow.toybox.vae_stage import start_decoder

CLIPS = 600
FIGURES = 4.0
"""How often pixels near figures count."""
SEED = 1


def fit(work: Path, *, pool: Pool | None = None) -> Any:
    """Fit the encoder in `work`, or read it where it was fitted; returns the VAE."""
    vae = architecture.build(SEED).vae
    if restore(work / "vae.pt", vae):
        return vae
    clips = to_model((pool or Pool.draw(CLIPS, SEED)).clips[:, :8])
    start_decoder(vae, SEED)
    codec.fit_encoder(vae, clips, importance(clips, FIGURES))
    store(work / "vae.pt", 1, vae)
    return vae
