"""The command line: each verb is one public function of `storyflow`, and prints what it returns.

Exit codes: 0 complete, 1 refused input, 2 usage, 3 partial film, 4 budget or time window reached,
5 infrastructure, 130/143 cancelled.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from types import FrameType

    from storyflow.run import Run

app = typer.Typer(
    name="storyflow",
    help="make for films: a storyboard goes in, a film comes out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

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
    Path | None, typer.Option("--store", help="Folder of finished segments [the cluster file's].")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print data instead of text.")]
Address = Annotated[
    str | None, typer.Option("--address", help="local, auto, ray://HOST, or in-process.")
]
AllowOutside = Annotated[
    bool, typer.Option("--allow-outside", help="Let references leave the storyboard's folder.")
]
Workers = Annotated[int | None, typer.Option("--workers", help="Number of render workers.")]


def main() -> NoReturn:
    """The console script."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sys.exit(_report(error))
    sys.exit(0)


@app.command()
def render(
    file: StoryboardFile,
    pipeline: Pipeline = "toybox",
    out: Out = None,
    store: StoreFolder = None,
    cluster: ClusterName = "local",
    settings: Settings = None,
    shots: Annotated[
        str | None,
        typer.Option("--shots", help="Render only these and what they continue: 1C,2A."),
    ] = None,
    address: Address = None,
    workers: Workers = None,
    allow_outside: AllowOutside = False,
) -> None:
    """Render a storyboard to a film; what is already rendered is not rendered again."""
    import storyflow

    run = storyflow.start(
        file,
        pipeline=pipeline,
        out=out,
        store=store,
        cluster=cluster,
        settings=settings or (),
        shots=[s.strip() for s in shots.split(",")] if shots is not None else None,
        address=address,
        workers=workers,
        allow_outside=allow_outside,
    )
    _follow(run)


@app.command()
def cut(
    file: StoryboardFile,
    pipeline: Pipeline = "toybox",
    out: Out = None,
    store: StoreFolder = None,
    cluster: ClusterName = "local",
    settings: Settings = None,
) -> None:
    """Cut the film again from what is rendered; renders nothing."""
    import storyflow

    run = storyflow.start(
        file,
        pipeline=pipeline,
        out=out,
        store=store,
        cluster=cluster,
        settings=settings or (),
        shots=(),
    )
    _follow(run)


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Storyboards.")],
    pipeline: Pipeline = "toybox",
    as_json: AsJson = False,
    allow_outside: AllowOutside = False,
) -> None:
    """Check storyboards: every error at once, with its line and its cure."""
    import storyflow

    # `storyboards/*.yaml` names the locks too, which lie beside the storyboards.
    files = [f for f in files if not f.name.endswith(".lock.yaml")] or files
    options: storyflow.api.Options = {"pipeline": pipeline, "allow_outside": allow_outside}
    found = [p for file in files for p in storyflow.check(file, **options)]
    errors = [p for p in found if p.level == "error"]
    if as_json:
        from dataclasses import asdict

        _print_json([asdict(p) for p in found])
    else:
        for problem in found:
            sign = "" if problem.level == "error" else "notice: "
            print(f"{sign}{problem}", file=sys.stderr if problem.level == "error" else sys.stdout)
        if not errors:
            print(f"{len(files)} storyboard{'s' if len(files) > 1 else ''} checked, no errors")
    raise typer.Exit(1 if errors else 0)


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
        _print_json(what.as_data())
        return
    from storyflow.tables import print_plan

    print_plan(what)


@app.command()
def show(
    file: StoryboardFile,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="With all defaults applied.")
    ] = False,
) -> None:
    """Print a storyboard as storyflow reads it."""
    import storyflow

    print(storyflow.show(file, resolved=resolved), end="")


@app.command()
def schema() -> None:
    """Print the storyboard's JSON Schema, for completion in an editor."""
    import storyflow

    _print_json(storyflow.schema())


@app.command()
def ids(file: StoryboardFile) -> None:
    """Write the ids of shots that have none into the file; comments stay."""
    import storyflow

    written = storyflow.write_ids(file)
    print(f"{file}: wrote {', '.join(written)}" if written else f"{file}: every shot has an id")


@app.command()
def take(
    file: StoryboardFile,
    shot: Annotated[str, typer.Argument(help="The shot's id.")],
    number: Annotated[int, typer.Argument(metavar="TAKE", help="The take that the cut uses.")],
) -> None:
    """Choose the take of a shot that the cut uses."""
    import storyflow

    storyflow.choose_take(file, shot, number)
    print(f"{file}: the cut uses take {number} of shot {shot}")


@app.command()
def hold(
    file: StoryboardFile,
    shot: Annotated[str, typer.Argument(help="The shot's id.")],
    pipeline: Pipeline = "toybox",
    store: StoreFolder = None,
    cluster: ClusterName = "local",
    release: Annotated[bool, typer.Option("--release", help="Let it follow its inputs.")] = False,
) -> None:
    """Keep a shot's approved take as it is when its inputs change."""
    import storyflow

    if release:
        storyflow.release(file, shot, pipeline=pipeline)
        print(f"{file}: shot {shot} follows its inputs again")
    else:
        storyflow.hold(file, shot, pipeline=pipeline, store=store, cluster=cluster)
        print(f"{file}: shot {shot} is held")


@app.command()
def branch(
    file: StoryboardFile,
    shot: Annotated[str, typer.Argument(help="The shot's id.")],
    at: Annotated[str, typer.Option("--at", help="Where in the shot: 0:14, 14s or 336f.")],
    take: Annotated[int, typer.Option("--take", help="The take to branch from.")] = 1,
    pipeline: Pipeline = "toybox",
) -> None:
    """Make a new take that shares a take's beginning and is rendered anew from there."""
    import storyflow

    number = storyflow.branch(file, shot, at, take=take, pipeline=pipeline)
    print(f"{file}: take {number} of shot {shot} differs from {at} on; choose it with")
    print(f"  storyflow take {file} {shot} {number}")


@app.command(name="pipelines")
def pipelines_(as_json: AsJson = False) -> None:
    """List the pipeline profiles that ship with storyflow."""
    from storyflow.pipeline import load_profile
    from storyflow.settings import names

    rows = {name: load_profile(name)[1].about for name in names("pipelines")}
    if as_json:
        _print_json(rows)
        return
    for name, about in rows.items():
        print(f"{name:30} {about}")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from storyflow import __version__

        print(f"storyflow {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def _follow(run: Run) -> NoReturn:
    """Watch a run to its end and leave with its exit code."""
    from rich.console import Console

    from storyflow.live import summary, watch

    code: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        code.append(128 + number)
        run.cancel()

    previous = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    console = Console()
    try:
        watch(run.events(), console)
        result = run.result()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    for line in summary(result):
        console.print(line, highlight=False, soft_wrap=True)
    raise typer.Exit(code[0] if code and not result.complete else result.exit_code)


def _report(error: BaseException) -> int:
    """One line for the user; the traceback of what nobody foresaw goes to a file."""
    from storyflow.errors import StoryflowError

    if isinstance(error, StoryflowError):
        print(error, file=sys.stderr)
        return error.exit_code
    import tempfile
    import traceback

    handle, path = tempfile.mkstemp(prefix="storyflow-", suffix=".log")
    with os.fdopen(handle, "w") as log:
        traceback.print_exception(error, file=log)
    print(
        f"storyflow failed unexpectedly ({type(error).__name__}: {error}); what is rendered is in "
        f"the store, run the same command again; details: {path}",
        file=sys.stderr,
    )
    return 5


def _on_sigterm(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def _print_json(data: object) -> None:
    print(json.dumps(data, indent=2, ensure_ascii=False, default=str))
