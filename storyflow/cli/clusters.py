"""Commands about clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from storyflow.cli.app import app, print_json
from storyflow.cli.options import Address, AsJson, ClusterName, Pipeline, Settings, StoreFolder

if TYPE_CHECKING:
    from storyflow.doctor import Diagnosis

cluster = typer.Typer(help="Look after a cluster.", no_args_is_help=True)
app.add_typer(cluster, name="cluster")


@cluster.command()
def doctor(
    address: Address = None,
    pipeline: Pipeline = "toybox",
    settings: Settings = None,
    cluster: ClusterName = "local",
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """Examine every node of a cluster; exit code 5 where a pipeline's films can't be rendered."""
    from storyflow.doctor import examine_cluster

    found = examine_cluster(
        address, pipeline=pipeline, settings=settings or (), cluster=cluster, store=store
    )
    if as_json:
        from dataclasses import asdict

        print_json({"storyflow": 1, **asdict(found), "exit_code": found.exit_code})
    else:
        _print(found)
    raise typer.Exit(found.exit_code)


def _print(found: Diagnosis) -> None:
    from rich.markup import escape
    from rich.table import Table

    from storyflow.terminal import new_console

    console = new_console()
    nodes = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("node", "has", "GPUs", "versions"):
        nodes.add_column(name, overflow="fold")
    for node in found.nodes:
        nodes.add_row(*map(escape, (node.name, node.has, node.cards, node.versions)))
    console.print(nodes)
    if found.findings:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in ("level", "code", "where", "what", "cure"):
            table.add_column(name, overflow="fold")
        for each in found.findings:
            what = each.what + (f": {each.value}" if each.value else "")
            cells = (each.level, each.code, each.where or "cluster", what, each.cure)
            table.add_row(*map(escape, cells))
        console.print(table)
    errors, warnings = len(found.errors), len(found.warnings)
    wrong = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
    print(
        f"{found.address}, pipeline {found.pipeline}, store {found.store}: "
        + (wrong if errors or warnings else "fit")
    )


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
