"""Tensors from safetensors files into a module, one block at a time and without a second copy.

A module is made on the meta device, so it holds no memory until its tensors come. Files are mapped
for the length of one block: each tensor goes from the mapping to its final dtype and device, and
with the mapping its pages leave memory again. Nothing is unpickled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from storyflow.errors import ModelError
from storyflow.forcing.weights.source import tensor_shapes, weight_files


class Weights:
    """The tensors of one part of a folder, by name; or those of a module in memory.

    Raises ModelError where a file can't be read.
    """

    def __init__(self, files: Sequence[Path], memory: Mapping[str, Tensor] | None = None) -> None:
        self._memory = dict(memory or {})
        self._files: dict[str, Path] = {}
        self.shapes = {name: tuple(tensor.shape) for name, tensor in self._memory.items()}
        for file in files:
            for name, shape in tensor_shapes(file).items():
                self.shapes[name] = shape
                self._files[name] = file

    @classmethod
    def of(cls, folder: Path, part: str) -> Weights:
        """The weights of `folder/part`, in one file or several."""
        return cls(weight_files(folder, part))

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """These tensors on the CPU as they are stored; copy what is to be kept."""
        by_file: dict[Path, list[str]] = {}
        for name in names:
            if name in self._memory:
                yield name, self._memory[name]
            else:
                by_file.setdefault(self._files[name], []).append(name)
        for file, wanted in by_file.items():
            try:
                with safe_open(file, framework="pt", device="cpu") as tensors:
                    for name in wanted:
                        yield name, tensors.get_tensor(name)
            except (SafetensorError, OSError) as error:
                raise broken(file, error) from error


def empty(model_class: Any, described: Path | Mapping[str, Any]) -> Any:
    """The module that a configuration describes: parameters on the meta device, no memory.

    `described` is the configuration or the folder of its config.json. Raises ModelError.
    """
    from accelerate import init_empty_weights

    try:
        is_folder = isinstance(described, Path)
        config = model_class.load_config(described) if is_folder else described
        with init_empty_weights(include_buffers=False):
            return model_class.from_config(config)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise broken(described if isinstance(described, Path) else "the model", error) from error


def check_fit(module: Any, weights: Weights, place: Path) -> None:
    """Refuse weights that lack, exceed or contradict what the module asks for: a ModelError."""
    expected, found = module.state_dict(), weights.shapes
    if missing := sorted(expected.keys() - found.keys()):
        raise broken(place, f"{len(missing)} tensors are missing, the first is {missing[0]}")
    ignored = getattr(module, "_keys_to_ignore_on_load_unexpected", None) or []
    extra = sorted(
        name for name in found.keys() - expected.keys() if not any(i in name for i in ignored)
    )
    if extra:
        raise broken(place, f"config.json has no place for {len(extra)} tensors such as {extra[0]}")
    for name, tensor in expected.items():
        if found[name] != tuple(tensor.shape):
            raise broken(
                place,
                f"{name} has the shape {list(found[name])} where config.json asks for "
                f"{list(tensor.shape)}",
            )


def fill(
    module: Any,
    weights: Weights,
    dtype: torch.dtype,
    device: torch.device,
    *,
    finish: Callable[[str, Tensor, torch.dtype], Mapping[str, Tensor]] | None = None,
    park: Callable[[int, Mapping[str, Tensor]], None] | None = None,
) -> None:
    """Give an empty module its weights in `dtype` on `device`, block after block.

    Parameters that the class keeps in float32 stay so. `finish` takes a tensor as stored, with its
    name and final dtype, and gives what takes its place, by names; `park` takes the finished
    tensors of a whole block, by their names in it, instead of the module.
    """
    kept = getattr(module, "_keep_in_fp32_modules", None) or []
    names = weights.shapes.keys() & module.state_dict().keys()
    for number, members in sorted(_by_block(names).items()):
        ready: dict[str, Tensor] = {}
        for name, tensor in weights.read(members):
            final = torch.float32 if any(part in kept for part in name.split(".")) else dtype
            if finish is None:
                ready[name] = tensor.to(device, final, copy=True)
            else:
                ready.update(finish(name, tensor, final))
        if number >= 0 and park is not None:
            head = f"blocks.{number}."
            park(number, {name.removeprefix(head): tensor for name, tensor in ready.items()})
        else:
            assign(module, ready)
    for name, buffer in module.named_buffers():
        if not buffer.is_meta:
            assign(module, {name: buffer.to(device)})


def assign(module: Any, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors in the places of parameters and buffers of these names."""
    for name, tensor in tensors.items():
        owner, _, leaf = name.rpartition(".")
        home = module.get_submodule(owner)
        if leaf in home._parameters:
            home._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
        else:
            home._buffers[leaf] = tensor


def broken(place: Path | str, why: object) -> ModelError:
    lines = str(why).strip().splitlines() or [type(why).__name__]
    return ModelError(
        f"{place} can't be loaded: {lines[0]}",
        cure="weights and config.json do not belong together; download the folder again",
    )


def _by_block(names: Iterable[str]) -> dict[int, list[str]]:
    """Names by the number of their transformer block, -1 for all that is in none."""
    blocks: dict[int, list[str]] = {}
    for name in sorted(names):
        found = re.match(r"blocks\.(\d+)\.", name)
        blocks.setdefault(int(found[1]) if found else -1, []).append(name)
    return blocks
