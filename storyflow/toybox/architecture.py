"""The toy model's five components: the real classes of a SkyReels-V2-DF folder, made small.

`build` gives them seeded random weights, `save` writes them as a Diffusers folder that
`SkyReelsV2DiffusionForcingPipeline.from_pretrained` loads. The lattice is the real one: 16 latent
channels, 4 frames and 8x8 pixels per latent, windows of up to 25 latents.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    SkyReelsV2Transformer3DModel,
    UniPCMultistepScheduler,
)
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from storyflow.toybox.words import WORDS

WIDTH, HEIGHT, FPS = 96, 64, 24
CHANNELS = 16
TEXT_DIM = 128
VOCABULARY = 1024
TEXT_TOKENS = 512
"""The tokenizer's limit, as umT5's in the real pipeline."""

FLOW_SHIFT = 8.0

_MARKS = Regex("[^a-z0-9. ]")

TRANSFORMER = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 8,
    "attention_head_dim": 32,
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "text_dim": TEXT_DIM,
    "freq_dim": 256,
    "ffn_dim": 1024,
    "num_layers": 6,
    "inject_sample_info": True,
}
VAE = {
    "base_dim": 128,
    "decoder_base_dim": 32,
    "z_dim": CHANNELS,
    "dim_mult": [1, 1, 1, 1],
    "num_res_blocks": 0,
    "temperal_downsample": [False, True, True],
    "latents_mean": [0.0] * CHANNELS,
    "latents_std": [1.0] * CHANNELS,
}


@dataclass(frozen=True)
class Components:
    """What a SkyReels-V2-DF folder holds, in memory, in float32 and in evaluation mode."""

    transformer: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any


def build(seed: int = 0) -> Components:
    """All five components with random weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = SkyReelsV2Transformer3DModel(**TRANSFORMER)
        vae = AutoencoderKLWan(**VAE)
        text_encoder = UMT5EncoderModel(
            UMT5Config(
                vocab_size=VOCABULARY,
                d_model=TEXT_DIM,
                d_kv=32,
                d_ff=256,
                num_layers=2,
                num_heads=4,
                dropout_rate=0.0,
                feed_forward_proj="gated-gelu",
                pad_token_id=0,
                eos_token_id=1,
            )
        )
    return Components(
        transformer=transformer.eval(),
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer(),
        scheduler=scheduler(),
    )


def scheduler(shift: float = FLOW_SHIFT) -> Any:
    """UniPC, order 2, bh2, flow prediction: the settings of the SkyReels-V2-DF folders."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        num_train_timesteps=1000,
        flow_shift=shift,
    )


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per known word, lower case; `<unk>` for others, `</s>` last, padded with `<pad>`.

    Marks that only join words ("slow-moving") or end sentences are dropped, except the full stop.
    """
    names = ["<pad>", "</s>", "<unk>", *WORDS]
    if len(names) > VOCABULARY or len(set(names)) != len(names):
        raise ValueError(f"{len(names)} words for {VOCABULARY} places, or a word stands twice")
    core = Tokenizer(
        models.WordLevel({name: place for place, name in enumerate(names)}, unk_token="<unk>")
    )
    core.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(_MARKS, " "),
        ]
    )
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    core.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=TEXT_TOKENS,
        padding_side="right",
        truncation_side="right",
    )


def save(components: Components, folder: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write a Diffusers folder with safetensors, in `dtype` where one is given.

    The components themselves keep their dtype.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("transformer", "vae", "text_encoder"):
        model = getattr(components, name)
        if dtype is not None:
            model = copy.deepcopy(model).to(dtype)
        model.save_pretrained(folder / name, safe_serialization=True)
    components.tokenizer.save_pretrained(folder / "tokenizer")
    components.scheduler.save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "SkyReelsV2DiffusionForcingPipeline",
        "_diffusers_version": "0.42.1",
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "transformer": ["diffusers", "SkyReelsV2Transformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLWan"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> Components:
    """The components of a folder that `save` wrote, in float32, from local files only."""
    local = {"local_files_only": True, "torch_dtype": torch.float32}
    return Components(
        transformer=SkyReelsV2Transformer3DModel.from_pretrained(
            folder, subfolder="transformer", use_safetensors=True, **local
        ).eval(),
        vae=AutoencoderKLWan.from_pretrained(
            folder, subfolder="vae", use_safetensors=True, **local
        ).eval(),
        text_encoder=UMT5EncoderModel.from_pretrained(
            folder / "text_encoder", local_files_only=True, dtype=torch.float32
        ).eval(),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(
            folder / "tokenizer", local_files_only=True
        ),
        scheduler=UniPCMultistepScheduler.from_pretrained(folder, subfolder="scheduler"),
    )
