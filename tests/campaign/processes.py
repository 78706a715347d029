"""Looking at processes through /proc, stopping them, and killing them."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

PATIENCE = 300.0
"""Seconds after which something counts as hanging, on the slowest machine."""

_SEGMENT = re.compile(r"ray::.+/(\w+/\d+)$")

GLANCE = 0.005
"""Seconds between two looks at a process."""


def waiting(seconds: float = PATIENCE) -> Iterator[None]:
    """Yields between glances; ends when the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(GLANCE)


def state_of(pid: int) -> str | None:
    """R, S, D, T (stopped), Z (dead, not yet reaped); None for a process that is gone."""
    fields = _stat(f"{pid}")
    return fields[0] if fields else None


def stopped(pid: int) -> bool:
    """Whether a process is stopped with all its threads, or gone."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return True
    states = (_stat(f"{pid}/task/{thread}") for thread in threads)
    return all(fields[0] in "TZX" for fields in states if fields)


def parent_of(pid: int) -> int:
    """0 for a process that is gone."""
    fields = _stat(f"{pid}")
    return int(fields[1]) if fields else 0


def command_of(pid: int) -> str:
    """The command line as the process itself shows it; empty for one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def segment_of(pid: int) -> str:
    """The segment that a worker on Ray has in hand; empty for any other process.

    Ray calls a worker's process after its call, which the farm names after film and segment.
    """
    found = _SEGMENT.match(command_of(pid))
    return "" if found is None else found[1]


def tree_of(pids: Iterable[int]) -> set[int]:
    """These processes and everything that descends from them."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            children.setdefault(parent_of(int(name)), []).append(int(name))
    found, queue = set[int](), list(pids)
    while queue:
        pid = queue.pop()
        if pid not in found:
            found.add(pid)
            queue += children.get(pid, [])
    return found


def go_on(pid: int) -> None:
    """Let a stopped process go on; harmless for one that is gone."""
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return


def kill(pids: Iterable[int]) -> None:
    """SIGKILL, all at once, and wait until they are dead."""
    pids = tuple(pids)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for _ in waiting():
        if all(state_of(pid) in (None, "Z") for pid in pids):
            return
    raise TimeoutError(f"some of the processes {pids} can't be killed")


def _stat(task: str) -> list[str]:
    try:
        text = Path(f"/proc/{task}/stat").read_text()
    except OSError:
        return []
    # The name in brackets may hold anything, brackets too.
    return text.rpartition(")")[2].split()
