"""Commands that hand a film over to an editing program, and bring the edit back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from storyflow.cli.app import app
from storyflow.cli.options import (
    AllowOutside,
    AskedCluster,
    AskedPipeline,
    EpisodeOf,
    FollowEdit,
    Out,
    Settings,
    StoreFolder,
    said,
)

if TYPE_CHECKING:
    from storyflow.timeline.handover import HandoverFormat


@app.command()
def handover(
    film: Annotated[
        Path, typer.Argument(metavar="FILM", help="A film's folder, or its storyboard.")
    ],
    to: Annotated[
        Path | None, typer.Option("--to", help="The folder to write [handover beside the film].")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="prores (422 HQ) or dnxhr (HQ).")
    ] = "prores",
    series: EpisodeOf = None,
    pipeline: AskedPipeline = None,
    out: Out = None,
    store: StoreFolder = None,
    cluster: AskedCluster = None,
    settings: Settings = None,
    edit: FollowEdit = True,
    allow_outside: AllowOutside = False,
) -> None:
    """Write a folder for Resolve, Premiere or Avid: takes, timelines, stills, shot list."""
    import storyflow
    from storyflow.ordering import Options

    if format not in ("prores", "dnxhr"):
        raise typer.BadParameter("it is prores or dnxhr", param_hint="--format")
    options = said(pipeline, out, store, cluster, series)
    options |= Options(settings=settings or (), allow_outside=allow_outside, edit=edit)
    made = storyflow.handover(
        film, to=to, format=cast("HandoverFormat", format), notify=print, **options
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
        typer.Argument(metavar="FILM", help="The storyboard [the one whose film is around]."),
    ] = None,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Leave out media that are not of this film.")
    ] = False,
    series: EpisodeOf = None,
    pipeline: AskedPipeline = None,
    out: Out = None,
    store: StoreFolder = None,
    cluster: AskedCluster = None,
    settings: Settings = None,
    allow_outside: AllowOutside = False,
) -> None:
    """Bring an edit back: the film follows the cut list that is written beside its storyboard."""
    import storyflow
    from storyflow.ordering import Options

    options = said(pipeline, out, store, cluster, series)
    options |= Options(settings=settings or (), allow_outside=allow_outside)
    made = storyflow.conform(edit, file, skip_unknown=skip_unknown, **options)
    for note in made.notes:
        print(f"notice: {note}")
    for problem in made.plan.notices:
        if problem.code in ("not-in-cut", "extended", "other-take"):
            print(f"notice: {problem}")
    pieces = len(made.cut.events)
    print(f"{made.file}: {pieces} piece{'' if pieces == 1 else 's'}, {made.plan.frames} frames")
