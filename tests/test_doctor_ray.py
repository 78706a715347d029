"""The doctor on a real Ray: it asks each node in a process there, also while workers hold all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_ray import local_ray
from other_node import other_node
from ray_head import ray_head
from typer.testing import CliRunner

from storyflow.cli import app
from storyflow.doctor import examine_cluster

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with local_ray(runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}}) as ray:
        yield ray


def test_a_running_ray_is_examined_node_by_node(ray: Any, tmp_path: Path) -> None:
    @ray.remote(num_cpus=2)  # type: ignore[untyped-decorator]
    class Busy:
        def there(self) -> None:
            pass

    busy = Busy.remote()
    ray.get(busy.there.remote())
    words = ["cluster", "doctor", "--address", "auto", "--pipeline", "slate", "--json"]
    done = CliRunner().invoke(app, [*words, "--store", str(tmp_path / "store")])
    ray.kill(busy)
    data = json.loads(done.stdout)
    assert done.exit_code == 0, done.output
    (node,) = data["nodes"]
    assert node["has"].startswith("2 CPUs") and f"ray {ray.__version__}" in node["versions"]
    # The tests' Ray has a small object store on purpose.
    assert {each["code"] for each in data["findings"]} - {"disk"} <= {
        "object-store",
        "shared-memory",
    }
    assert not list((tmp_path / "store" / "tmp").iterdir())


def test_a_node_that_can_not_write_the_store_is_named(ray: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = examine_cluster("auto", pipeline="slate", store=tmp_path / "file")
    places = [each.where for each in found.errors if each.code == "store"]
    assert found.exit_code == 5 and len(places) == 2 and "this machine" in places


ODD = """\
import time

now = time.time
time.time = lambda: now() - 3600
"""


@pytest.mark.slow
def test_what_is_wrong_with_the_nodes_of_a_cluster_is_told_of_each(tmp_path: Path) -> None:
    """Three nodes: a sound head; one that can't write the store; and one with another storyflow,
    another disk in the store's place and a clock that is an hour behind."""
    store, odd = tmp_path / "store", tmp_path / "odd"
    store.mkdir()
    (odd / "storyflow-9.9.9.dist-info").mkdir(parents=True)
    (odd / "storyflow-9.9.9.dist-info/METADATA").write_text("Name: storyflow\nVersion: 9.9.9\n")
    (odd / "sitecustomize.py").write_text(ODD)
    with (
        ray_head(RAY_AUTH_MODE="disabled") as head,
        other_node(head, store, "read-only"),
        other_node(head, store, "another", PYTHONPATH=str(odd)),
    ):
        words = ["cluster", "doctor", "--address", head.address, "--pipeline", "slate", "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "storyflow", *words, "--store", str(store)],
            env={**os.environ, **head.environment},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 5, done.stdout + done.stderr
    data = json.loads(done.stdout)
    nodes = [node["name"] for node in data["nodes"]]
    errors = {each["code"]: each for each in data["findings"] if each["level"] == "error"}
    assert set(errors) == {"store-unwritable", "storyflow-version", "store-other", "clock"}
    assert all(each["cure"] for each in errors.values())
    writes = errors["store-unwritable"]["where"]
    (strange,) = {errors[code]["where"] for code in errors.keys() - {"store-unwritable"}}
    assert len({writes, strange} & set(nodes)) == 2 and len(nodes) == 3
    assert errors["storyflow-version"]["value"] == "9.9.9"
    assert errors["clock"]["value"].startswith("-36")
