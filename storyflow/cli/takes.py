"""Commands about takes of a shot."""

from __future__ import annotations

from typing import Annotated

import typer

from storyflow.cli.app import app
from storyflow.cli.options import (
    EpisodeOf,
    FilmCluster,
    FilmPipeline,
    StoreFolder,
    StoryboardFile,
)


@app.command()
def take(
    file: StoryboardFile,
    shot: Annotated[str, typer.Argument(help="The shot's id.")],
    number: Annotated[int, typer.Argument(metavar="TAKE", help="The take that the cut uses.")],
    series: EpisodeOf = None,
) -> None:
    """Choose the take of a shot that the cut uses."""
    import storyflow

    storyflow.choose_take(file, shot, number, series=series)
    print(f"{file}: the cut uses take {number} of shot {shot}")


@app.command()
def hold(
    file: StoryboardFile,
    shot: Annotated[str, typer.Argument(help="The shot's id.")],
    series: EpisodeOf = None,
    pipeline: FilmPipeline = None,
    store: StoreFolder = None,
    cluster: FilmCluster = None,
    release: Annotated[bool, typer.Option("--release", help="Let it follow its inputs.")] = False,
) -> None:
    """Keep a shot's approved take as it is when its inputs change."""
    import storyflow

    if release:
        storyflow.release(file, shot, series=series, pipeline=pipeline)
        print(f"{file}: shot {shot} follows its inputs again")
    else:
        storyflow.hold(file, shot, series=series, pipeline=pipeline, store=store, cluster=cluster)
        print(f"{file}: shot {shot} is held")


@app.command()
def branch(
    file: StoryboardFile,
    shot: Annotated[str, typer.Argument(help="The shot's id.")],
    at: Annotated[str, typer.Option("--at", help="Where in the shot: 0:14, 14s or 336f.")],
    take: Annotated[int, typer.Option("--take", help="The take to branch from.")] = 1,
    series: EpisodeOf = None,
    pipeline: FilmPipeline = None,
) -> None:
    """Make a new take that shares a take's beginning and is rendered anew from there."""
    import storyflow

    number = storyflow.branch(file, shot, at, take=take, series=series, pipeline=pipeline)
    print(f"{file}: take {number} of shot {shot} differs from {at} on; choose it with")
    of = "" if series is None else f" --series {series}"
    print(f"  storyflow take {file} {shot} {number}{of}")
