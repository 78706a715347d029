"""Where a model's weights are, which weights they are, and whether they are the right kind.

Nothing is loaded here and torch is not imported, so planning can ask. Only safetensors, JSON and
tokenizer files are ever read; pickles never.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storyflow.errors import ModelError
from storyflow.forcing.lattice import TransformerShape

PIPELINE_CLASS = "SkyReelsV2DiffusionForcing"
"""How the class in model_index.json begins, for text, image and video to video alike."""

PART_CLASSES = {
    "transformer": "SkyReelsV2Transformer3DModel",
    "vae": "AutoencoderKLWan",
    "text_encoder": "UMT5EncoderModel",
    "tokenizer": "",
}
RENDERER_PARTS = ("transformer", "vae")
TEXT_PARTS = ("text_encoder", "tokenizer")

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_READ = ("*.json", "*.safetensors", "*.model", "*.txt")
_RELEASED = "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers"
_SHAPES = {
    "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers": TransformerShape(1536, 30, 8960),
    "Skywork/SkyReels-V2-DF-14B-540P-Diffusers": TransformerShape(5120, 40, 13824),
    "Skywork/SkyReels-V2-DF-14B-720P-Diffusers": TransformerShape(5120, 40, 13824),
}

TOYBOX_SHAPE = TransformerShape(width=128, layers=6, ffn=512, text_dim=128)
"""Of storyflow/toybox/architecture.py, which imports torch."""


@dataclass(frozen=True)
class Source:
    """A model that a profile names: a local folder, or a hub id, or (neither) random weights.

    Random weights are the toybox's, as long as it has not been trained.
    """

    name: str
    folder: Path | None = None
    hub_id: str | None = None
    revision: str | None = None

    @property
    def random(self) -> bool:
        return self.folder is None and self.hub_id is None


def locate(model: str, revision: str | None = None) -> Source:
    """What `model` names: `toybox`, a folder, or a hub id; touches neither network nor weights.

    Raises ModelError for a text that can be none of them.
    """
    if model == "toybox":
        from storyflow.toybox.folder import weights

        return Source("toybox", folder=weights())
    path = Path(model).expanduser()
    if path.exists() or model.startswith(("/", "./", "../", "~")):
        return Source(model, folder=path)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        return Source(model, hub_id=model, revision=revision)
    raise ModelError(
        f"model {model!r} is not an existing folder, a hub id (owner/name) or `toybox`",
        cure=f"check the spelling, or use a hub id such as {_RELEASED}",
    )


def local_folder(source: Source, parts: tuple[str, ...]) -> Path:
    """The checked local folder of `source`; downloads what `parts` need from the hub if missing.

    Raises ModelError when it can't be had or is not what it should be.
    """
    folder = _download(source, parts) if source.hub_id else source.folder
    assert folder is not None
    check_folder(folder, parts)
    return folder


def check_folder(folder: Path, parts: tuple[str, ...]) -> None:
    """Refuse anything but a SkyReels-V2 diffusion-forcing folder with safe, whole `parts`.

    Reads configurations and weight headers only. Raises ModelError.
    """
    if not folder.exists():
        raise _refusal(f"there is no folder {folder}")
    if not folder.is_dir():
        raise _refusal(f"{folder} is a file")
    index = folder / "model_index.json"
    if not index.is_file():
        raise _refusal(f"{folder} has no model_index.json; it holds {_listing(folder)}")
    found = str(_read_json(index).get("_class_name", "nothing"))
    if not found.startswith(PIPELINE_CLASS):
        raise ModelError(
            f"{folder} is a model of another kind: model_index.json says {found}, "
            f"expected {PIPELINE_CLASS}Pipeline",
            cure=f"use diffusion-forcing (DF) weights, such as {_RELEASED}",
        )
    for part in parts:
        _check_part(folder, part)


def weight_files(folder: Path, part: str) -> list[Path]:
    """The safetensors files of one part, in order; raises ModelError where one is missing."""
    place = folder / part
    indexes = sorted(place.glob("*.safetensors.index.json"))
    if indexes:
        places = _read_json(indexes[0]).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise _refusal(f"{indexes[0]} names no weight files")
        names = sorted({str(name) for name in places.values()})
        missing = [n for n in names if Path(n).name != n or not (place / n).is_file()]
        if missing:
            raise _refusal(f"{place} lacks {', '.join(missing[:3])}, which {indexes[0].name} names")
        return [place / n for n in names]
    for name in ("diffusion_pytorch_model.safetensors", "model.safetensors"):
        if (place / name).is_file():
            return [place / name]
    pickles = [p.name for p in sorted(place.iterdir()) if p.suffix in _PICKLES]
    if pickles:
        raise ModelError(
            f"{place} has its weights only as pickles ({', '.join(pickles[:3])}), which can run "
            "code when loaded; expected safetensors",
            cure="download the safetensors version, or convert it with save_pretrained",
        )
    raise _refusal(f"{place} holds no safetensors weights, only {_listing(place)}")


def transformer_shape(model: str, revision: str | None = None) -> TransformerShape:
    """The sizes that decide the cost of a segment, without loading weights. Raises ModelError.

    Released checkpoints are known; another hub id's configuration is fetched (a few kilobytes).
    """
    source = locate(model, revision)
    if source.hub_id in _SHAPES:
        return _SHAPES[source.hub_id]
    if source.random:
        return TOYBOX_SHAPE
    if source.hub_id is not None:
        folder = _download(source, ("transformer",), only="config.json")
    else:
        assert source.folder is not None
        folder = source.folder
    file = folder / "transformer" / "config.json"
    config = _read_json(file)
    try:
        return TransformerShape(
            width=config["num_attention_heads"] * config["attention_head_dim"],
            layers=config["num_layers"],
            ffn=config["ffn_dim"],
            text_dim=config["text_dim"],
            channels=config["in_channels"],
        )
    except (KeyError, TypeError) as error:
        raise _refusal(f"{file} does not describe a transformer ({error!r})") from error


def _check_part(folder: Path, part: str) -> None:
    place = folder / part
    if not place.is_dir():
        raise _refusal(f"{folder} has no {part} folder; it holds {_listing(folder)}")
    if part == "tokenizer":
        if not (place / "tokenizer_config.json").is_file():
            raise _refusal(f"{place} has no tokenizer_config.json; it holds {_listing(place)}")
        return
    config = place / "config.json"
    if not config.is_file():
        raise _refusal(f"{place} has no config.json; it holds {_listing(place)}")
    facts = _read_json(config)
    named = facts.get("_class_name") or facts.get("architectures") or "nothing"
    found = str(named[0] if isinstance(named, list) else named)
    if found != PART_CLASSES[part]:
        raise _refusal(f"{config} describes a {found}, expected {PART_CLASSES[part]}")
    for file in weight_files(folder, part):
        tensor_shapes(file)


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Name to shape of every tensor in a safetensors file, from its header. Raises ModelError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{file} is truncated or not a safetensors file ({error})",
            cure="download it again; compare its size with the original's",
        ) from error


def _download(source: Source, parts: tuple[str, ...], only: str | None = None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    wanted = [f"{part}/{name}" for part in parts for name in ((only,) if only else _READ)]
    try:
        return Path(
            snapshot_download(
                str(source.hub_id),
                revision=source.revision,
                allow_patterns=["model_index.json", *wanted],
            )
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        at = f" at revision {source.revision}" if source.revision else ""
        raise ModelError(
            f"{source.hub_id}{at} is neither an existing folder nor can it be fetched "
            f"from the hub ({first})",
            cure="check the name, the revision and the network, or name a local folder",
        ) from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _refusal(f"{file} can't be read as JSON ({error})") from error
    if not isinstance(value, dict):
        raise _refusal(f"{file} does not hold a JSON object")
    return value


def _listing(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir())
    return (", ".join(names[:6]) + (", ..." if len(names) > 6 else "")) or "nothing"


def _refusal(what: str) -> ModelError:
    return ModelError(
        what,
        cure="expected a Diffusers folder of a SkyReels-V2 diffusion-forcing model, whole; "
        f"download it again, or use a hub id such as {_RELEASED}",
    )
