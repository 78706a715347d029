"""The command line's frame: the app, its way in, and how errors end.

Exit codes: 0 complete, 1 refused input, 2 usage, 3 partial film, 4 budget or time window reached,
5 infrastructure, 130/143 cancelled.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from types import FrameType

app = typer.Typer(
    name="storyflow",
    help="make for films: a storyboard goes in, a film comes out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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


def print_json(data: object) -> None:
    """Data for programs, indented for people."""
    print(json.dumps(data, indent=2, ensure_ascii=False, default=str))


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
