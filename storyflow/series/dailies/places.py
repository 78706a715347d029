"""Where the dailies of a night lie, and the command that they recommend."""

from __future__ import annotations

import shlex
from pathlib import Path

from storyflow.series.orders import Grounds

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
    return _command(grounds, "retry", episode)


def render_command(grounds: Grounds) -> str:
    """The command that renders what is left of the series."""
    return _command(grounds, "render")


def _command(grounds: Grounds, verb: str, *more: str) -> str:
    if grounds.command:
        return shlex.join([*grounds.command, *(["--retry"] if verb == "retry" else [])])
    file = grounds.series.origin.file
    words = ["storyflow", "series", verb, str(Path(file).absolute()) if file else "SERIES", *more]
    where = grounds.where
    for name, value in (
        ("--cluster", where.get("cluster")),
        ("--store", where.get("store")),
        ("--out", where.get("out")),
        ("--address", where.get("address")),
        ("--workers", where.get("workers")),
    ):
        if isinstance(value, str | int | Path):
            words += [name, str(value)]
    return shlex.join(words)
