"""Which weights a model has, as a text for keys; imports no torch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from storyflow.errors import ModelError
from storyflow.forcing.weights.source import locate

TOYBOX_SEED = 0
"""Of the toybox's random weights, as long as it has not been trained."""

_SUFFIXES = {".json", ".safetensors", ".model", ".txt"}


def identity(model: str, revision: str | None = None) -> str:
    """Equal texts mean equal weights: `sha256:…` over a folder's content, `id@revision` of the hub.

    A folder's files are hashed once and remembered by path, size and time of change, so asking
    again costs nothing. Raises ModelError where nothing is there.
    """
    source = locate(model, revision)
    if source.hub_id is not None:
        return f"{source.hub_id}@{source.revision or 'main'}"
    if source.folder is not None:
        return _folder_identity(source.folder)
    import storyflow.toybox

    home = Path(storyflow.toybox.__file__).parent
    code = b"".join((home / name).read_bytes() for name in ("architecture.py", "words.py"))
    return f"toybox-random-{TOYBOX_SEED}:{hashlib.sha256(code).hexdigest()[:16]}"


def _folder_identity(folder: Path) -> str:
    if not folder.is_dir():
        raise ModelError(
            f"there is no folder {folder}", cure="check the profile's model id; paths start here"
        )
    files = sorted(f for f in folder.rglob("*") if f.suffix in _SUFFIXES and f.is_file())
    if not files:
        raise ModelError(
            f"{folder} holds no model: no configuration and no safetensors in it",
            cure="name a Diffusers folder",
        )
    total = hashlib.sha256()
    for file, digest in zip(files, _digests(files), strict=True):
        total.update(f"{file.relative_to(folder).as_posix()}\0{digest}\n".encode())
    return f"sha256:{total.hexdigest()}"


def file_identity(file: Path) -> str:
    """The sha256 of one file's content, remembered as a folder's files are."""
    return _digests([file])[0]


def _digests(files: Sequence[Path]) -> list[str]:
    """The sha256 of each file; what was hashed before and has not changed is not read."""
    known = _remembered()
    fresh: dict[str, list[object]] = {}
    digests = []
    for file in files:
        stat = file.stat()
        place, mark = str(file.resolve()), [stat.st_size, stat.st_mtime_ns]
        entry = known.get(place)
        if entry is None or entry[:2] != mark:
            entry = [*mark, _sha256(file)]
            fresh[place] = entry
        digests.append(str(entry[2]))
    if fresh:
        _remember(fresh)
    return digests


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _memory() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "storyflow" / "weights.json"


def _remembered() -> dict[str, list[object]]:
    """What was hashed before; a missing or damaged memory only costs time."""
    try:
        value = json.loads(_memory().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {k: v for k, v in value.items() if isinstance(v, list) and len(v) == 3}


def _remember(fresh: dict[str, list[object]]) -> None:
    """Add to the memory; replaced in one step, and left alone where it can't be written."""
    with contextlib.suppress(OSError):
        place = _memory()
        place.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**_remembered(), **fresh})
        with tempfile.NamedTemporaryFile(
            "w", dir=place.parent, suffix=".tmp", delete=False, encoding="utf-8"
        ) as file:
            file.write(text)
        Path(file.name).replace(place)
