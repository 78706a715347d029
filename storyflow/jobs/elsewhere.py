"""An order as it is carried out on another machine, where nobody watches."""

from __future__ import annotations

import getpass
import socket
from dataclasses import replace
from pathlib import Path

from storyflow.film import Order
from storyflow.pipeline import Profile
from storyflow.prompts.settings import Instructions, ModelSettings


def unattended(what: Order) -> Order:
    """The order with nothing rendered without the words that it wants, which the lock knows by the
    name that they have here."""
    prompts = what.profile.prompts
    if prompts.composed:
        return what
    files = prompts.instructions.model_dump()
    prompts = prompts.model_copy(
        update={
            "name": prompts.profile,
            "on_failure": "stop",
            "language": _rooted(prompts.language),
            "vision": _rooted(prompts.vision),
            "instructions": Instructions(**{n: f and _absolute(f) for n, f in files.items()}),
        }
    )
    return replace(what, profile=what.profile.model_copy(update={"prompts": prompts}))


def _rooted(model: ModelSettings) -> ModelSettings:
    return model.model_copy(update={"model": _absolute(model.model)})


def with_folders(profile: Profile) -> Profile:
    """The profile with models in folders named from the root: the cluster is elsewhere."""
    model = profile.model
    loras = tuple(lora.model_copy(update={"id": _absolute(lora.id)}) for lora in model.loras)
    model = model.model_copy(update={"id": _absolute(model.id), "loras": loras})
    return profile.model_copy(update={"model": model})


def _absolute(name: str) -> str:
    path = Path(name).expanduser()
    return str(path.absolute()) if "/" in name and path.exists() else name


def sender() -> str:
    """USER@HOST of this process."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
