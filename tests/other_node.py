"""A second node of a Ray, in a mount namespace of its own where a folder is not what it is here.

    unshare --mount python other_node.py HOST:PORT FOLDER HOW

HOW is `another`, an empty disk mounted there, or `read-only`, the same folder without leave to
write. Its accelerators are of the type OTHER, so that workers can be sent to it.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from ray_head import ATTEMPTS, Head, end, free_ports

How = Literal["another", "read-only"]

PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port",
         "runtime_env_agent_port")  # fmt: skip


@contextlib.contextmanager
def other_node(head: Head, folder: Path, how: How, **environment: str) -> Iterator[None]:
    """A second node. As every node it may fail to start on a busy machine, and is tried again.

    Skips the test where nothing may be mounted.
    """
    unshare = shutil.which("unshare")
    probe = ["mount", "-t", "tmpfs", "none", str(folder)]
    if unshare is None or subprocess.run([unshare, "--mount", *probe]).returncode:
        pytest.skip("needs leave to mount a file system in a namespace of its own")
    command = [unshare, "--mount", sys.executable, __file__, head.address, str(folder), how]
    for _ in range(ATTEMPTS):
        node = subprocess.Popen(
            command, env={**head.environment, **environment}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            assert node.stdin is not None and node.stdout is not None
            while (line := node.stdout.readline()) not in (b"up\n", b""):
                pass
            if line:
                yield
                node.stdin.close()
                node.wait()
                return
        finally:
            end(node)
    raise RuntimeError(f"the node did not start in {ATTEMPTS} attempts")


def mounts(folder: str, how: How) -> Iterator[list[str]]:
    """The commands that make the folder what it is to be."""
    if how == "another":
        yield ["mount", "-t", "tmpfs", "none", folder]
    else:
        yield ["mount", "--bind", folder, folder]
        yield ["mount", "-o", "remount,bind,ro", folder]


def main(address: str, folder: str, how: How) -> None:
    for command in mounts(folder, how):
        subprocess.run(command, check=True)
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    parameters = RayParams(
        gcs_address=address,
        redis_address=address,
        node_ip_address="127.0.0.1",
        num_cpus=2,
        resources={"accelerator_type:OTHER": 1},
        object_store_memory=80 << 20,
        min_worker_port=0,
        max_worker_port=0,
        node_manager_port=0,
        include_log_monitor=False,
        **dict(zip(PORTS, free_ports(len(PORTS)), strict=True)),
    )
    node = Node(parameters, head=False, shutdown_at_exit=False, spawn_reaper=False)
    print("up", flush=True)
    sys.stdin.read()
    node.kill_all_processes(check_alive=False, allow_graceful=False)


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]
