"""Commands that look after a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from storyflow.cli.app import app, print_json
from storyflow.cli.options import AsJson, ClusterName, StoreFolder

if TYPE_CHECKING:
    from storyflow.store.gc import Garbage
    from storyflow.store.inventory import Inventory

store = typer.Typer(help="Look after a store of finished segments.", no_args_is_help=True)
app.add_typer(store, name="store")


@store.command()
def ls(store: StoreFolder = None, cluster: ClusterName = "local", as_json: AsJson = False) -> None:
    """List the runs that a store keeps, with their sizes, and what no run needs."""
    from dataclasses import asdict

    from storyflow.stores import store_inventory

    found = store_inventory(store, cluster=cluster)
    if as_json:
        print_json({"storyflow": 1, **asdict(found)})
    else:
        _print_inventory(found)


@store.command()
def verify(
    store: StoreFolder = None, cluster: ClusterName = "local", as_json: AsJson = False
) -> None:
    """Read everything and compare it with its hash; what is damaged is set aside. 5 if any was."""
    from dataclasses import asdict

    from storyflow.stores import verify_store

    found = verify_store(store, cluster=cluster)
    if as_json:
        print_json({"storyflow": 1, **asdict(found)})
    else:
        for damaged in found.damaged:
            print(f"{damaged.key}: {damaged.fault}{'; set aside' if damaged.set_aside else ''}")
        print(f"{_count(found.artifacts, 'artifact')}, {size_text(found.size)} verified")
        if found.damaged:
            print(f"{len(found.damaged)} damaged: render their films again to replace them")
    raise typer.Exit(5 if found.damaged else 0)


@store.command()
def gc(
    store: StoreFolder = None,
    cluster: ClusterName = "local",
    older_than: Annotated[
        str, typer.Option("--older-than", help="Keep all that is younger: 30d, 12h, 2w.")
    ] = "30d",
    yes: Annotated[bool, typer.Option("--yes", help="Delete it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what no run needs and is old enough to go; with --yes, delete it."""
    from dataclasses import asdict

    from storyflow.stores import collect_garbage, parse_age

    found = collect_garbage(store, cluster=cluster, older_than=parse_age(older_than), delete=yes)
    if as_json:
        print_json({"storyflow": 1, **asdict(found)})
    else:
        _print_garbage(found)


@app.command()
def forget(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="As in ls.")] = None,
    store: StoreFolder = None,
    cluster: ClusterName = "local",
    superseded: Annotated[
        bool,
        typer.Option("--superseded", help="Also the earlier plans of films that were run again."),
    ] = False,
) -> None:
    """Let a store's garbage collection have what only these runs need."""
    from storyflow.stores import forget_runs

    if not runs and not superseded:
        raise typer.BadParameter("name a run (see: storyflow store ls), or give --superseded")
    dropped = forget_runs(runs or (), store=store, cluster=cluster, superseded=superseded)
    for root in dropped:
        print(f"{root.run}: forgotten; {root.film}, last run {root.when} on {root.host}")
    if not dropped:
        print("no run was superseded")


def size_text(size: int) -> str:
    """`1.2 GB`."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _print_inventory(found: Inventory) -> None:
    from rich.table import Table

    from storyflow.terminal import new_console

    console = new_console()
    if found.runs:
        table = Table(box=None, header_style="bold")
        for name in ("run", "film", "last", "host"):
            table.add_column(name, overflow="fold")
        for name in ("segments", "size", "alone"):
            table.add_column(name, justify="right")
        for row in found.runs:
            segments = f"{row.segments} of {row.planned}" if not row.finished else f"{row.segments}"
            sizes = (size_text(row.size), size_text(row.alone))
            table.add_row(row.run, row.film, row.when, row.host, segments, *sizes)
        console.print(table)
    what = ", ".join(
        _count(count, name)
        for count, name in (
            (found.segments, "segment"),
            (found.prompts, "prompt"),
            (found.sources, "source"),
            (found.jobs, "job record"),
        )
        if count
    )
    print(f"{found.store}: {what or 'empty'}, {size_text(found.size)}")
    if found.loose_artifacts:
        size = size_text(found.loose_size)
        count = _count(found.loose_artifacts, "artifact")
        print(f"no run needs {count}, {size}: see storyflow store gc")
    if found.damaged:
        print(f"damaged and set aside: {found.damaged}, {size_text(found.damaged_size)}")


def _print_garbage(found: Garbage) -> None:
    for artifact in found.artifacts:
        name = artifact.origin.name if artifact.origin is not None else artifact.kind
        size = sum(blob.size for blob in artifact.blobs)
        print(f"{artifact.key}  {name}  {size_text(size)}")
    did = "deleted" if found.deleted else "to delete"
    print(
        f"{did}: {_count(len(found.artifacts), 'artifact')}, "
        f"{_count(len(found.content), 'file')} of content, {len(found.damaged)} damaged, "
        f"{size_text(found.size)}; {_count(found.kept, 'artifact')} stay"
    )
    if not found.deleted and (found.artifacts or found.content or found.damaged):
        print("nothing was deleted; give --yes to do it")


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"
