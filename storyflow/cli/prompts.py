"""Commands about prompts: what a film's shots are told to look like."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from storyflow.cli.app import app, print_json
from storyflow.cli.options import (
    Address,
    AllowOutside,
    AsJson,
    EpisodeOf,
    FilmCluster,
    FilmPipeline,
    Out,
    Settings,
    StoreFolder,
    StoryboardFile,
    shot_ids,
)


@app.command()
def prompts(
    file: StoryboardFile,
    series: EpisodeOf = None,
    pipeline: FilmPipeline = None,
    cluster: FilmCluster = None,
    settings: Settings = None,
    address: Address = None,
    shots: Annotated[
        str | None, typer.Option("--shots", help="Write and show only these: 1C,2A.")
    ] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show word by word what was changed, and nothing else.")
    ] = False,
    keep: Annotated[
        str | None,
        typer.Option("--keep", help="Keep the words of these, whatever has changed: 1C,2A/2."),
    ] = None,
    rewrite: Annotated[
        str | None, typer.Option("--rewrite", help="Write these anew, edited ones, too: 1C,2A/2.")
    ] = None,
    from_renders: Annotated[
        bool,
        typer.Option(
            "--from-renders", help="Write continuing shots anew, in view of what they continue."
        ),
    ] = False,
    out: Out = None,
    store: StoreFolder = None,
    as_json: AsJson = False,
    allow_outside: AllowOutside = False,
) -> None:
    """Write the prompts that are missing or out of date into the lock, and show them.

    Leaves with 3 where a model gave no answer and the composer's words stand in for now.
    """
    import storyflow

    found = storyflow.write_prompts(
        file,
        keep=shot_ids(keep) or (),
        rewrite=shot_ids(rewrite) or (),
        from_renders=from_renders,
        notify=lambda text: print(text, file=sys.stderr),
        series=series,
        pipeline=pipeline,
        cluster=cluster,
        out=out,
        store=store,
        settings=settings or (),
        address=address,
        shots=shot_ids(shots),
        allow_outside=allow_outside,
    )
    if as_json:
        from dataclasses import asdict

        print_json({"storyflow": 1, **asdict(found)})
    else:
        from storyflow.wordtable import print_wordings

        print_wordings(found, diff=diff)
    raise typer.Exit(0 if found.complete else 3)
