"""From a checked folder to modules in memory.

Modules are made on the meta device and filled from memory-mapped safetensors in their final dtype,
so no second copy of the weights ever exists. Nothing is unpickled and no code is fetched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, SkyReelsV2Transformer3DModel
from transformers import AutoTokenizer, UMT5EncoderModel
from transformers.utils import logging as bars

from storyflow.errors import ModelError
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.cpu import quicken
from storyflow.forcing.identity import TOYBOX_SEED
from storyflow.forcing.segment import Model
from storyflow.forcing.source import (
    RENDERER_PARTS,
    TEXT_PARTS,
    local_folder,
    locate,
    tensor_shapes,
    weight_files,
)
from storyflow.forcing.transformer import LeanTransformer
from storyflow.forcing.vae import StreamingVAE


def device_of(config: ForcingConfig) -> torch.device:
    """The device to render on; `auto` is the first CUDA device, else the CPU.

    Raises ModelError for a device that is not there.
    """
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(config.device)
    except RuntimeError as error:
        raise ModelError(f"device {config.device!r} is unknown", cure="use auto") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {config.device}: no CUDA device here", cure="use auto or cpu")
    return device


def load_model(config: ForcingConfig) -> Model:
    """Transformer and VAE of `config.model`, on its device. Raises ModelError."""
    source = locate(config.model, config.revision)
    device, dtype = device_of(config), getattr(torch, config.dtype)
    if source.random:
        from storyflow.toybox import architecture

        parts = architecture.build(TOYBOX_SEED)
        transformer, vae = _cast(parts.transformer, dtype), parts.vae
    else:
        folder = local_folder(source, RENDERER_PARTS)
        transformer = _load(SkyReelsV2Transformer3DModel, folder, "transformer", dtype)
        vae = _load(AutoencoderKLWan, folder, "vae", torch.float32)
    _check_pair(config.model, transformer.config, vae.config)
    if device.type == "cpu":
        quicken(vae)
    return Model(
        transformer=LeanTransformer(_frozen(transformer, device), config.fps),
        vae=StreamingVAE(_frozen(vae, device)),
    )


def load_text_encoder(config: ForcingConfig) -> tuple[Any, Any]:
    """umT5 encoder, on its device, and tokenizer of `config.model`. Raises ModelError."""
    source = locate(config.model, config.revision)
    device, dtype = device_of(config), getattr(torch, config.dtype)
    if source.random:
        from storyflow.toybox import architecture

        parts = architecture.build(TOYBOX_SEED)
        return _frozen(_cast(parts.text_encoder, dtype), device), parts.tokenizer
    folder = local_folder(source, TEXT_PARTS)
    place = folder / "text_encoder"
    try:
        with _no_progress_bars():
            encoder, report = UMT5EncoderModel.from_pretrained(
                place,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        tokenizer = AutoTokenizer.from_pretrained(
            folder / "tokenizer", local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise _broken(place, error) from error
    if missing := sorted(report["missing_keys"]):
        raise _broken(place, f"{len(missing)} tensors are missing, the first is {missing[0]}")
    if extra := sorted(k for k in report["unexpected_keys"] if k.startswith("encoder.block.")):
        raise _broken(
            place, f"config.json has no place for {len(extra)} tensors such as {extra[0]}"
        )
    return _frozen(encoder, device), tokenizer


def _load(model_class: Any, folder: Path, part: str, dtype: torch.dtype) -> Any:
    place = folder / part
    try:
        with torch.device("meta"):
            expected = model_class.from_config(model_class.load_config(place)).state_dict()
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise _broken(place, error) from error
    found: dict[str, tuple[int, ...]] = {}
    for file in weight_files(folder, part):
        found.update(tensor_shapes(file))
    if missing := sorted(expected.keys() - found.keys()):
        raise _broken(place, f"{len(missing)} tensors are missing, the first is {missing[0]}")
    ignored = getattr(model_class, "_keys_to_ignore_on_load_unexpected", None) or []
    extra = sorted(
        name for name in found.keys() - expected.keys() if not any(i in name for i in ignored)
    )
    if extra:
        raise _broken(
            place, f"config.json has no place for {len(extra)} tensors such as {extra[0]}"
        )
    for name, tensor in expected.items():
        if found[name] != tuple(tensor.shape):
            raise _broken(
                place,
                f"{name} has the shape {list(found[name])} where config.json asks for "
                f"{list(tensor.shape)}",
            )
    try:
        return model_class.from_pretrained(
            place,
            torch_dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise _broken(place, error) from error


def _check_pair(name: str, transformer: Any, vae: Any) -> None:
    """Refuse a VAE off the lattice or with other latents than the transformer's."""
    halvings = list(vae.temperal_downsample)
    if halvings.count(True) != 2 or len(halvings) != 3 or vae.patch_size or vae.is_residual:
        raise ModelError(
            f"the VAE of {name} does not make 4 frames of 8x8 pixels into one latent",
            cure="use the Wan 2.1 VAE that SkyReels-V2 was trained with",
        )
    if not transformer.in_channels == transformer.out_channels == vae.z_dim:
        raise ModelError(
            f"the transformer of {name} reads {transformer.in_channels} channels, the VAE makes "
            f"{vae.z_dim}",
            cure="use text-to-video diffusion-forcing weights with their own VAE",
        )


def _cast(module: Any, dtype: torch.dtype) -> Any:
    """The parameters in `dtype`, but for those that the class keeps in float32."""
    kept = module._keep_in_fp32_modules or []
    for name, parameter in module.named_parameters():
        if not any(part in kept for part in name.split(".")):
            parameter.data = parameter.data.to(dtype)
    return module


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Progress belongs to whoever watches the run, not to standard error."""
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def _frozen(module: Any, device: torch.device) -> Any:
    return module.to(device).eval().requires_grad_(False)


def _broken(place: Path, why: object) -> ModelError:
    lines = str(why).strip().splitlines() or [type(why).__name__]
    return ModelError(
        f"{place} can't be loaded: {lines[0]}",
        cure="weights and config.json do not belong together; download the folder again",
    )
