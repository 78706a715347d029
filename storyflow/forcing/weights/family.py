"""The families of SkyReels-V2 weights, and how the files of a Diffusers folder tell them apart.

Pure: reads no files and imports no torch. `source` finds the files and asks here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from storyflow.forcing.lattice import TransformerShape

MASK_CHANNELS = 4
"""Of an image-to-video transformer's input: which frames of a latent are given, one each."""

CLIP_TOKENS = 257
"""Of one picture, as CLIP ViT-H/14 sees it: 16x16 patches and one for the whole."""


@dataclass(frozen=True)
class Family:
    """Weights that were trained for one way of rendering.

    `kind` is the model kind that renders them, `pipeline` how the class in model_index.json begins
    (exactly that, where `exact`). A family that reads `pictures` takes noise, a mask and the
    pictures' latents as one input. `example` is the hub id that messages name.
    """

    name: str
    kind: str
    pipeline: str
    example: str
    exact: bool = True
    pictures: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders that a renderer loads."""
        return ("transformer", "vae", *(("image_encoder",) if self.pictures else ()))

    def claims(self, pipeline: str) -> bool:
        """Whether model_index.json with this class means this family."""
        return pipeline == self.pipeline or (not self.exact and pipeline.startswith(self.pipeline))


FORCING = Family(
    "diffusion forcing (DF)",
    "skyreels-v2-df",
    "SkyReelsV2DiffusionForcing",
    "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers",
    exact=False,
)
"""One class each for text, image and video to video, over the same weights."""

TEXT = Family(
    "text to video (T2V)",
    "skyreels-v2",
    "SkyReelsV2Pipeline",
    "Skywork/SkyReels-V2-T2V-14B-540P-Diffusers",
)
IMAGE = Family(
    "image to video (I2V)",
    "skyreels-v2",
    "SkyReelsV2ImageToVideoPipeline",
    "Skywork/SkyReels-V2-I2V-1.3B-540P-Diffusers",
    pictures=True,
)

FAMILIES = (FORCING, TEXT, IMAGE)
SEQUENCE = (TEXT, IMAGE)
"""The families that render a shot as one whole window."""

_SMALL = TransformerShape(width=1536, layers=30, ffn=8960)
_LARGE = TransformerShape(width=5120, layers=40, ffn=13824)
_SEES = {"channels": 36, "image_dim": 1280, "image_tokens": CLIP_TOKENS}

RELEASED: dict[str, tuple[Family, TransformerShape]] = {
    "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers": (FORCING, _SMALL),
    "Skywork/SkyReels-V2-DF-14B-540P-Diffusers": (FORCING, _LARGE),
    "Skywork/SkyReels-V2-DF-14B-720P-Diffusers": (FORCING, _LARGE),
    "Skywork/SkyReels-V2-T2V-14B-540P-Diffusers": (TEXT, _LARGE),
    "Skywork/SkyReels-V2-T2V-14B-720P-Diffusers": (TEXT, _LARGE),
    "Skywork/SkyReels-V2-I2V-1.3B-540P-Diffusers": (IMAGE, replace(_SMALL, **_SEES)),
    "Skywork/SkyReels-V2-I2V-14B-540P-Diffusers": (IMAGE, replace(_LARGE, **_SEES)),
    "Skywork/SkyReels-V2-I2V-14B-720P-Diffusers": (IMAGE, replace(_LARGE, **_SEES)),
}
"""Every released checkpoint in Diffusers' layout."""


def family_of(pipeline: str) -> Family | None:
    """The family that model_index.json names, None for other models."""
    return next((family for family in FAMILIES if family.claims(pipeline)), None)


def names(families: tuple[Family, ...]) -> str:
    """`text to video (T2V) or image to video (I2V)`."""
    return " or ".join(family.name for family in families)


def shape_of(config: Mapping[str, Any]) -> TransformerShape:
    """The sizes in a transformer's config.json. Raises KeyError or TypeError where they lack."""
    pictures = 0 if config.get("image_dim") is None else 1
    if config.get("pos_embed_seq_len") is not None:
        pictures = 2  # only weights for first and last frame tell two pictures apart
    return TransformerShape(
        width=_count(config, "num_attention_heads") * _count(config, "attention_head_dim"),
        layers=_count(config, "num_layers"),
        ffn=_count(config, "ffn_dim"),
        text_dim=_count(config, "text_dim"),
        channels=_count(config, "in_channels"),
        out_channels=config.get("out_channels") or _count(config, "in_channels"),
        image_dim=config.get("image_dim") or 0,
        image_tokens=pictures * CLIP_TOKENS,
        head_dim=_count(config, "attention_head_dim"),
    )


def _count(config: Mapping[str, Any], name: str) -> int:
    value = config[name]
    if not isinstance(value, int) or value < 1:
        raise TypeError(f"{name} is {value!r}")
    return value


def transformer_fault(config: Mapping[str, Any], family: Family) -> str | None:
    """What a transformer's config.json has that weights of `family` have not; None if it fits.

    DF and T2V weights of one size have the same shape: there only model_index.json tells.
    """
    shape = shape_of(config)
    latent = shape.out_channels
    wanted = 2 * latent + MASK_CHANNELS if family.pictures else latent
    if shape.channels != wanted:
        return (
            f"reads {shape.channels} channels and predicts {latent}; weights for {family.name} "
            f"read {wanted}"
        )
    sees = shape.image_dim > 0 and config.get("added_kv_proj_dim") is not None
    if sees != family.pictures:
        has = "has" if shape.image_dim or config.get("added_kv_proj_dim") else "lacks"
        return f"{has} layers for CLIP's embedding of a picture, unlike {family.name}"
    if family is not FORCING and config.get("inject_sample_info"):
        return f"reads the frame rate, as only {FORCING.name} does"
    return None


def vae_fault(config: Mapping[str, Any], latent_channels: int) -> str | None:
    """Why a VAE's config.json is not that of Wan 2.1's, which all families use; None if it is."""
    halvings = list(config.get("temperal_downsample", (False, True, True)))
    if (
        (len(halvings), halvings.count(True)) != (3, 2)
        or config.get("patch_size")
        or config.get("is_residual")
    ):
        return "does not make 4 frames of 8x8 pixels into one latent, as the Wan 2.1 VAE does"
    made = config.get("z_dim", 16)
    if made != latent_channels:
        return (
            f"does not fit: the transformer reads {latent_channels} channels, the VAE makes {made}"
        )
    return None
