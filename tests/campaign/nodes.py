"""A Ray of several nodes on this machine, on loopback: a head without room for workers, and nodes
that have some."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

from .processes import kill, parent_of, tree_of, waiting

ENVIRONMENT = {
    # A dead node, which refuses connections, is known after two seconds instead of half a minute;
    # one that is slow because the machine is busy has a minute to answer.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "20000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_raylet_start_wait_time_s": "60",
    # Beside other work Ray's workers would hardly get on, and be given up before they have begun.
    "RAY_worker_niceness": "0",
    "RAY_worker_register_timeout_seconds": "300",
    # Without it Ray replaces 127.0.0.1 by the machine's outward address.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # No token: nothing but this machine can reach it.
    "RAY_AUTH_MODE": "disabled",
}
"""What every process of the cluster and its films must find in its environment."""

WORKERS = 2
_ATTEMPTS = 4
_STORE_BYTES = 80 << 20


class Nodes:
    """The cluster, started when it is first needed, with so many nodes of one CPU each;
    `environment` goes to its processes."""

    def __init__(self, environment: dict[str, str], workers: int = WORKERS) -> None:
        self._environment, self._workers = environment, workers
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._cluster: Any = None
        self._raylets: dict[int, Any] = {}

    @property
    def address(self) -> str:
        """HOST:PORT; the nodes that are missing are started first."""
        with mock.patch.dict(os.environ, self._environment):
            for attempt in range(1, _ATTEMPTS + 1):
                before = tree_of((os.getpid(),))
                try:
                    return self._started()
                except Exception:
                    # Ray gives a node half a minute to start, which a busy machine may exceed.
                    if attempt == _ATTEMPTS:
                        raise
                    kill(self.processes() | (tree_of((os.getpid(),)) - before))
                    self.close()
        raise AssertionError("unreachable")

    def _started(self) -> str:
        from ray.cluster_utils import Cluster

        with _modest():
            if self._cluster is None:
                # Sockets have short paths.
                # What is dying may still write its last words there.
                self._folder = tempfile.TemporaryDirectory(prefix="kc", ignore_cleanup_errors=True)
                small = {"include_dashboard": False, "no_monitor": True}
                head = {"num_cpus": 0, "temp_dir": self._folder.name, **small, **_node()}
                self._cluster = Cluster(initialize_head=True, head_node_args=head)
            cluster = self._cluster
            while len(self._raylets) < self._workers:
                self._add(num_cpus=1)
            self.until_alive()
            return str(cluster.address)

    def add(self, environment: Mapping[str, str], **resources: Any) -> int:
        """One more node, with this in its environment, too; its raylet."""
        with mock.patch.dict(os.environ, {**self._environment, **environment}), _modest():
            for attempt in range(1, _ATTEMPTS + 1):
                before = tree_of((os.getpid(),))
                try:
                    return self._add(**resources)
                except Exception:
                    if attempt == _ATTEMPTS:
                        raise
                    kill(tree_of((os.getpid(),)) - before)
        raise AssertionError("unreachable")

    def _add(self, **resources: Any) -> int:
        node = self._cluster.add_node(**resources, **_node())
        (info,) = node.all_processes["raylet"]
        self._raylets[info.process.pid] = node
        return int(info.process.pid)

    def node_of(self, raylet: int) -> str:
        """A node's id."""
        return str(self._raylets[raylet].node_id)

    def actors(self) -> list[dict[str, Any]]:
        """Ray's table of the actors that live now."""
        table = self._cluster.global_state.actor_table(None)
        return [actor for actor in table.values() if actor["State"] == "ALIVE"]

    def raylet_of(self, pid: int) -> int | None:
        """The raylet under which a worker process runs."""
        while pid > 1:
            pid = parent_of(pid)
            if pid in self._raylets:
                return pid
        return None

    def kill_node(self, raylet: int) -> None:
        """A node with everything that runs on it; the next film finds a fresh one in its place."""
        kill(tree_of((raylet,)))
        self._cluster.remove_node(self._raylets.pop(raylet), allow_graceful=False)

    def processes(self) -> set[int]:
        """Every process of every node."""
        if self._cluster is None:
            return set()
        head = self._cluster.head_node.all_processes
        pids = [info.process.pid for infos in head.values() for info in infos]
        return tree_of([*pids, *self._raylets])

    def kill_all(self) -> None:
        """The whole cluster, as by a power cut; the next film gets a new one."""
        kill(self.processes())
        self.close()

    def close(self) -> None:
        """End the cluster."""
        if self._cluster is not None:
            cluster, self._cluster = self._cluster, None
            self._raylets.clear()
            for node in (*cluster.worker_nodes, cluster.head_node):
                cluster.remove_node(node, allow_graceful=False)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def until_alive(self) -> None:
        """A killed node stays in Ray's list until its health check fails."""
        state, count = self._cluster.global_state, 1 + len(self._raylets)
        for _ in waiting(60):
            if sum(node["Alive"] for node in state.node_table()) == count:
                return
        raise TimeoutError(f"the cluster does not come to {count} living nodes")


def _node() -> dict[str, Any]:
    """What all nodes have."""
    return {
        "node_ip_address": "127.0.0.1",
        "object_store_memory": _STORE_BYTES,
        "include_log_monitor": False,
    }


@contextmanager
def _modest() -> Iterator[None]:
    """Never announced to this machine's other users of Ray. Without dashboards: a raylet gives its
    agents 15 seconds to be ready, and on a busy machine only small ones are."""
    unannounced = mock.patch("ray._private.utils.write_ray_address")
    error = ImportError("left out")
    small = mock.patch("ray._private.utils.get_dashboard_dependency_error", return_value=error)
    with unannounced, small:
        yield
