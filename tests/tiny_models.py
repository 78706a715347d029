"""Random-weight SkyReels-V2-DF models of a few thousand parameters, for tests.

Use `components()` where a model in memory is enough and `folder()` where a Diffusers folder is
wanted; `copy_folder()` gives one that may be damaged.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

TEXT_DIM = 24
WIDTH, HEIGHT = 48, 32
"""A picture of 6x4 latents, 3x2 tokens."""


@functools.cache
def components(seed: int = 0, inject_sample_info: bool = True) -> Any:
    """`storyflow.toybox.architecture.Components`; shared, so leave the weights as they are."""
    import torch
    from diffusers import AutoencoderKLWan, SkyReelsV2Transformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    from storyflow.toybox import architecture

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = SkyReelsV2Transformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            text_dim=TEXT_DIM,
            freq_dim=32,
            ffn_dim=48,
            num_layers=2,
            inject_sample_info=inject_sample_info,
        )
        vae = AutoencoderKLWan(
            base_dim=4,
            dim_mult=[1, 2, 2, 2],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
        )
        text_encoder = UMT5EncoderModel(
            UMT5Config(
                vocab_size=architecture.VOCABULARY,
                d_model=TEXT_DIM,
                d_kv=8,
                d_ff=32,
                num_layers=1,
                num_heads=2,
                dropout_rate=0.0,
                feed_forward_proj="gated-gelu",
                pad_token_id=0,
                eos_token_id=1,
            )
        )
    return architecture.Components(
        transformer=transformer.eval(),
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=architecture.tokenizer(),
        scheduler=architecture.scheduler(),
    )


@functools.cache
def folder(seed: int = 0) -> Path:
    """A Diffusers folder of `components(seed)`, made once per process; read only, please."""
    from storyflow.toybox import architecture

    place = Path(_keep(tempfile.TemporaryDirectory(prefix="storyflow-tiny-")).name) / "tiny"
    architecture.save(components(seed), place)
    return place


def copy_folder(target: Path, seed: int = 0) -> Path:
    """A copy of `folder(seed)` at `target`, to be damaged at will."""
    return Path(shutil.copytree(folder(seed), target))


_kept: list[Any] = []


def _keep(thing: Any) -> Any:
    """Hold a temporary folder until the process ends."""
    _kept.append(thing)
    return thing
