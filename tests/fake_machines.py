"""A cloud for Ray's autoscaler: its machines are processes on this one, on loopback.

Ray's monitor loads `Machines` by its name. Each machine is noted with its processes in the file
that `STORYFLOW_FAKE_MACHINES` names; `ended` ends those that are left.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from other_node import PORTS
from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider
from ray.autoscaler.tags import (
    NODE_KIND_WORKER,
    STATUS_UP_TO_DATE,
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_NAME,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)
from ray_head import free_ports

FILE = "STORYFLOW_FAKE_MACHINES"

TYPE = "gpu"
"""The one kind of machine that there is."""

COMMANDS = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray",
            "worker_start_ray")  # fmt: skip


class Machines(FakeMultiNodeProvider):  # type: ignore[misc]
    """Ray's own fake, but for its machines' addresses."""

    def _create_node_with_resources_and_labels(
        self, node_config: Any, tags: Any, count: int, resources: Any, labels: Any
    ) -> None:
        from ray._private.node import Node
        from ray._private.parameter import RayParams

        resources = dict(resources)
        with self.lock:
            id = self._next_hex_node_id()
            parameters = RayParams(
                gcs_address=self._gcs_address,
                redis_address=self._gcs_address,
                node_ip_address="127.0.0.1",
                num_cpus=resources.pop("CPU"),
                num_gpus=resources.pop("GPU"),
                resources=resources,
                labels=labels,
                object_store_memory=80 << 20,
                min_worker_port=0,
                max_worker_port=0,
                node_manager_port=0,
                include_log_monitor=False,
                env_vars={
                    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": id,
                    "RAY_CLOUD_INSTANCE_ID": id,
                    "RAY_NODE_TYPE_NAME": TYPE,
                    "RAY_OVERRIDE_RESOURCES": json.dumps(resources),
                },
                **dict(zip(PORTS, free_ports(len(PORTS)), strict=True)),
            )
            # A raylet gives its agents 15 seconds to be ready; without dashboards they are small.
            error = ImportError("left out")
            with mock.patch("ray._private.utils.get_dashboard_dependency_error", lambda: error):
                node = Node(parameters, head=False, shutdown_at_exit=False, spawn_reaper=False)
            own = {
                TAG_RAY_NODE_KIND: NODE_KIND_WORKER,
                TAG_RAY_USER_NODE_TYPE: TYPE,
                TAG_RAY_NODE_NAME: id,
                TAG_RAY_NODE_STATUS: STATUS_UP_TO_DATE,
            }
            self._nodes[id] = {"tags": {**own, **tags}, "node": node}
            processes = [each.process.pid for some in node.all_processes.values() for each in some]
            with Path(os.environ[FILE]).open("a") as file:
                file.write(json.dumps(processes) + "\n")


def config(address: str) -> dict[str, Any]:
    """What the launcher would give the head at this address."""
    return {
        "cluster_name": "fake",
        "max_workers": 2,
        "idle_timeout_minutes": 5,
        "provider": {
            "type": "external",
            "module": "fake_machines.Machines",
            "gcs_address": address,
            # They all have one address.
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "auth": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        **{f"{name}_commands": [] for name in COMMANDS},
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            TYPE: {
                "resources": {"CPU": 2, "GPU": 1, "accelerator_type:OTHER": 1},
                "node_config": {},
                "min_workers": 0,
                "max_workers": 2,
            },
        },
        "head_node_type": "ray.head.default",
    }


@contextlib.contextmanager
def ended(file: Path) -> Iterator[None]:
    """End what is left of the machines with the block."""
    try:
        yield
    finally:
        for line in file.read_text().splitlines() if file.exists() else ():
            for process in json.loads(line):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
