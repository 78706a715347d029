"""The console that everything is printed on."""

from __future__ import annotations

from rich.console import Console

PIPED_WIDTH = 140
"""Columns where the output is not a terminal: no table is cut for a width that nobody has."""


def new_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """A console that leaves `:x:` in a title as it is written."""
    console = Console(stderr=stderr, quiet=quiet, emoji=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    return console
