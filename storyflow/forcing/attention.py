"""Which kernel computes attention; class *rounding*: kernels differ in the last bits only.

Self-attention is 63 to 78 % of a segment's arithmetic at 540P, so the kernel decides the speed.
Each is reached through diffusers' dispatch. Nothing is fetched: kernels that are programs on the
hub are not used.
"""

from __future__ import annotations

import importlib.util
from typing import Literal

import torch

from storyflow.errors import ModelError
from storyflow.forcing.config import ForcingConfig

Kernel = Literal["native", "cudnn", "flash", "flash-3"]

_DIFFUSERS: dict[Kernel, str] = {
    "native": "native",
    "cudnn": "_native_cudnn",
    "flash": "_native_flash",
    "flash-3": "_flash_3",
}
"""What diffusers calls them. `native` and `flash` are torch's own, `native` chosen by torch."""


def backend_of(config: ForcingConfig, device: torch.device) -> Kernel:
    """The kernel that `config.attention` means on `device`.

    `auto` is torch's own choice on a CPU and on CUDA devices before Hopper; from Hopper on cuDNN's,
    or Flash Attention 3 where it is installed and the device is a Hopper one.

    Raises ModelError for a kernel that is not there, naming those that are.
    """
    here = usable(device, getattr(torch, config.dtype))
    if config.attention != "auto":
        if config.attention in here:
            return config.attention
        raise ModelError(
            f"the attention kernel {config.attention} does not run in {config.dtype} on "
            f"{_name(device)}: {_NEEDS[config.attention]}",
            cure=f"choose auto or one of those that do: {', '.join(here)}",
        )
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0):
        for kernel in ("flash-3", "cudnn"):
            if kernel in here:
                return kernel
    return "native"


def usable(device: torch.device, dtype: torch.dtype) -> tuple[Kernel, ...]:
    """The kernels that run on `device` in `dtype`, `native` first."""
    kernels: list[Kernel] = ["native"]
    if device.type != "cuda" or dtype == torch.float32:
        return tuple(kernels)
    capability = torch.cuda.get_device_capability(device)
    if capability >= (8, 0):
        if torch.backends.cudnn.is_available():  # type: ignore[no-untyped-call]
            kernels.append("cudnn")
        kernels.append("flash")
    if capability[0] == 9 and importlib.util.find_spec("flash_attn_interface") is not None:
        kernels.append("flash-3")
    return tuple(kernels)


def dispatch_name(kernel: Kernel) -> str:
    """The name that diffusers' `dispatch_attention_fn` knows a kernel by."""
    return _DIFFUSERS[kernel]


_NEEDS = {
    "native": "every device has it",
    "cudnn": "it needs CUDA, cuDNN, 16-bit numbers and an Ampere GPU or newer",
    "flash": "it needs CUDA, 16-bit numbers and an Ampere GPU or newer",
    "flash-3": "it needs CUDA, 16-bit numbers, a Hopper GPU and the package flash_attn_interface",
}


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "this CPU"
