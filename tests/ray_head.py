"""A Ray of its own, started from the shell as an operator would, on loopback, with its job API."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {
    # Without it Ray replaces 127.0.0.1 by the machine's outward address.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A machine that is busy with other tests starts it slowly.
    "RAY_raylet_start_wait_time_s": "180",
    "OMP_NUM_THREADS": "1",
    # Jobs run the `python` that they find.
    "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
}
AGENTS = ("dashboard-agent-grpc", "metrics-export", "dashboard-agent-listen", "runtime-env-agent")
"""A raylet waits 15 seconds for its agents to choose their ports, and not at all for ports that
were chosen for them: a busy machine takes longer."""

STORE_BYTES = 80 << 20
PATIENCE = 120
"""Seconds for one attempt."""

ATTEMPTS = 3


@dataclass(frozen=True)
class Head:
    """A running head: the job API's URL, HOST:PORT for nodes, and the environment it runs in."""

    jobs: str
    address: str
    environment: dict[str, str]


More = Callable[[str], Sequence[str]]
"""More words for `ray start`, for the head at this address."""


@contextlib.contextmanager
def ray_head(more: More = lambda address: (), **environment: str) -> Iterator[Head]:
    """Start a head, and end it and everything that it started."""
    # Sockets have short paths.
    with tempfile.TemporaryDirectory(prefix="sf", dir="/tmp", ignore_cleanup_errors=True) as name:
        for attempt in range(ATTEMPTS):
            folder = Path(name) / str(attempt)
            folder.mkdir()
            head, process = _start(folder, {**os.environ, **ENVIRONMENT, **environment}, more)
            try:
                if _comes_up(head, process):
                    yield head
                    return
            finally:
                end(process)
        log = (folder / "head.log").read_text()
        raise RuntimeError(f"Ray did not start in {ATTEMPTS} attempts:\n{log[-3000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a `ray start --block`, which takes along what it started."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _start(
    folder: Path, environment: dict[str, str], more: More
) -> tuple[Head, subprocess.Popen[bytes]]:
    port, dashboard, client, *agents = free_ports(3 + len(AGENTS))
    command = [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block",
        f"--temp-dir={folder}", "--node-ip-address=127.0.0.1", f"--port={port}",
        "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", "--num-cpus=2",
        f"--ray-client-server-port={client}",
        "--min-worker-port=0", "--max-worker-port=0", f"--object-store-memory={STORE_BYTES}",
        "--disable-usage-stats",
        *(f"--{name}-port={number}" for name, number in zip(AGENTS, agents, strict=True)),
        *more(f"127.0.0.1:{port}"),
    ]  # fmt: skip
    with (folder / "head.log").open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    return Head(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{port}", environment), process


def _comes_up(head: Head, process: subprocess.Popen[bytes]) -> bool:
    """Whether the head has a node of its own. A raylet whose agents are slow to start gives up."""
    token = head.environment.get("RAY_AUTH_TOKEN", "")
    request = urllib.request.Request(
        f"{head.jobs}/nodes?view=summary", headers={"Authorization": f"Bearer {token}"}
    )
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE and process.poll() is None:
        # Not yet listening, not yet answering, or without a node.
        with (
            contextlib.suppress(OSError, ValueError, KeyError),
            urllib.request.urlopen(request, timeout=5) as answer,
        ):
            if json.load(answer)["data"]["summary"]:
                return True
        time.sleep(0.3)
    return False


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
