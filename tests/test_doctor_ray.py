"""The doctor on a real Ray: it asks each node in a process there, also while workers hold all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_ray import local_ray
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
