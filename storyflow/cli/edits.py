"""Commands that hand a film over to an editing program, and bring the edit back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from storyflow.cli.app import app
from storyflow.cli.options import (
    AllowOutside,
    ClusterName,
    FollowEdit,
    Out,
    Pipeline,
    Settings,
    StoreFolder,
    StoryboardFile,
)

if TYPE_CHECKING:
    from storyflow.ordering import Options
    from storyflow.timeline.handover import HandoverFormat


@app.command()
def handover(
    file: StoryboardFile,
    to: Annotated[
        Path | None, typer.Option("--to", help="The folder to write [handover beside the film].")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="prores (422 HQ) or dnxhr (HQ).")
    ] = "prores",
    pipeline: Pipeline = "toybox",
    out: Out = None,
    store: StoreFolder = None,
    cluster: ClusterName = "local",
    settings: Settings = None,
    edit: FollowEdit = True,
    allow_outside: AllowOutside = False,
) -> None:
    """Write a folder for Resolve, Premiere or Avid: takes, timelines, stills, shot list."""
    import storyflow

    if format not in ("prores", "dnxhr"):
        raise typer.BadParameter("it is prores or dnxhr", param_hint="--format")
    made = storyflow.handover(
        file,
        to=to,
        format=cast("HandoverFormat", format),
        notify=print,
        pipeline=pipeline,
        out=out,
        store=store,
        cluster=cluster,
        settings=settings or (),
        edit=edit,
        allow_outside=allow_outside,
    )
    for note in made.notes:
        print(f"notice: {note}")
    if made.missing:
        print(f"notice: not rendered, gaps in the timelines: {', '.join(made.missing)}")
    kept = len(made.files) - made.written
    print(f"{made.folder}: {made.written} takes written, {kept} unchanged")


@app.command()
def conform(
    edit: Annotated[Path, typer.Argument(metavar="EDIT", help="An .otio, .xml or .edl file.")],
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="The storyboard [the hand-over folder's]."),
    ] = None,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Leave out media that are not of this film.")
    ] = False,
    pipeline: Annotated[
        str | None,
        typer.Option("--pipeline", "-p", help="Pipeline profile [the hand-over's, or toybox]."),
    ] = None,
    out: Out = None,
    store: StoreFolder = None,
    cluster: ClusterName = "local",
    settings: Settings = None,
    allow_outside: AllowOutside = False,
) -> None:
    """Bring an edit back: the film follows the cut list that is written beside its storyboard."""
    import storyflow

    options: Options = {
        "out": out,
        "store": store,
        "cluster": cluster,
        "settings": settings or (),
        "allow_outside": allow_outside,
    }
    if pipeline is not None:
        options["pipeline"] = pipeline
    made = storyflow.conform(edit, file, skip_unknown=skip_unknown, **options)
    for note in made.notes:
        print(f"notice: {note}")
    for problem in made.plan.notices:
        if problem.code in ("not-in-cut", "extended", "other-take"):
            print(f"notice: {problem}")
    pieces = len(made.cut.events)
    print(f"{made.file}: {pieces} piece{'' if pieces == 1 else 's'}, {made.plan.frames} frames")
