"""Ending a process for certain, on the machine that it runs on.

A worker that is asked to end may not hear it: it is stopped, or hangs in a driver. It would keep
its accelerator's memory, which the next worker needs.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

DEATH_SECONDS = 10.0
"""How long a killed process may take to give back what it holds."""


@dataclass(frozen=True)
class Process:
    """A process of one machine. `birth` tells it apart from a later one of the same number, empty
    where the system does not say."""

    pid: int
    birth: str = ""


def this_process() -> Process:
    """The process that this is called in."""
    return Process(os.getpid(), _birth(os.getpid()))


def descendants(of: Process | None = None) -> tuple[Process, ...]:
    """The living processes that one of this machine started, this one without another, and those
    that they did; none where the system does not tell, or where it is dead."""
    first = of or this_process()
    if not _lives(first):
        return ()
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            parents[int(folder.name)] = int(_stat(int(folder.name))[1])
    found = [first.pid]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return tuple(p for pid in found[1:] if (p := Process(pid, _birth(pid))).birth)


def end_process(process: Process) -> bool:
    """Kill a process of this machine and wait until it is gone; whether it is. Harmless for one
    that is gone already."""
    end = time.monotonic() + DEATH_SECONDS
    while _lives(process):
        if time.monotonic() > end:
            return False
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        time.sleep(0.02)
    return True


def _lives(process: Process) -> bool:
    # Where the system does not tell births, it could be anybody's by now.
    return process.birth != "" and _birth(process.pid) == process.birth


def _birth(pid: int) -> str:
    """When a process began, in the system's own ticks; empty for one that is dead."""
    try:
        state, *rest = _stat(pid)
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]


def _stat(pid: int) -> list[str]:
    """What the system tells of a process after its name: the state first, then its parent, the
    start twentieth (see proc(5)). Raises OSError."""
    stat = Path("/proc", str(pid), "stat").read_text()
    # The name is in brackets, and may hold some.
    return stat.rpartition(")")[2].split()
