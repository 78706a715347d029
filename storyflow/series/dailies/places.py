"""Where the dailies of a night lie, and the command that they recommend."""

from __future__ import annotations

import shlex
from pathlib import Path

from storyflow.series.orders import Grounds
from storyflow.store.place import is_url

FOLDER = "dailies"
"""Where the films' folder has them."""


def page_of(grounds: Grounds, night: str) -> Path:
    """The page of a night; the JSON lies beside it."""
    return grounds.folder.absolute() / FOLDER / f"{night}.html"


def data_of(page: Path) -> Path:
    """The JSON of a page."""
    return page.with_suffix(".json")


def retry_command(grounds: Grounds, episode: str) -> str:
    """The command that renders what failed of an episode, for any shell in any folder."""
    if grounds.command:
        return shlex.join([*grounds.command, "--retry"])
    return _command(grounds, "retry", episode)


def render_command(grounds: Grounds) -> str:
    """The command that renders what is left of the series."""
    return shlex.join(grounds.command) if grounds.command else _command(grounds, "render")


def _command(grounds: Grounds, verb: str, *more: str) -> str:
    file, where = grounds.series.origin.file, grounds.where
    words = ["storyflow", "series", verb, _absolute(file) if file else "SERIES", *more]
    cluster, store, out = where.get("cluster"), where.get("store"), where.get("out")
    if isinstance(cluster, str | Path):
        is_file = str(cluster).endswith((".yaml", ".yml")) or "/" in str(cluster)
        words += ["--cluster", _absolute(cluster) if is_file else str(cluster)]
    if store is not None:
        words += ["--store", str(store) if is_url(str(store)) else _absolute(store)]
    if out is not None:
        words += ["--out", _absolute(out)]
    for setting in where.get("settings", ()):
        words += ["--set", setting]
    if (address := where.get("address")) is not None:
        words += ["--address", address]
    if (workers := where.get("workers")) is not None:
        words += ["--workers", str(workers)]
    if where.get("allow_outside"):
        words.append("--allow-outside")
    return shlex.join(words)


def _absolute(path: str | Path) -> str:
    return str(Path(path).absolute())
