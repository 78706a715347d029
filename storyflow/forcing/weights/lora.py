"""LoRAs, added to the weights as they are loaded: no cost while rendering; part of the key.

A LoRA (Hu et al. 2021, arXiv 2106.09685) holds two thin matrices for a weight: down [r, in] and up
[out, r]. The weight becomes `weight + scale * alpha / r * up @ down`, in float32, and is rounded to
the model's dtype once, after all LoRAs, and before it is quantized.

Both layouts are read: Diffusers' (`transformer.blocks.0.attn1.to_q.lora_A.weight`) and Wan's
(`diffusion_model.blocks.0.self_attn.q.lora_down.weight`, with `.alpha`; also kohya's, with
underscores), with the differences `.diff` and `.diff_b` that some of them have for norms and
biases. Only safetensors; a name or shape that does not belong to the model is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from storyflow.errors import ModelError
from storyflow.forcing.config import ForcingConfig, Lora
from storyflow.forcing.weights.lorafiles import lora_file
from storyflow.forcing.weights.source import tensor_shapes

_PREFIXES = ("base_model.model.", "transformer.", "diffusion_model.", "model.diffusion_model.")
_KOHYA = "lora_unet_"

_ROLES = (
    (r"\.(lora_A|lora_down|lora\.down)(\.default)?\.weight", "down"),
    (r"\.(lora_B|lora_up|lora\.up)(\.default)?\.weight", "up"),
    (r"\.(lora_B|lora_up)(\.default)?\.bias|\.diff_b", "bias"),
    (r"\.diff", "difference"),
    (r"\.alpha", "alpha"),
)

_WAN = (
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_([qkv])$", r".\1"),
    (r"\.to_out\.0$", ".o"),
    (r"\.add_([kv])_proj$", r".\1_img"),
    (r"\.norm_added_k$", ".norm_k_img"),
    (r"^(blocks\.\d+)\.norm2$", r"\1.norm3"),
    (r"\.net\.0\.proj$", ".0"),
    (r"\.net\.2$", ".2"),
    (r"^(blocks\.\d+)\.scale_shift_table$", r"\1.modulation"),
    (r"^scale_shift_table$", "head.modulation"),
    (r"^proj_out$", "head.head"),
    (r"^condition_embedder\.time_proj$", "time_projection.1"),
    (r"^condition_embedder\.(time|text)_embedder\.linear_1$", r"\1_embedding.0"),
    (r"^condition_embedder\.(time|text)_embedder\.linear_2$", r"\1_embedding.2"),
    (r"^condition_embedder\.image_embedder\.norm1$", "img_emb.proj.0"),
    (r"^condition_embedder\.image_embedder\.ff\.0$", "img_emb.proj.1"),
    (r"^condition_embedder\.image_embedder\.ff\.2$", "img_emb.proj.3"),
    (r"^condition_embedder\.image_embedder\.norm2$", "img_emb.proj.4"),
)
"""Diffusers' names of modules to those of the original Wan code, applied in order."""


@dataclass
class _Change:
    """What one LoRA has for one module: the names of its tensors in the file."""

    file: Path
    scale: float
    names: dict[str, str] = field(default_factory=dict)
    factor: float = 1.0  # alpha / r


@dataclass(frozen=True)
class Loras:
    """All changes to a model, by the name of the parameter; nothing is read before `merged`."""

    changes: Mapping[str, tuple[_Change, ...]]

    def merged(self, name: str, weight: Tensor) -> Tensor:
        """`weight` (float32) with everything that the LoRAs add to parameter `name`."""
        for change in self.changes.get(name, ()):
            with safe_open(change.file, framework="pt", device="cpu") as tensors:
                read = {
                    role: tensors.get_tensor(key).to(weight.device, torch.float32)
                    for role, key in change.names.items()
                }
            if name.endswith(".bias"):
                weight = weight + change.scale * change.factor * read["bias"]
                continue
            if "difference" in read:
                weight = weight + change.scale * read["difference"].view(weight.shape)
            if "down" in read:
                added = read["up"].flatten(1) @ read["down"].flatten(1)
                weight = weight + change.scale * change.factor * added.view(weight.shape)
        return weight


def read_loras(config: ForcingConfig, shapes: Mapping[str, tuple[int, ...]]) -> Loras:
    """The LoRAs of a config, checked against the names and `shapes` of the model's parameters.

    Raises ModelError, with the names found and expected.
    """
    changes: dict[str, list[_Change]] = {}
    for lora in config.loras:
        for name, change in _read(lora, shapes).items():
            changes.setdefault(name, []).append(change)
    return Loras({name: tuple(all_of) for name, all_of in changes.items()})


def _read(lora: Lora, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, _Change]:
    file = lora_file(lora)
    found, aliases = tensor_shapes(file), _aliases(shapes)
    modules: dict[str, dict[str, str]] = {}
    unknown = []
    for key in sorted(found):
        module, role = _parse(key)
        if role and module in aliases:
            modules.setdefault(aliases[module], {})[role] = key
        else:
            unknown.append(key)
    if unknown or not modules:
        raise _refusal(file, unknown, shapes)
    scales = _Scales(file)
    changes: dict[str, _Change] = {}
    for module, names in modules.items():
        factor = _factor(file, module, names, found, scales)
        matrices = {role: key for role, key in names.items() if role in ("down", "up")}
        if "difference" in names:
            matrices["difference"] = names["difference"]
        if matrices:
            parameter = f"{module}.weight" if f"{module}.weight" in shapes else module
            _check_shapes(file, matrices, found, shapes[parameter])
            changes[parameter] = _Change(file, lora.scale, matrices, factor)
        if "bias" in names:
            parameter = f"{module}.bias"
            if found[names["bias"]] != shapes.get(parameter):
                raise _misfit(file, names["bias"], found, shapes.get(parameter))
            # A difference of biases stands for itself; peft scales the bias of its up matrix.
            own = 1.0 if names["bias"].endswith("diff_b") else factor
            changes[parameter] = _Change(file, lora.scale, {"bias": names["bias"]}, own)
    return changes


def _parse(key: str) -> tuple[str, str]:
    """The module that a key speaks of, without prefixes, and its role; empty role: unknown."""
    for pattern, role in _ROLES:
        if found := re.search(f"({pattern})$", key):
            module = key[: found.start()]
            for prefix in _PREFIXES:
                module = module.removeprefix(prefix)
            return module, role
    return key, ""


def _aliases(parameters: Iterable[str]) -> dict[str, str]:
    """Every name that a module may have in a LoRA, to the one it has in Diffusers."""
    modules = {re.sub(r"\.(weight|bias)$", "", name) for name in parameters}
    aliases = {}
    for module in modules:
        wan = module
        for pattern, name in _WAN:
            wan = re.sub(pattern, name, wan)
        for alias in (wan, _KOHYA + wan.replace(".", "_")):
            aliases[alias] = module
    return aliases | {module: module for module in modules - {"blocks"}}


class _Scales:
    """Alpha and rank as peft's settings in a file's header give them, where it has any."""

    def __init__(self, file: Path) -> None:
        with safe_open(file, framework="pt") as tensors:
            header = tensors.metadata() or {}
        try:
            settings: dict[str, Any] = json.loads(header.get("lora_adapter_metadata", "{}"))
        except ValueError:
            settings = {}
        self._settings = {k.removeprefix("transformer."): v for k, v in settings.items()}
        for name in ("use_dora", "lora_bias_only"):
            if self._settings.get(name):
                raise ModelError(f"{file} was made with {name}", cure="use a plain LoRA")

    def factor(self, module: str, rank: int) -> float:
        alpha = self._settings.get("lora_alpha", rank)
        for pattern, own in (self._settings.get("alpha_pattern") or {}).items():
            if re.search(rf"(^|\.){pattern}$", module):
                alpha = own
        root = bool(self._settings.get("use_rslora"))
        return float(alpha) / (math.sqrt(rank) if root else rank)


def _factor(
    file: Path,
    module: str,
    names: Mapping[str, str],
    found: Mapping[str, tuple[int, ...]],
    scales: _Scales,
) -> float:
    if "down" not in names:
        return 1.0
    rank = found[names["down"]][0]
    if "alpha" not in names:
        return scales.factor(module, rank)
    with safe_open(file, framework="pt", device="cpu") as tensors:
        return float(tensors.get_tensor(names["alpha"]).float()) / rank


def _check_shapes(
    file: Path,
    names: Mapping[str, str],
    found: Mapping[str, tuple[int, ...]],
    wanted: tuple[int, ...],
) -> None:
    if "difference" in names and math.prod(found[names["difference"]]) != math.prod(wanted):
        raise _misfit(file, names["difference"], found, wanted)
    if ("down" in names) != ("up" in names):
        alone = names.get("down") or names["up"]
        raise ModelError(
            f"{file} has {alone} without its other matrix", cure="download the file again"
        )
    if "down" in names:
        down, up = found[names["down"]], found[names["up"]]
        inward, rank = math.prod(wanted[1:]), down[0] if down else 0
        if len(down) < 2 or math.prod(down[1:]) != inward:
            raise _misfit(file, names["down"], found, (rank, inward))
        if len(up) < 2 or (up[0], math.prod(up[1:])) != (wanted[0], rank):
            raise _misfit(file, names["up"], found, (wanted[0], rank))


def _misfit(
    file: Path, key: str, found: Mapping[str, tuple[int, ...]], wanted: tuple[int, ...] | None
) -> ModelError:
    asks = f"asks for {list(wanted)}" if wanted else "has nothing of that name"
    return ModelError(
        f"{file}: {key} has the shape {list(found[key])} where the model {asks}",
        cure="use a LoRA made for a model of this size (1.3B and 14B differ)",
    )


def _refusal(file: Path, unknown: list[str], shapes: Mapping[str, tuple[int, ...]]) -> ModelError:
    blocks = sum(name.endswith("attn1.to_q.weight") for name in shapes)
    what = f"has no place in the model: {', '.join(unknown[:3])}" if unknown else "holds no LoRA"
    count = f" ({len(unknown)} names)" if len(unknown) > 3 else ""
    return ModelError(
        f"{file} {what}{count}; expected names such as blocks.0.attn1.to_q.lora_A.weight or "
        f"diffusion_model.blocks.0.self_attn.q.lora_down.weight, blocks 0 to {blocks - 1}",
        cure="use a LoRA of SkyReels-V2 or Wan 2.1 for a model of this size",
    )
