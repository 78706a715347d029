"""Latents and prompt embeddings as safetensors files: one tensor each, no pickles anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from storyflow.errors import DamagedError
from storyflow.store.hashing import array_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NAME = "tensor"


def save_tensor(path: Path, tensor: NDArray[np.float32]) -> None:
    """Write one float32 tensor of any shape; equal tensors give equal bytes. Raises OSError."""
    import numpy as np
    from safetensors.numpy import save_file

    if tensor.dtype != np.float32:
        raise TypeError(f"stored tensors are float32, got {tensor.dtype}")
    save_file({_NAME: np.ascontiguousarray(tensor)}, path)


def load_tensor(path: Path, digest: str | None = None) -> NDArray[np.float32]:
    """The tensor of a file that `save_tensor` wrote.

    `digest` is the expected `array_hash`, None to skip the check. Raises DamagedError for a file
    that isn't readable or doesn't match, OSError for one that can't be opened.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors: dict[str, Any] = load_file(path)
        tensor = tensors[_NAME]
    except (SafetensorError, KeyError) as error:
        raise DamagedError(
            f"{path} is not a readable tensor file: {error}", cure="render it again"
        ) from None
    if tensor.dtype != np.float32:
        raise DamagedError(
            f"{path} holds {tensor.dtype} instead of float32", cure="render it again"
        )
    if digest is not None and array_hash(tensor) != digest:
        raise DamagedError(f"{path} differs from its hash {digest}", cure="render it again")
    return cast("NDArray[np.float32]", tensor)
