"""The farm on a real local Ray, shared by all tests here."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from farm_support import Rendering, Shot, cluster, render, slate_kind, slate_profile, tiny_plan
from local_ray import local_ray

from storyflow.errors import FarmError, StoreError
from storyflow.events import (
    Event,
    Notice,
    SegmentDone,
    SegmentStarted,
    Step,
    WorkerLost,
    WorkerReady,
)
from storyflow.farm.address import open_farm
from storyflow.farm.render import render_plan
from storyflow.farm.starting import read_start
from storyflow.renderer import ModelKind
from storyflow.store.store import Store

pytestmark = pytest.mark.ray

FILM = (Shot("1A", ("a", "b", "c")), Shot("1B", ("x",), follows="1A"), Shot("2A", ("q", "r")))
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A Ray of the user's, which storyflow finds and must leave running."""
    # Workers must find this folder's modules, as a user's own model kind would be found.
    path = os.pathsep.join((str(HERE), os.environ.get("PYTHONPATH", "")))
    environment = {"env_vars": {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}}
    with local_ray(runtime_env=environment) as ray:
        yield ray


def make(store: Path, *shots: Shot, **options: Any) -> Rendering:
    where = options.pop("where", None) or cluster("local", workers={"count": 2})
    return asyncio.run(render(tiny_plan(*(shots or FILM)), store, where=where, **options))


def of(rendering: Rendering, kind: type) -> list[Any]:
    return [event for event in rendering.events if isinstance(event, kind)]


def stored(rendering: Rendering) -> dict[str, tuple[str, ...]]:
    """Every artifact's files, byte for byte."""
    return {
        recipe: (artifact.key, artifact.digest, *(blob.sha256 for blob in artifact.blobs))
        for recipe, artifact in rendering.report.artifacts.items()
    }


@pytest.fixture(scope="module")
def calm(ray: Any, tmp_path_factory: pytest.TempPathFactory) -> Rendering:
    """The film, undisturbed, on two workers."""
    return make(tmp_path_factory.mktemp("calm"))


def test_ray_makes_the_same_film_as_one_process(calm: Rendering, tmp_path: Path) -> None:
    alone = asyncio.run(render(tiny_plan(*FILM), tmp_path))
    assert stored(calm) == stored(alone)
    # A busy machine may start the second worker only when all is done.
    assert {event.worker for event in of(calm, WorkerReady)} <= {"worker-1", "worker-2"}


def test_a_ray_that_was_there_before_is_left_running(ray: Any, calm: Rendering) -> None:
    assert ray.is_initialized()
    assert [node["Alive"] for node in ray.nodes()] == [True]


def test_how_long_ray_took_to_start_is_remembered_for_estimates(ray: Any, tmp_path: Path) -> None:
    make(tmp_path, Shot("1A", ("a",)), where=cluster("local", workers={"count": 1}))
    start = read_start(Store(tmp_path), cluster("local"))
    assert start is not None and start.count == 1
    assert start.farm > 0 and start.worker > 0, "a process was started"


def test_a_worker_killed_in_the_middle_of_a_segment_costs_that_segment_only(
    calm: Rendering, tmp_path: Path
) -> None:
    wild = make(tmp_path, profile=slate_profile(die={"1A/2": 1, "2A/2": 1}))
    assert stored(wild) == stored(calm)
    assert {event.segment for event in of(wild, WorkerLost)} == {"1A/2", "2A/2"}
    assert "process ended" in of(wild, WorkerLost)[0].cause
    started = [event.segment for event in of(wild, SegmentStarted)]
    # What the killed workers had rendered before may still have been on its way into the store.
    again = Counter(started) - Counter({segment: 1 for segment in started})
    assert {"1A/2", "2A/2"} <= set(again) <= {"1A/1", "1A/2", "2A/1", "2A/2"}
    assert max(again.values()) <= 2
    assert [e.attempt for e in of(wild, SegmentStarted) if e.segment == "1A/2"] == [1, 2]


def test_a_poisoned_segment_ends_its_shot_and_tells_its_own_error(ray: Any, tmp_path: Path) -> None:
    made = make(tmp_path, profile=slate_profile(fail={"2A/1": -1}))
    (failure,) = made.report.failures
    assert failure.segment == "2A/1" and failure.missing == ("2A",)
    assert "RuntimeError: 2A/1 fails in attempt 3, as scripted" in failure.error
    assert made.report.rendered == 4


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        ({"threads": 64}, "one needs 64 CPUs, the cluster has 1 machine with 2 CPUs"),
        ({"gpus": 2}, "one needs 1 CPU and 2 GPUs, the cluster has"),
        ({"gpus": 1, "accelerator": "H100"}, "1 CPU and 1 GPU of type H100"),
    ],
)
def test_what_the_cluster_cannot_hold_is_refused_in_words(
    ray: Any, tmp_path: Path, workers: dict[str, object], words: str
) -> None:
    with pytest.raises(FarmError, match=words):
        make(tmp_path, where=cluster("auto", workers=workers))


def test_more_workers_than_fit_are_said_and_cut(ray: Any, tmp_path: Path) -> None:
    made = make(tmp_path, Shot("1A", ("a",)), where=cluster("auto", workers={"count": 5}))
    assert made.report.rendered == 1
    assert "5 workers were asked for" in str(of(made, Notice)[0])


def test_prompts_are_encoded_in_an_actor(ray: Any, tmp_path: Path) -> None:
    plan = tiny_plan(Shot("1A", ("a", "b")), kind="latent", history="latents")
    where = cluster("auto", workers={"count": 1})
    made = asyncio.run(render(plan, tmp_path, where=where))
    assert made.report.rendered == 2


def test_a_store_that_workers_cannot_write_is_told(ray: Any, tmp_path: Path) -> None:
    (tmp_path / "tmp").write_text("in the way")
    with pytest.raises(StoreError):
        make(tmp_path, where=cluster("auto", workers={"count": 1}))


def test_steps_are_told_and_cancelling_ends_the_actors(ray: Any, tmp_path: Path) -> None:
    events: list[Event] = []

    async def main() -> None:
        work = render(
            tiny_plan(*FILM),
            tmp_path,
            where=cluster("auto", workers={"count": 2}),
            profile=slate_profile(delay=3600.0),
            events=events,
            poll=0.1,
        )
        task = asyncio.ensure_future(work)
        while not any(isinstance(event, Step) for event in events):
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not any(isinstance(event, SegmentDone) for event in events)
    # Their CPUs come back, so nothing of the cancelled run is left.
    free = make(tmp_path, Shot("1A", ("a",)), where=cluster("auto", workers={"threads": 2}))
    assert free.report.rendered == 1


def test_it_works_inside_a_ray_actor(ray: Any, calm: Rendering, tmp_path: Path) -> None:
    class Director:
        def shoot(self, store: str) -> dict[str, tuple[str, ...]]:
            async def main() -> Rendering:
                return await render(
                    tiny_plan(*FILM), Path(store), where=cluster("local", workers={"count": 1})
                )

            return stored(asyncio.run(main()))

    director = ray.remote(num_cpus=0)(Director).remote()
    assert ray.get(director.shoot.remote(str(tmp_path))) == stored(calm)
    ray.kill(director)


def test_it_works_inside_an_async_ray_actor(ray: Any, tmp_path: Path) -> None:
    class Director:
        async def shoot(self, store: str) -> int:
            where = cluster("local", workers={"count": 1})
            made = await render(tiny_plan(Shot("1A", ("a",))), Path(store), where=where)
            return made.report.rendered

    director = ray.remote(num_cpus=0)(Director).remote()
    assert ray.get(director.shoot.remote(str(tmp_path))) == 1
    ray.kill(director)


def test_two_films_at_once_share_the_connection(ray: Any, tmp_path: Path) -> None:
    async def main() -> list[Rendering]:
        where = cluster("auto", workers={"count": 1})
        return await asyncio.gather(
            *(
                render(tiny_plan(Shot(name, ("a",))), tmp_path / name, where=where)
                for name in ("1A", "2A")
            )
        )

    assert [made.report.rendered for made in asyncio.run(main())] == [1, 1]
    assert ray.is_initialized()


def test_nothing_is_connected_when_nothing_is_to_be_rendered(tmp_path: Path) -> None:
    plan = tiny_plan(Shot("1A", ("a",)))
    asyncio.run(render(plan, tmp_path))
    nowhere = cluster("ray://127.0.0.1:1")
    assert asyncio.run(render(plan, tmp_path, where=nowhere)).report.rendered == 0


def alone(program: str) -> str:
    """What a program prints in a process of its own, which ends well and complains of nothing."""
    path = os.pathsep.join((str(HERE), os.environ.get("PYTHONPATH", "")))
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": path}
    environment.pop("RAY_ADDRESS", None)
    made = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert (made.returncode, made.stderr) == (0, ""), made.stderr
    return made.stdout


def test_a_head_that_does_not_answer_is_told_soon(tmp_path: Path) -> None:
    """In a process that isn't connected: one that is goes on with the Ray it has."""
    said = alone(f"""
import asyncio, sys
sys.path.insert(0, {str(HERE)!r})
from farm_support import *
from storyflow.errors import FarmError
from storyflow.farm import ray_connection
ray_connection.CONNECT_SECONDS = 0.0
where = cluster("127.0.0.1:1")
try:
    asyncio.run(render(tiny_plan(Shot("1A", ("a",))), Path({str(tmp_path)!r}), where=where))
except FarmError as error:
    print(error)
""")
    assert re.search(r"can't reach Ray at '127.0.0.1:1'.*refused", said)


def test_a_farm_of_its_own_is_quiet_and_ends_with_the_run(tmp_path: Path) -> None:
    program = f"""
import asyncio, sys
sys.path.insert(0, {str(HERE)!r})
from farm_support import *
where = cluster("local", workers={{"count": 1}})
profile = slate_profile(die={{"1A/1": 1}})
plan = tiny_plan(Shot("1A", ("a",)))
made = asyncio.run(render(plan, Path({str(tmp_path)!r}), where=where, profile=profile))
assert made.report.rendered == 1
import ray
assert not ray.is_initialized()
print("done")
"""
    assert alone(program) == "done\n"


def test_an_address_where_no_ray_is_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")

    def init(address: str, **options: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(FarmError, match=r"can't reach Ray at 'auto'.*use the address local"):
        make(tmp_path, where=cluster("auto"))


def test_workers_that_lack_the_code_are_told_at_once(ray: Any, tmp_path: Path) -> None:
    class Kind:
        def __call__(self, profile: object, threads: int) -> ModelKind:
            return slate_kind(slate_profile(), 1)

        def __reduce__(self) -> tuple[object, tuple[str]]:
            # Importable here, not in the workers.
            return importlib.import_module, ("only_on_the_driver",)

    async def main() -> None:
        store, plan = Store(tmp_path), tiny_plan(Shot("1A", ("a",)))
        async with open_farm(slate_profile(), cluster("auto"), store, kind=Kind()) as farm:
            await render_plan(plan, Kind()(None, 1), store, farm, lambda event: None)

    with pytest.raises(FarmError, match=r"only_on_the_driver.*same storyflow"):
        asyncio.run(main())
