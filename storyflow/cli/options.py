"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from storyflow.ordering import Options

StoryboardFile = Annotated[Path, typer.Argument(metavar="FILE", help="The storyboard.")]
Pipeline = Annotated[
    str, typer.Option("--pipeline", "-p", help="Pipeline profile: a shipped name or a file.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override a profile field: forcing.steps=20.")
]
ClusterName = Annotated[str, typer.Option("--cluster", help="Cluster file: a name or a file.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="Folder for the film [renders/STORYBOARD].")
]
StoreFolder = Annotated[
    str | None,
    typer.Option("--store", help="Finished segments: a folder or a URL [the cluster file's]."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print data instead of text.")]
Address = Annotated[
    str | None, typer.Option("--address", help="local, auto, ray://HOST, or in-process.")
]
AllowOutside = Annotated[
    bool, typer.Option("--allow-outside", help="Let references leave the storyboard's folder.")
]
Shots = Annotated[
    str | None, typer.Option("--shots", help="Render only these and what they continue: 1C,2A.")
]
Workers = Annotated[int | None, typer.Option("--workers", help="Number of render workers.")]
Priority = Annotated[
    float | None,
    typer.Option(
        "--priority",
        help="Part of a busy cluster: 2 holds twice the workers of 1 [the cluster file's].",
    ),
]
MaxGpuHours = Annotated[
    float | None,
    typer.Option("--max-gpu-hours", help="Refuse a plan that takes more GPU-hours; stop there."),
]
MaxCost = Annotated[
    float | None,
    typer.Option("--max-cost", help="The same in money; the cluster file has the price."),
]
MaxGpus = Annotated[
    int | None, typer.Option("--max-gpus", help="GPUs at once, or workers where there are none.")
]
OneClass = Annotated[
    bool, typer.Option("--one-class", help="Reuse and render in one numerics class only.")
]
Doctor = Annotated[
    bool, typer.Option("--doctor/--no-doctor", help="Examine the cluster first, or don't.")
]

FollowEdit = Annotated[
    bool,
    typer.Option(
        "--edit/--no-edit", help="Follow the cut list that lies beside the storyboard, or not."
    ),
]

EpisodeOf = Annotated[
    Path | None,
    typer.Option(
        "--series", help="The series that it is an episode of; what isn't said is as there."
    ),
]
FilmPipeline = Annotated[
    str | None,
    typer.Option(
        "--pipeline",
        "-p",
        help="Pipeline profile: a shipped name or a file [the series', or toybox].",
    ),
]
FilmCluster = Annotated[
    str | None,
    typer.Option("--cluster", help="Cluster file: a name or a file [the series', or local]."),
]

AskedPipeline = Annotated[
    str | None,
    typer.Option("--pipeline", "-p", help="Pipeline profile [the film's last one, or toybox]."),
]
AskedCluster = Annotated[
    str | None, typer.Option("--cluster", help="Cluster file [the film's last one, or local].")
]


def said(
    pipeline: str | None,
    out: Path | None,
    store: str | None,
    cluster: str | None,
    series: Path | None = None,
) -> Options:
    """Only what was said: the rest is as the film was last asked for."""
    from storyflow.ordering import Options

    options = Options()
    if pipeline is not None:
        options["pipeline"] = pipeline
    if out is not None:
        options["out"] = out
    if store is not None:
        options["store"] = store
    if cluster is not None:
        options["cluster"] = cluster
    if series is not None:
        options["series"] = series
    return options


def shot_ids(shots: str | None) -> list[str] | None:
    """The ids in `--shots 1C,2A`; None is every shot."""
    return None if shots is None else [shot.strip() for shot in shots.split(",")]
