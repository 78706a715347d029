"""Starting `storyflow render`: as a new program, or forked from a process that has its modules
loaded already, which is as real and takes a third of the time."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Protocol

PRELOADED = [
    "av",
    "numpy",
    "PIL.ImageDraw",
    "PIL.ImageFont",
    "storyflow.api",
    "storyflow.cli",
    "storyflow.farm.local",
    "storyflow.live",
    "storyflow.slate",
    __name__,
]


@dataclass(frozen=True)
class Order:
    """A command line of storyflow without its name, where to run it, and where its words go."""

    words: tuple[str, ...]
    folder: Path
    log: Path
    environment: dict[str, str]


class Run(Protocol):
    """A started command."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None:
        """The exit code, None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Raises TimeoutError."""


class Program:
    """A new program."""

    def __init__(self, order: Order) -> None:
        with order.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "storyflow", *order.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=order.folder,
                env=order.environment,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def interrupt(self) -> None:
        """Ask it to end (SIGTERM)."""
        self._process.terminate()

    def poll(self) -> int | None:
        return self._process.poll()

    def wait(self, timeout: float | None = None) -> int:
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"process {self.pid} still runs after {timeout} s") from None


class Fork:
    """A fork of the server that `prepare` started."""

    def __init__(self, order: Order) -> None:
        context = multiprocessing.get_context("forkserver")
        self._process: ForkServerProcess = context.Process(target=_render, args=(order,))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise TimeoutError(f"process {self.pid} still runs after {timeout} s")
        return code


def prepare(environment: dict[str, str]) -> None:
    """Start the server with this environment, before its first fork."""
    from multiprocessing import forkserver

    before = dict(os.environ)
    os.environ.update(environment)
    try:
        multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _render(order: Order) -> None:
    import sitecustomize

    from storyflow.cli import main

    os.setsid()
    os.chdir(order.folder)
    handle = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for number in (1, 2):
        os.dup2(handle, number)
    os.environ.clear()
    os.environ.update(order.environment)
    sitecustomize.WATCH.move(order.environment["KILL_CAMPAIGN"])  # type: ignore[attr-defined]
    sys.argv = ["storyflow", *order.words]
    main()


def start(order: Order, *, forked: bool) -> Run:
    """Start a command; `forked` needs `prepare` first."""
    return Fork(order) if forked else Program(order)
