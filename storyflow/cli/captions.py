"""Commands that look at pictures, and that complete prompts in bulk."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from storyflow.cli.app import app, print_json
from storyflow.cli.bar import bar
from storyflow.cli.options import (
    Address,
    AllowOutside,
    AsJson,
    ClusterName,
    EpisodeOf,
    FilmCluster,
    FilmPipeline,
    Out,
    Settings,
    StoreFolder,
    StoryboardFile,
    shot_ids,
)
from storyflow.cli.quality import qc

if TYPE_CHECKING:
    from storyflow.prompts.bulk import Bulk
    from storyflow.qc.captions import CaptionReport

Csv = Annotated[Path, typer.Option("--out", help="CSV file; what it has already is kept.")]
ModelPipeline = Annotated[
    str, typer.Option("--pipeline", "-p", help="Pipeline profile whose model is asked.")
]


@app.command()
def caption(
    source: Annotated[
        Path, typer.Argument(metavar="CLIPS", help="A folder, or a CSV file with a column path.")
    ],
    out: Csv,
    pipeline: ModelPipeline,
    cluster: ClusterName = "local",
    settings: Settings = None,
    address: Address = None,
) -> None:
    """Describe clips and pictures, each as a structured caption.

    Run again, it goes on where it stopped. Leaves with 3 where some can't be described.
    """
    from storyflow.captioning import caption_clips

    work = partial(
        caption_clips,
        source,
        out,
        pipeline=pipeline,
        settings=settings or (),
        cluster=cluster,
        address=address,
    )
    _in_bulk("clip", work)


@app.command()
def enhance(
    source: Annotated[
        Path, typer.Argument(metavar="PROMPTS", help="A text file with a prompt on each line.")
    ],
    out: Csv,
    pipeline: ModelPipeline,
    cluster: ClusterName = "local",
    settings: Settings = None,
    address: Address = None,
) -> None:
    """Complete short prompts, each line as a shot of its own.

    Run again, it goes on where it stopped. Leaves with 3 where some can't be completed.
    """
    from storyflow.captioning import enhance_prompts

    work = partial(
        enhance_prompts,
        source,
        out,
        pipeline=pipeline,
        settings=settings or (),
        cluster=cluster,
        address=address,
    )
    _in_bulk("prompt", work)


@qc.command()
def captions(
    file: StoryboardFile,
    series: EpisodeOf = None,
    pipeline: FilmPipeline = None,
    out: Out = None,
    store: StoreFolder = None,
    cluster: FilmCluster = None,
    settings: Settings = None,
    address: Address = None,
    shots: Annotated[str | None, typer.Option("--shots", help="Read only these: 1C,2A.")] = None,
    as_json: AsJson = False,
    allow_outside: AllowOutside = False,
) -> None:
    """Read every rendered shot and compare it with what the storyboard asked for.

    Toybox films are measured, others are read by the pipeline's captioner. It only warns.
    """
    from storyflow.captioning import qc_captions

    report = qc_captions(
        file,
        notify=_notify,
        series=series,
        pipeline=pipeline,
        out=out,
        store=store,
        cluster=cluster,
        settings=settings or (),
        address=address,
        shots=shot_ids(shots),
        allow_outside=allow_outside,
    )
    if as_json:
        print_json(report.as_data())
    else:
        _print(report)


def _notify(text: str) -> None:
    print(text, file=sys.stderr)


def _in_bulk(noun: str, work: Callable[..., Bulk]) -> NoReturn:
    """Do the work with a bar on a terminal (elsewhere the summary says it all), and leave."""
    with bar(f"{noun}s") as progress:
        done = work(notify=_notify, progress=progress)
    for name, cause in done.failed:
        print(f"{name}: {cause}", file=sys.stderr)
    failed = f", {len(done.failed)} failed" if done.failed else ""
    kept = f", {done.kept} were there" if done.kept else ""
    plural = "" if done.done == 1 else "s"
    print(f"{done.done} {noun}{plural} written to {done.out}{kept}{failed}")
    raise typer.Exit(3 if done.failed else 0)


def _print(report: CaptionReport) -> None:
    from rich.markup import escape
    from rich.table import Table

    from storyflow.terminal import new_console

    console = new_console()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("shot", "field", "asked", "seen", ""):
        table.add_column(name, overflow="fold")
    colours = {"as asked": "green", "perhaps not": "yellow", "not as asked": "red"}
    for beat in report.beats:
        take = "" if beat.take == 1 else f".{beat.take}"
        name = f"{beat.shot}{take}/{beat.beat + 1}"
        colour = colours.get(beat.verdict, "dim")
        said = f"{beat.verdict}: {beat.trouble}" if beat.trouble else beat.verdict
        table.add_row(f"[bold]{escape(name)}[/]", "", "", "", f"[{colour}]{escape(said)}[/]")
        for each in beat.checks:
            sign = "[green]✓[/]" if each.agrees else "[red]✗[/]"
            table.add_row("", each.field, escape(each.asked), escape(each.seen or "-"), sign)
    console.print(table)
    wrong = sum(beat.verdict == "not as asked" for beat in report.beats)
    console.print(
        f"{wrong} of {len(report.beats)} beats are not as asked, {escape(report.reader)}; "
        f"written to {escape(str(report.file))}",
        highlight=False,
        soft_wrap=True,
    )
