"""The command that says beforehand what a render would do."""

from __future__ import annotations

from storyflow.cli.app import app, print_json
from storyflow.cli.options import (
    AllowOutside,
    AsJson,
    ClusterName,
    Out,
    Pipeline,
    Settings,
    StoreFolder,
    StoryboardFile,
)


@app.command()
def plan(
    file: StoryboardFile,
    pipeline: Pipeline = "toybox",
    out: Out = None,
    store: StoreFolder = None,
    cluster: ClusterName = "local",
    settings: Settings = None,
    as_json: AsJson = False,
    allow_outside: AllowOutside = False,
) -> None:
    """Print what a render would do: shots, segments, prompts, reuse and cost."""
    import storyflow

    what = storyflow.quote(
        file,
        pipeline=pipeline,
        out=out,
        store=store,
        cluster=cluster,
        settings=settings or (),
        allow_outside=allow_outside,
    )
    if as_json:
        print_json(what.as_data())
        return
    from storyflow.tables import print_plan

    print_plan(what)
