"""The command line's frame: the app, its way in, and how errors end.

Exit codes: 0 complete, 1 refused input, 2 usage, 3 partial film, 4 budget or time window reached,
5 infrastructure, 130/143 cancelled.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
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
    # Defaults stand in brackets, which rich's own markup would take for styles and drop.
    rich_markup_mode="markdown",
)


def main() -> NoReturn:
    """The console script."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sys.exit(report(error))
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


def report(error: BaseException, folder: Path | None = None) -> int:
    """Print one line for the user; the exit code.

    The traceback of what nobody foresaw goes to `folder`/error.log or, without a folder that can
    be written, to a temporary file.
    """
    from storyflow.errors import StoryflowError

    if isinstance(error, StoryflowError):
        print(error, file=sys.stderr)
        return error.exit_code
    path = _keep_traceback(error, folder)
    print(
        f"storyflow failed unexpectedly ({type(error).__name__}: {error}); what is rendered is in "
        f"the store, run the same command again; details: {path}",
        file=sys.stderr,
    )
    return 5


def _keep_traceback(error: BaseException, folder: Path | None) -> Path:
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    if folder is not None:
        path = folder / "error.log"
        with suppress(OSError):
            path.write_text(text, "utf-8")
            return path
    handle, name = tempfile.mkstemp(prefix="storyflow-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8") as log:
        log.write(text)
    return Path(name)


def _on_sigterm(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
