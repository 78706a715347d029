"""A model with random or trained weights, rendered by stock diffusers and by storyflow.

Both read the same modules, prompts and noise. Needs torch, diffusers, transformers, numpy and
safetensors, nothing else.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKLWan,
    SkyReelsV2DiffusionForcingPipeline,
    SkyReelsV2Transformer3DModel,
    UniPCMultistepScheduler,
)
from numpy.typing import NDArray
from torch import Tensor

from storyflow.forcing.conditions import Conditions
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.cpu import quicken
from storyflow.forcing.lattice import TransformerShape, latent_frames
from storyflow.forcing.segment import decoded, denoise
from storyflow.forcing.transformer import LeanTransformer
from storyflow.forcing.vae import StreamingVAE

SEED = 7
TOYBOX = Path(__file__).parents[2] / "storyflow" / "toybox" / "weights"

SMALL = TransformerShape(width=1536, layers=30, ffn=8960)
LARGE = TransformerShape(width=5120, layers=40, ffn=13824)
MIDDLE = TransformerShape(width=512, layers=6, ffn=2048, text_dim=256, head_dim=64)


class SameNoise:
    """Start noise as the stock pipeline draws it: from one CPU generator."""

    def __init__(self, seed: int = SEED) -> None:
        self._generator = torch.Generator("cpu").manual_seed(seed)

    def initial(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._generator)

    history = consistency = initial


@dataclass
class Pair:
    """One model in two hands. `vae` is None where only latents are compared."""

    transformer: Any
    vae: Any
    prompts: tuple[Tensor, Tensor]
    width: int
    height: int
    frames: int

    @property
    def device(self) -> torch.device:
        device: torch.device = self.transformer.patch_embedding.weight.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.transformer.patch_embedding.weight.dtype
        return dtype

    def config(self, **changed: Any) -> ForcingConfig:
        """Settings under which stock is right: its own sigmas, its solver's aliasing error."""
        settings: dict[str, Any] = {
            "model": "here",
            "dtype": str(self.dtype).removeprefix("torch."),
            "window": max(self.frames, 37),
            "steps": 10,
            "guidance": 6.0,
            "sigmas": "diffusers",
            "history": "latents",
            "history_noise": 0,
            "solver_aliasing": True,
        }
        return ForcingConfig(**{**settings, **changed})

    def stock(self, config: ForcingConfig, *, decode: bool = False) -> Any:
        """Latents [1, c, f, h, w], or frames float [n, height, width, 3] in [0, 1]."""
        pipeline = SkyReelsV2DiffusionForcingPipeline(
            tokenizer=None,
            text_encoder=None,
            transformer=self.transformer,
            vae=self.vae if decode else None,
            scheduler=UniPCMultistepScheduler(
                prediction_type="flow_prediction",
                use_flow_sigmas=True,
                num_train_timesteps=1000,
                flow_shift=config.shift,
            ),
        )
        pipeline.set_progress_bar_config(disable=True)
        with torch.no_grad():
            made = pipeline(
                prompt=None,
                prompt_embeds=self.prompts[0],
                negative_prompt_embeds=self.prompts[1],
                height=self.height,
                width=self.width,
                num_frames=self.frames,
                base_num_frames=self.frames,
                num_inference_steps=config.steps,
                guidance_scale=config.guidance,
                fps=24,
                generator=torch.Generator("cpu").manual_seed(SEED),
                output_type="np" if decode else "latent",
            ).frames
        return made[0] if decode else made

    def ours(
        self,
        config: ForcingConfig,
        lean: LeanTransformer | None = None,
        vae: StreamingVAE | None = None,
    ) -> Any:
        """As `stock`; frames are uint8. `vae` decodes where one is given."""
        lean = lean or LeanTransformer(self.transformer, Fraction(24))
        with torch.inference_mode():
            count = 2 if config.guided else 1
            prompts = [lean.read_prompt(text) for text in self.prompts[:count]]
            h, w = self.height // 8, self.width // 8
            none = torch.zeros(1, 16, 0, h, w, device=self.device)
            latents = denoise(
                lean,
                config,
                Conditions(none, none, 0),
                latent_frames(self.frames),
                prompts,
                SameNoise(),
                lambda done, of: None,
            )
            if vae is None:
                return latents
            return np.concatenate(list(decoded(vae, latents)))


def random_transformer(
    shape: TransformerShape,
    dtype: torch.dtype,
    device: str,
    *,
    layers: int | None = None,
    sample_info: bool = False,
) -> Any:
    """Seeded random weights made in their final dtype on their device, norms in float32."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = SkyReelsV2Transformer3DModel(
                num_attention_heads=shape.width // shape.head_dim,
                attention_head_dim=shape.head_dim,
                num_layers=layers or shape.layers,
                ffn_dim=shape.ffn,
                text_dim=shape.text_dim,
                in_channels=shape.channels,
                inject_sample_info=sample_info,
            )
    finally:
        torch.set_default_dtype(before)
    for name, parameter in model.named_parameters():
        if any(part in model._keep_in_fp32_modules for part in name.split(".")):
            parameter.data = parameter.data.float()
    return model.eval().requires_grad_(False)


def random_pair(
    shape: TransformerShape,
    size: tuple[int, int],
    frames: int,
    dtype: torch.dtype,
    device: str = "cpu",
    **rest: Any,
) -> Pair:
    """A pair without a VAE."""
    model = random_transformer(shape, dtype, device, **rest)
    generator = torch.Generator().manual_seed(1)
    texts = [
        torch.randn(1, 512, shape.text_dim, generator=generator).to(device, dtype) for _ in range(2)
    ]
    return Pair(model, None, (texts[0], texts[1]), *size, frames)


def toybox_pair(frames: int = 97) -> Pair:
    """The shipped toybox, with its VAE, reading random prompts."""
    model = SkyReelsV2Transformer3DModel.from_pretrained(
        TOYBOX, subfolder="transformer", torch_dtype=torch.float32
    )
    vae = AutoencoderKLWan.from_pretrained(TOYBOX, subfolder="vae", torch_dtype=torch.float32)
    generator = torch.Generator().manual_seed(1)
    texts = [torch.randn(1, 512, model.config.text_dim, generator=generator) for _ in range(2)]
    for module in (model, vae):
        module.eval().requires_grad_(False)
    return Pair(model, vae, (texts[0], texts[1]), 96, 64, frames)


def quick_vae(pair: Pair) -> StreamingVAE:
    """As storyflow loads it on a CPU; stock keeps its own."""
    vae = copy.deepcopy(pair.vae)
    quicken(vae)
    return StreamingVAE(vae)


def distance(one: Any, other: Any) -> tuple[float, float]:
    """Largest difference, and root mean square difference by root mean square, of two outputs."""
    a, b = (_numbers(x) for x in (one, other))
    return float(np.abs(a - b).max()), float(np.sqrt(((a - b) ** 2).mean() / (b**2).mean()))


def _numbers(x: Any) -> NDArray[np.float64]:
    array = x.float().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)
    return array.astype(np.float64) / (255 if array.dtype == np.uint8 else 1)


@contextlib.contextmanager
def fused_on_meta() -> Iterator[None]:
    """On the meta device attention and norms take what a graphics card's fused kernels take."""
    functional = torch.nn.functional
    attention, norm = functional.scaled_dot_product_attention, functional.rms_norm

    def attend(query: Tensor, key: Tensor, value: Tensor, **rest: Any) -> Tensor:
        if query.device.type != "meta":
            return attention(query, key, value, **rest)
        b, heads, n, width = query.shape
        return query.new_empty(b, n, heads, width).transpose(1, 2)

    def normalise(x: Tensor, *rest: Any) -> Tensor:
        return torch.empty_like(x) if x.device.type == "meta" else norm(x, *rest)

    functional.scaled_dot_product_attention, functional.rms_norm = attend, normalise
    try:
        yield
    finally:
        functional.scaled_dot_product_attention, functional.rms_norm = attention, norm


def stock_pass(pair: Pair, latents: Tensor, timesteps: Tensor) -> list[Tensor]:
    """Both passes of guidance through the stock model, one after the other."""
    extra = {"fps": [1]} if pair.transformer.config.inject_sample_info else {}
    return [
        pair.transformer(
            hidden_states=latents,
            timestep=timesteps,
            encoder_hidden_states=text,
            enable_diffusion_forcing=True,
            return_dict=False,
            **extra,
        )[0]
        for text in pair.prompts
    ]


def two_deep(shape: TransformerShape) -> TransformerShape:
    """The same with two blocks: what a block holds does not add up over blocks."""
    return replace(shape, layers=2)
