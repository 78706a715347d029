"""Looking at processes through /proc, stopping them, and killing them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

PATIENCE = 180.0
"""Seconds after which something that never takes so long counts as hanging."""

GLANCE = 0.001
"""Seconds between two looks at a process."""


def waiting(seconds: float = PATIENCE, glance: float = GLANCE) -> Iterator[None]:
    """Yields between glances; ends when the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(glance)


def state_of(pid: int) -> str | None:
    """R, S, D, T (stopped), Z (dead, not yet reaped); None for a process that is gone."""
    fields = _stat(pid)
    return fields[0] if fields else None


def parent_of(pid: int) -> int:
    """0 for a process that is gone."""
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def command_of(pid: int) -> str:
    """The command line as the process itself shows it; empty for one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


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


def written(pid: int, path: Path) -> int | None:
    """How far the process has written into this open file, in bytes; None if it is not open."""
    try:
        handles = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return None
    for handle in handles:
        try:
            if os.readlink(f"/proc/{pid}/fd/{handle}") == str(path):
                text = Path(f"/proc/{pid}/fdinfo/{handle}").read_text()
                return int(text.split()[1])
        except OSError:
            continue
    return None


def stop(pid: int) -> bool:
    """Stop a process with all its threads; False for one that is gone."""
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        return False
    for _ in waiting():
        state = state_of(pid)
        if state in (None, "Z"):
            return False
        if state == "T":
            return True
    raise TimeoutError(f"process {pid} can't be stopped")


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


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    # The name in brackets may hold anything, brackets too.
    return text.rpartition(")")[2].split()
