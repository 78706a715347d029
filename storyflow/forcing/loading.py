"""From a checked folder to modules in memory.

Modules are made on the meta device and filled from memory-mapped safetensors straight in their
final dtype and on their final device (weights/fill.py), so no second copy of the weights ever
exists. On the way LoRAs are added (weights/lora.py), large weights quantized (weights/quantize.py)
and blocks parked in main memory (offload.py), one block at a time. Nothing is unpickled and no code
is fetched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, SkyReelsV2Transformer3DModel
from torch import Tensor
from transformers import AutoTokenizer, UMT5EncoderModel
from transformers.utils import logging as bars

from storyflow.errors import ModelError
from storyflow.forcing.attention import backend_of, dispatch_name
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.cpu import quicken
from storyflow.forcing.offload import ParkedBlocks
from storyflow.forcing.segment import Model
from storyflow.forcing.transformer import LeanTransformer
from storyflow.forcing.vae import StreamingVAE
from storyflow.forcing.weights.fill import Weights, broken, check_fit, empty, fill
from storyflow.forcing.weights.identity import TOYBOX_SEED
from storyflow.forcing.weights.lora import read_loras
from storyflow.forcing.weights.quantize import make_ready, quantized
from storyflow.forcing.weights.source import RENDERER_PARTS, TEXT_PARTS, local_folder, locate


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
    if source.random:
        from storyflow.toybox import architecture

        parts = architecture.build(TOYBOX_SEED)
        transformer, vae = _in_memory(parts.transformer), _in_memory(parts.vae)
    else:
        folder = local_folder(source, RENDERER_PARTS)
        transformer = Part.of(SkyReelsV2Transformer3DModel, folder, "transformer")
        vae = Part.of(AutoencoderKLWan, folder, "vae")
    return Model(load_transformer(config, transformer), load_vae(config, vae))


@dataclass(frozen=True)
class Part:
    """A network that fits its weights but does not have them yet."""

    module: Any
    weights: Weights

    @classmethod
    def of(cls, model_class: Any, folder: Path, part: str) -> Part:
        """The network `part` of a checked folder. Raises ModelError."""
        module, weights = empty(model_class, folder / part), Weights.of(folder, part)
        check_fit(module, weights, folder / part)
        return cls(module, weights)


def load_transformer(config: ForcingConfig, part: Part) -> LeanTransformer:
    """The transformer on the config's device: with its LoRAs, quantized, parked, as it says.

    Raises ModelError.
    """
    model, device, dtype = part.module, device_of(config), getattr(torch, config.dtype)
    kernel = dispatch_name(backend_of(config, device))
    loras, kind = read_loras(config, part.weights.shapes), config.quantize
    large = frozenset[str]() if kind == "none" else make_ready(model, kind)

    def finish(name: str, stored: Tensor, final: torch.dtype) -> Mapping[str, Tensor]:
        if name not in loras.changes and name not in large:
            return {name: stored.to(device, final, copy=True)}
        weight = stored.to(device)
        if name in loras.changes:
            weight = loras.merged(name, weight.float())
        if kind == "none" or name not in large:
            return {name: weight.to(final, copy=True)}
        numbers, scale = quantized(weight, kind, final)
        return {name: numbers, f"{name.removesuffix('weight')}scale": scale}

    away = config.offload == "blocks" and device.type != "cpu"
    blocks = ParkedBlocks(model.blocks[0], device) if away else None
    fill(model, part.weights, dtype, device, finish=finish, park=blocks.park if blocks else None)
    return LeanTransformer(
        model.eval(),
        config.fps,
        blocks=blocks,
        kernel=kernel,
        fuse_guidance=config.fuse_guidance,
        compiler="inductor" if config.compile else None,
    )


def load_vae(config: ForcingConfig, part: Part) -> StreamingVAE:
    """The VAE on the config's device, in its `vae_dtype`. Raises ModelError."""
    device, dtype = device_of(config), getattr(torch, config.vae_dtype)
    fill(part.module, part.weights, dtype, device)
    if device.type == "cpu" and dtype == torch.float32:
        quicken(part.module)
    return StreamingVAE(part.module.eval())


def load_text_encoder(config: ForcingConfig) -> tuple[Any, Any]:
    """umT5 encoder, on its device, and tokenizer of `config.model`. Raises ModelError."""
    source = locate(config.model, config.revision)
    device, dtype = device_of(config), getattr(torch, config.dtype)
    if source.random:
        from storyflow.toybox import architecture

        parts = architecture.build(TOYBOX_SEED)
        return frozen(_cast(parts.text_encoder, dtype), device), parts.tokenizer
    folder = local_folder(source, TEXT_PARTS)
    place = folder / "text_encoder"
    encoder, extra = pretrained(UMT5EncoderModel, place, dtype)
    if extra := [name for name in extra if name.startswith("encoder.block.")]:
        raise no_place(place, extra)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder / "tokenizer", local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise broken(folder / "tokenizer", error) from error
    return frozen(encoder, device), tokenizer


def pretrained(model_class: Any, place: Path, dtype: torch.dtype) -> tuple[Any, list[str]]:
    """A model of transformers from a checked folder, and the names of tensors it has no place for.

    Raises ModelError.
    """
    try:
        with _no_progress_bars():
            model, report = model_class.from_pretrained(
                place,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise broken(place, error) from error
    if missing := sorted(report["missing_keys"]):
        raise broken(place, f"{len(missing)} tensors are missing, the first is {missing[0]}")
    return model, sorted(report["unexpected_keys"])


def no_place(place: Path, names: list[str]) -> ModelError:
    """What to say of tensors that config.json asks for none of."""
    return broken(place, f"config.json has no place for {len(names)} tensors such as {names[0]}")


def _in_memory(module: Any) -> Part:
    """The same network emptied, with the weights it had."""
    return Part(empty(type(module), module.config), Weights([], module.state_dict()))


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


def frozen(module: Any, device: torch.device) -> Any:
    """The module on `device`, ready to be used and not trained."""
    return module.to(device).eval().requires_grad_(False)
