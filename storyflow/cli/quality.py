"""The commands that look at what was rendered: `qc FILM`, and the group that others join."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from storyflow.cli.app import app, print_json
from storyflow.cli.bar import bar
from storyflow.cli.options import AsJson, Out

if TYPE_CHECKING:
    from storyflow.qc.verdicts import Level, Quality

EXIT: dict[Level, int] = {"pass": 0, "warn": 6, "fail": 7}
"""How `qc FILM` leaves."""


class _FilmFirst(TyperGroup):
    """`qc FILM` is short for `qc film FILM`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["film", *args]
        return super().parse_args(ctx, args)


qc = typer.Typer(
    help="Look at what was rendered; qc FILM is short for qc film FILM.",
    no_args_is_help=True,
    cls=_FilmFirst,
)
app.add_typer(qc, name="qc")


@qc.callback()
def _qc() -> None:
    """Look at what was rendered; qc FILM is short for qc film FILM."""


@qc.command()
def film(
    film: Annotated[
        Path, typer.Argument(metavar="FILM", help="A film, its folder, or its storyboard.")
    ],
    out: Out = None,
    vmaf: Annotated[
        bool, typer.Option("--vmaf", help="Also measure VMAF; it takes longer.")
    ] = False,
    limits: Annotated[
        Path | None, typer.Option("--limits", help="Limits in place of storyflow's own.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a limit: seam_ratio.warn=4.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a film: its seams, its drift, faults inside shots, and the delivered file.

    Writes qc.json beside the film. Leaves with 0 where all is within the
    limits, 6 with warnings, 7 with failures.
    """
    import storyflow

    with bar("takes") as progress:
        found = storyflow.qc_film(
            film, out=out, vmaf=vmaf, limits=limits, settings=settings or (), progress=progress
        )
    if as_json:
        from dataclasses import asdict

        print_json(asdict(found))
    else:
        _print(found)
    raise typer.Exit(EXIT[found.level])


def _print(found: Quality) -> None:
    from rich.markup import escape
    from rich.table import Table

    from storyflow.terminal import new_console

    console = new_console()
    colours = {"pass": "green", "warn": "yellow", "fail": "red"}
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("shot", "frame", "", "measure", "value", "limit", ""):
        table.add_column(name, overflow="fold")
    for verdict in found.every:
        take = "" if verdict.take == 1 else f".{verdict.take}"
        table.add_row(
            escape(f"{verdict.shot}{take}") if verdict.shot else "film",
            "" if verdict.frame is None else str(verdict.frame),
            f"[{colours[verdict.level]}]{verdict.level}[/]",
            verdict.measure,
            f"{verdict.value:.3g}",
            f"{verdict.limit:g}",
            escape(verdict.text),
        )
    if found.every:
        console.print(table)
    seams = [seam for take in found.takes for seam in take.seams if seam.shown]
    for each in found.takes:
        if each.drift is not None:
            console.print(
                f"{escape(each.shot)}: {each.drift.light:+.2f} L* and "
                f"{each.drift.saturation:+.1f} % saturation per segment, "
                f"over {each.drift.seams} seams",
                highlight=False,
            )
    if found.delivery is not None:
        vmaf = "" if found.delivery.vmaf is None else f", VMAF {found.delivery.vmaf:.1f}"
        console.print(
            f"{escape(found.delivery.file)}: SSIM {found.delivery.ssim:.4f}{vmaf} against its "
            "masters",
            highlight=False,
        )
    bad = sum(seam.level != "pass" for seam in seams)
    levels = [verdict.level for verdict in found.every]
    console.print(
        f"[{colours[found.level]}]{found.level}[/]: {len(found.takes)} takes, {bad} of "
        f"{len(seams)} seams seen, {levels.count('fail')} failures, "
        f"{levels.count('warn')} warnings",
        highlight=False,
        soft_wrap=True,
    )
