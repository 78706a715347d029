"""A second node of a Ray, in a mount namespace of its own where a folder is another one.

    unshare --mount python other_node.py HOST:PORT FOLDER

Its accelerators are of the type OTHER, so that workers can be sent to it.
"""

from __future__ import annotations

import subprocess
import sys

from ray_head import free_ports

PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port",
         "runtime_env_agent_port")  # fmt: skip


def main(address: str, folder: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
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
    main(*sys.argv[1:])
