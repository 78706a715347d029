"""This process's connection to Ray: its own, the one that runs, or one far away."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from storyflow.cluster import WorkersSection
from storyflow.errors import FarmError
from storyflow.farm.ray_errors import brief

LOCAL_ENVIRONMENT = {
    # Without it Ray replaces 127.0.0.1 by the machine's outward address.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A machine that is busy, or has its Python on a network disk, starts it slowly.
    "RAY_raylet_start_wait_time_s": "120",
    # A worker that holds no GPU sees none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}
"""What Ray must find in the environment when it is first imported, for a Ray of our own."""

OBJECT_STORE_BYTES = 128 << 20
"""Frames never pass through Ray's object store, so it is small."""

CONNECT_SECONDS = 20.0
"""How long a head that does not answer is asked before it is taken for absent."""

_SIGACTION_BYTES = 1024
"""More than a `struct sigaction` has on any system."""


class Connection:
    """This process's one connection to Ray, shared by all its farms.

    `shared` says whether other runs may be on that Ray: it is not one of our own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._ours = False
        self.shared = True

    def open(self, address: str, workers: WorkersSection) -> None:
        with self._lock:
            if address == "local":
                for name, value in LOCAL_ENVIRONMENT.items():
                    os.environ.setdefault(name, value)
            import ray

            if not ray.is_initialized():
                with _sigterm_kept():
                    _init(address, workers)
                self._ours = True
                self.shared = address != "local"
                _print_nothing(True)
            self._users += 1

    def close(self) -> None:
        import ray

        with self._lock:
            self._users -= 1
            if self._users == 0 and self._ours:
                self._ours, self.shared = False, True
                with _sigterm_kept():
                    ray.shutdown()
                _print_nothing(False)


CONNECTION = Connection()


def _init(address: str, workers: WorkersSection) -> None:
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options |= {
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
        }
        asked = workers.threads * max(workers.count, 1)
        if asked > (os.cpu_count() or 1):
            # More threads than cores are slow but right, if that is what was asked for.
            options["num_cpus"] = asked
    try:
        _answers(address)
        ray.init(address, **options)
    except Exception as error:
        raise FarmError(
            f"can't reach Ray at {address!r}: {brief(error)}",
            cure="check that it runs and the address is right, or use the address local",
        ) from error


def _answers(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT: Ray itself would ask for a quarter of an
    hour, deaf to signals. A head that is just starting is waited for."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or "/" in host:
        return
    until = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS or 1.0).close()
            return
        except OSError:
            if time.monotonic() >= until:
                raise
        time.sleep(1.0)


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Leave what this process does at SIGTERM as it was.

    Ray puts a handler of its own beneath Python's, which aborts the process three seconds later
    (`absl::InstallFailureSignalHandler`), and takes any handler away when it disconnects. A run
    that is told to stop finishes what it renders, which takes longer. Python can't set a handler
    from a thread, so this asks the C library.
    """
    if os.name != "posix":
        yield
        return
    library = ctypes.CDLL(None)
    action = ctypes.create_string_buffer(_SIGACTION_BYTES)
    known = library.sigaction(int(signal.SIGTERM), None, action) == 0
    try:
        yield
    finally:
        if known:
            library.sigaction(int(signal.SIGTERM), action, None)


def _print_nothing(quiet: bool) -> None:
    """Ray prints every lost worker on stdout, `log_to_driver` or not; runs tell of it by events."""
    import ray._private.worker as driver

    if hasattr(driver, "_worker_logs_enabled"):
        driver._worker_logs_enabled = not quiet
