"""Whether a machine has a model, or can get it. No weights are loaded and nothing is downloaded."""

from __future__ import annotations

import re
from pathlib import Path

from storyflow.doctor.facts import ModelAsked, ModelState
from storyflow.errors import ModelError

HUB_SECONDS = 15.0
"""For the hub's answer."""


def look_for(asked: ModelAsked) -> tuple[ModelState, str]:
    """How it stands with a model here, and why where that is not well.

    `hub`: it is not here, and the hub has it. Of what is here the files are checked: those of a
    renderer as thoroughly as before a render.
    """
    path = Path(asked.name).expanduser()
    if path.exists():
        return _whole(path, asked)
    if asked.name.startswith(("/", "./", "../", "~")) or not _hub_id(asked.name):
        return "missing", f"there is no {path}"
    kept = _kept(asked)
    if kept is not None and _whole(kept, asked)[0] == "here":
        return "here", ""
    return _ask_hub(asked)


def _whole(path: Path, asked: ModelAsked) -> tuple[ModelState, str]:
    try:
        if asked.use == "renderer":
            from storyflow.forcing.weights.family import FAMILIES
            from storyflow.forcing.weights.source import RENDERER_PARTS, TEXT_PARTS, check_folder

            check_folder(path, (*RENDERER_PARTS, *TEXT_PARTS), FAMILIES)
    except (ModelError, OSError) as error:
        return "missing", error.what if isinstance(error, ModelError) else str(error)
    if path.is_dir() and not any(path.rglob("*.safetensors")):
        return "missing", f"{path} holds no safetensors weights"
    return "here", ""


def _hub_id(name: str) -> bool:
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None


def _kept(asked: ModelAsked) -> Path | None:
    """The folder of an earlier download; it may be incomplete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(asked.name, revision=asked.revision, local_files_only=True))
    except (HFValidationError, OSError, ValueError):
        return None


def _ask_hub(asked: ModelAsked) -> tuple[ModelState, str]:
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        HfApi().model_info(asked.name, revision=asked.revision, timeout=HUB_SECONDS)
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        # Also a gated one, for whoever has no right to it.
        return "missing", f"the hub does not give it out ({_brief(error)})"
    except OfflineModeIsEnabled:
        return "unreachable", "HF_HUB_OFFLINE forbids asking the hub"
    except (HfHubHTTPError, httpx2.HTTPError, OSError, ValueError) as error:
        return "unreachable", _brief(error)
    return "hub", ""


def _brief(error: BaseException) -> str:
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return lines[0][:200]
