"""Commands that read storyboards and what ships with storyflow; none renders."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from storyflow.cli.app import app, print_json
from storyflow.cli.options import (
    AllowOutside,
    AsJson,
    EpisodeOf,
    FilmPipeline,
    StoryboardFile,
)

if TYPE_CHECKING:
    from storyflow.ordering import Options


class SchemaKind(Enum):
    """What `storyflow schema` can describe."""

    storyboard = "storyboard"
    cut = "cut"
    series = "series"


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Storyboards.")],
    series: EpisodeOf = None,
    pipeline: FilmPipeline = None,
    as_json: AsJson = False,
    allow_outside: AllowOutside = False,
) -> None:
    """Check storyboards: every error at once, with its line and its cure."""
    import storyflow

    # `storyboards/*.yaml` names what lies beside the storyboards, too.
    beside = (".lock.yaml", ".cut.yaml")
    files = [f for f in files if not f.name.endswith(beside)] or files
    options: Options = {"series": series, "pipeline": pipeline, "allow_outside": allow_outside}
    found = [p for file in files for p in storyflow.check(file, **options)]
    errors = [p for p in found if p.level == "error"]
    if as_json:
        from dataclasses import asdict

        print_json([asdict(p) for p in found])
    else:
        for problem in found:
            sign = "" if problem.level == "error" else "notice: "
            print(f"{sign}{problem}", file=sys.stderr if problem.level == "error" else sys.stdout)
        if not errors:
            print(f"{len(files)} storyboard{'s' if len(files) > 1 else ''} checked, no errors")
    raise typer.Exit(1 if errors else 0)


@app.command()
def show(
    file: StoryboardFile,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="With all defaults applied.")
    ] = False,
    series: EpisodeOf = None,
) -> None:
    """Print a storyboard as storyflow reads it."""
    import storyflow

    print(storyflow.show(file, resolved=resolved, series=series), end="")


@app.command()
def schema(
    kind: Annotated[
        SchemaKind, typer.Argument(metavar="KIND", help="storyboard, cut (a cut list) or series.")
    ] = SchemaKind.storyboard,
) -> None:
    """Print the JSON Schema of storyboards, cut lists or series, for completion in an editor."""
    import storyflow

    print_json(storyflow.schema(kind.value))


@app.command()
def ids(file: StoryboardFile) -> None:
    """Write the ids of shots that have none into the file; comments stay."""
    import storyflow

    written = storyflow.write_ids(file)
    print(f"{file}: wrote {', '.join(written)}" if written else f"{file}: every shot has an id")


@app.command(name="pipelines")
def pipelines_(as_json: AsJson = False) -> None:
    """List the pipeline profiles that ship with storyflow."""
    from storyflow.pipeline import load_profile
    from storyflow.settings import names

    rows = {name: load_profile(name)[1].about for name in names("pipelines")}
    if as_json:
        print_json(rows)
        return
    for name, about in rows.items():
        print(f"{name:30} {about}")
