"""What all tests share: a Ray that stays on loopback, and property tests that repeat themselves."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from storyflow.farm.on_ray import LOCAL_ENVIRONMENT

RAY = {
    # No token: nothing but this machine can reach the tests' Ray.
    "RAY_AUTH_MODE": "disabled",
    # Beside other work its workers would hardly get on, and be given up before they have begun.
    "RAY_worker_niceness": "0",
    "RAY_worker_register_timeout_seconds": "300",
}
for name, value in {**LOCAL_ENVIRONMENT, **RAY}.items():
    os.environ.setdefault(name, value)

# What storyflow keeps for a user must not come from, or go to, the one who runs the tests.
CACHE = tempfile.mkdtemp(prefix="storyflow-tests-")
os.environ["XDG_CACHE_HOME"] = CACHE
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)

# Examples are derived from the test itself: a run can only fail where the one before it would have,
# however slow the machine is.
settings.register_profile(
    "storyflow",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("storyflow")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several processes (`-n 2 --dist loadgroup`) a file's tests stay together, and so do all
    that start a Ray: two at a time would starve each other."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        group = "ray" if item.get_closest_marker("ray") else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))
