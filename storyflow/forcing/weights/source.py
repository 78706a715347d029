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
from storyflow.forcing.weights.family import (
    FAMILIES,
    FORCING,
    RELEASED,
    Family,
    family_of,
    names,
    shape_of,
    transformer_fault,
    vae_fault,
)

PART_CLASSES = {
    "transformer": ("SkyReelsV2Transformer3DModel",),
    "vae": ("AutoencoderKLWan",),
    "text_encoder": ("UMT5EncoderModel",),
    "tokenizer": (),
    "image_encoder": ("CLIPVisionModelWithProjection", "CLIPVisionModel"),
}
RENDERER_PARTS = ("transformer", "vae")
TEXT_PARTS = ("text_encoder", "tokenizer")

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_READ = ("*.json", "*.safetensors", "*.model", "*.txt")

TOYBOX_SHAPE = TransformerShape(width=256, layers=6, ffn=1024, text_dim=128)
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
        cure=f"check the spelling, or use a hub id such as {FORCING.example}",
    )


@dataclass(frozen=True)
class Checkpoint:
    """What weights are for and how large their transformer is, known without loading them."""

    family: Family
    shape: TransformerShape


def checkpoint(
    model: str, revision: str | None = None, families: tuple[Family, ...] = FAMILIES
) -> Checkpoint:
    """What `model` names; refused unless it is one of `families`. Raises ModelError.

    Released checkpoints are known. Of a folder two small files are read; another hub id's are
    fetched (a few kilobytes).
    """
    source = locate(model, revision)
    released = RELEASED.get(source.hub_id or "")
    if source.random:
        found = Checkpoint(FORCING, TOYBOX_SHAPE)
    elif released is not None:
        found = Checkpoint(*released)
    elif f"{source.hub_id}-Diffusers" in RELEASED:
        raise ModelError(
            f"{source.hub_id} holds weights in the original layout, expected Diffusers'",
            cure=f"use {source.hub_id}-Diffusers",
        )
    else:
        if source.hub_id is not None:
            folder = _download(source, ("transformer",), only="config.json")
        else:
            assert source.folder is not None
            folder = source.folder
        family = _family(folder, families)
        found = Checkpoint(family, _transformer(folder, family))
    if found.family not in families:
        raise _another(model, f"it holds weights for {found.family.name}", found.family, families)
    return found


def local_folder(
    source: Source, parts: tuple[str, ...], families: tuple[Family, ...] = (FORCING,)
) -> Path:
    """The checked local folder of `source`; downloads what `parts` need from the hub if missing.

    Raises ModelError when it can't be had or is not what it should be.
    """
    folder = _download(source, parts) if source.hub_id else source.folder
    assert folder is not None
    check_folder(folder, parts, families)
    return folder


def check_folder(
    folder: Path, parts: tuple[str, ...], families: tuple[Family, ...] = (FORCING,)
) -> None:
    """Refuse anything but a SkyReels-V2 folder of one of `families` with safe, whole `parts`.

    Parts that the family found has not are passed over. The text half is the same in all families,
    so without `transformer` among the parts any will do. Reads configurations and weight headers
    only. Raises ModelError.
    """
    if "transformer" not in parts:
        families = FAMILIES
    family = _family(folder, families)
    channels = _transformer(folder, family).out_channels if "transformer" in parts else None
    for part in parts:
        if part in family.parts or part in TEXT_PARTS:
            _check_part(folder, part, family)
        if part == "vae" and channels is not None:
            fault = vae_fault(read_json(folder / "vae" / "config.json"), channels)
            if fault is not None:
                raise ModelError(
                    f"the VAE of {folder} {fault}",
                    cure="use the Wan 2.1 VAE that SkyReels-V2 was trained with",
                )


def weight_files(folder: Path, part: str) -> list[Path]:
    """The safetensors files of one part, in order; raises ModelError where one is missing."""
    place = folder / part
    indexes = sorted(place.glob("*.safetensors.index.json"))
    if indexes:
        places = read_json(indexes[0]).get("weight_map")
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
    """The sizes that decide the cost of a segment, without loading weights. Raises ModelError."""
    return checkpoint(model, revision).shape


def _family(folder: Path, families: tuple[Family, ...]) -> Family:
    """The family that a folder's model_index.json names, one of `families`."""
    if not folder.exists():
        raise _refusal(f"there is no folder {folder}", families)
    if not folder.is_dir():
        raise _refusal(f"{folder} is a file", families)
    index = folder / "model_index.json"
    if not index.is_file():
        if any(folder.glob("Wan2.1_VAE.pth")) or (folder / "config.json").is_file():
            what = f"{folder} is not in Diffusers' layout: no model_index.json"
        else:
            what = f"{folder} has no model_index.json"
        raise _refusal(f"{what}; it holds {_listing(folder)}", families)
    found = str(read_json(index).get("_class_name", "nothing"))
    family = family_of(found)
    if family is None or family not in families:
        expected = " or ".join(f.pipeline if f.exact else f"{f.pipeline}..." for f in families)
        what = f"model_index.json says {found}, expected {expected}"
        raise _another(str(folder), what, family, families)
    return family


def _another(
    model: str, what: str, found: Family | None, families: tuple[Family, ...]
) -> ModelError:
    use = f"use weights for {names(families)}, such as {families[0].example}"
    if found is not None:
        use = f"set model.kind to {found.kind} for {found.name}, or {use}"
    return ModelError(f"{model} is a model of another kind: {what}", cure=use)


def _transformer(folder: Path, family: Family) -> TransformerShape:
    """The shape of a folder's transformer; refused where it is not one of `family`."""
    file = folder / "transformer" / "config.json"
    _check_class(folder, "transformer", family)
    config = read_json(file)
    try:
        fault = transformer_fault(config, family)
    except (KeyError, TypeError) as error:
        raise _refusal(f"{file} does not describe a transformer ({error!r})", (family,)) from error
    if fault is not None:
        raise ModelError(
            f"{file} describes a transformer that {fault}",
            cure=f"model_index.json and transformer do not belong together; download the folder "
            f"again, or use a hub id such as {family.example}",
        )
    return shape_of(config)


def _check_part(folder: Path, part: str, family: Family) -> None:
    """Refuse a part of another class, or without whole safetensors."""
    _check_class(folder, part, family)
    if part != "tokenizer":
        for file in weight_files(folder, part):
            tensor_shapes(file)


def _check_class(folder: Path, part: str, family: Family) -> None:
    place = folder / part
    if not place.is_dir():
        what = f"{folder} has no {part} folder; it holds {_listing(folder)}"
        raise _refusal(what, (family,))
    config = place / ("tokenizer_config.json" if part == "tokenizer" else "config.json")
    if not config.is_file():
        raise _refusal(f"{place} has no {config.name}; it holds {_listing(place)}", (family,))
    if not PART_CLASSES[part]:
        return
    facts = read_json(config)
    named = facts.get("_class_name") or facts.get("architectures") or "nothing"
    found = str(named[0] if isinstance(named, list) else named)
    if found not in PART_CLASSES[part]:
        expected = " or ".join(PART_CLASSES[part])
        raise _refusal(f"{config} describes a {found}, expected {expected}", (family,))


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


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ModelError."""
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


def _refusal(what: str, families: tuple[Family, ...] = FAMILIES) -> ModelError:
    return ModelError(
        what,
        cure=f"expected a whole Diffusers folder of SkyReels-V2 for {names(families)}; "
        f"download it again, or use a hub id such as {families[0].example}",
    )
