"""Commands that say what a render would do and why, and prove what one did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from storyflow.cli.app import app, print_json
from storyflow.cli.options import (
    AllowOutside,
    AsJson,
    ClusterName,
    EpisodeOf,
    FilmCluster,
    FilmPipeline,
    FollowEdit,
    OneClass,
    Out,
    Settings,
    StoreFolder,
    StoryboardFile,
    Workers,
)

if TYPE_CHECKING:
    from storyflow.ordering import Options


@app.command()
def plan(
    file: StoryboardFile,
    series: EpisodeOf = None,
    pipeline: FilmPipeline = None,
    out: Out = None,
    store: StoreFolder = None,
    cluster: FilmCluster = None,
    settings: Settings = None,
    workers: Workers = None,
    as_json: AsJson = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Say of each segment which input has changed.")
    ] = False,
    one_class: OneClass = False,
    edit: FollowEdit = True,
    allow_outside: AllowOutside = False,
) -> None:
    """Print what a render would do: shots, segments, prompts, reuse, time and cost."""
    import storyflow

    options: Options = {
        "series": series,
        "pipeline": pipeline,
        "out": out,
        "store": store,
        "cluster": cluster,
        "settings": settings or (),
        "workers": workers,
        "one_class": one_class,
        "edit": edit,
        "allow_outside": allow_outside,
    }
    if diff:
        changes = storyflow.diff(file, **options)
        if as_json:
            print_json(changes.as_data())
            return
        from storyflow.tables import print_diff

        print_diff(changes)
        return
    what = storyflow.quote(file, **options)
    if as_json:
        print_json(what.as_data())
        return
    from storyflow.tables import print_plan

    print_plan(what)


@app.command()
def replay(
    key: Annotated[str, typer.Argument(help="A segment's or prompt's key, or its first letters.")],
    store: StoreFolder = None,
    cluster: ClusterName = "local",
    as_json: AsJson = False,
) -> None:
    """Make one stored segment again from its stored inputs, and compare."""
    import storyflow

    made = storyflow.replay(key, store=store, cluster=cluster)
    if as_json:
        print_json(made.as_data())
    else:
        from storyflow.tables import print_replay

        print_replay(made)
    raise typer.Exit(0 if made.same else 1)
