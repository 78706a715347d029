"""A Ray in the tests' own process, on loopback, which a busy machine may start at the second go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

ATTEMPTS = 4


@contextlib.contextmanager
def local_ray(**options: Any) -> Iterator[Any]:
    """The module `ray`, connected to a Ray of two CPUs that ends with the block."""
    ray = pytest.importorskip("ray")
    # A raylet gives its agents 15 seconds to be ready; without dashboards they are small.
    error = ImportError("left out")
    small = mock.patch("ray._private.utils.get_dashboard_dependency_error", return_value=error)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with small:
                ray.init(
                    "local",
                    num_cpus=2,
                    include_dashboard=False,
                    object_store_memory=100 << 20,
                    log_to_driver=False,
                    _node_ip_address="127.0.0.1",
                    **options,
                )
            break
        except Exception:
            ray.shutdown()
            if attempt == ATTEMPTS:
                raise
    yield ray
    ray.shutdown()
