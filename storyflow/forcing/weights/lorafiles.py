"""Where a LoRA's file is and which one it is, for keys; imports no torch."""

from __future__ import annotations

import re
from pathlib import Path

from storyflow.errors import ModelError
from storyflow.forcing.config import ForcingConfig, Lora
from storyflow.forcing.weights.identity import file_identity

_USUAL = "pytorch_lora_weights.safetensors"


def identities(config: ForcingConfig) -> str:
    """The LoRAs of a config as a text for keys, to be joined to the model's identity.

    Empty without LoRAs, else one line for each: content or `id/file@revision`, and scale. Equal
    texts mean equal changes. Raises ModelError where a file is not there. No network is used.
    """
    return "\n".join(f"lora {_identity(lora)} x {lora.scale!r}" for lora in config.loras)


def lora_file(lora: Lora) -> Path:
    """The local safetensors file; from the hub if it must be. Raises ModelError."""
    place = _local(lora)
    if place is not None:
        return _chosen(place, lora)
    return _fetched(lora)


def _identity(lora: Lora) -> str:
    place = _local(lora)
    if place is not None:
        return f"sha256:{file_identity(_chosen(place, lora))}"
    return f"{lora.id}/{lora.file or '*'}@{lora.revision or 'main'}"


def _local(lora: Lora) -> Path | None:
    """The file or folder that a LoRA's id names; None for one of the hub."""
    path = Path(lora.id).expanduser()
    if path.exists():
        return path
    if lora.id.startswith(("/", "./", "../", "~")) or lora.id.endswith(".safetensors"):
        raise ModelError(
            f"LoRA {lora.id}: there is no such file or folder",
            cure="check the profile's loras; paths start in the working folder",
        )
    if re.fullmatch(r"[\w.-]+/[\w.-]+", lora.id):
        return None
    raise ModelError(
        f"LoRA {lora.id!r} is not an existing file or folder, nor a hub id (owner/name)",
        cure="check the spelling",
    )


def _chosen(place: Path, lora: Lora) -> Path:
    """The one file that is meant, of a folder's. Raises ModelError."""
    if place.is_file():
        if place.suffix != ".safetensors":
            raise _unsafe(place)
        return place
    if lora.file is not None:
        file = place / lora.file
        if not file.is_file():
            raise ModelError(f"{place} has no {lora.file}; it holds {_listing(place)}")
        return _chosen(file, lora)
    files = sorted(place.glob("*.safetensors"))
    usual = [file for file in files if file.name == _USUAL]
    if len(files) == 1 or usual:
        return (usual or files)[0]
    if files:
        raise ModelError(
            f"{place} holds {len(files)} safetensors files: {_listing(place)}",
            cure="name the one that is meant in `file`",
        )
    raise _unsafe(place)


def _fetched(lora: Lora) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        wanted = lora.file or "*.safetensors"
        folder = snapshot_download(lora.id, revision=lora.revision, allow_patterns=[wanted])
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        at = f" at revision {lora.revision}" if lora.revision else ""
        raise ModelError(
            f"LoRA {lora.id}{at} can't be fetched from the hub ({first})",
            cure="check the name, the revision and the network, or name a local file",
        ) from error
    return _chosen(Path(folder), lora)


def _unsafe(place: Path) -> ModelError:
    held = _listing(place) if place.is_dir() else place.name
    return ModelError(
        f"LoRA {place}: expected a safetensors file, found {held}",
        cure="use the safetensors version: pickles can run code when loaded",
    )


def _listing(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir())
    return (", ".join(names[:6]) + (", ..." if len(names) > 6 else "")) or "nothing"
