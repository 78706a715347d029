"""The command that writes a film's report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from storyflow.cli.app import app
from storyflow.cli.options import Out


@app.command()
def report(
    film: Annotated[
        Path, typer.Argument(metavar="FILM", help="A film's folder, or its storyboard.")
    ],
    out: Out = None,
) -> None:
    """Write report.html and the contact sheet beside a film; renders and cuts nothing."""
    import storyflow

    made = storyflow.report(film, out=out)
    for path in (made.page, *made.sheets):
        print(path)
