"""What a run's driver holds in memory: `python tests/bench/bench_memory.py [--most 10000]`.

Plans films of 100, 1,000 and so on segments whose artifacts, of the usual size, are all in a store,
and lets a run find, reuse and list them. Bytes are counted by tracemalloc, so they are the same on
every machine of one Python.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import os
import platform
import sys
import tempfile
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench_plan import film
from bench_store import put_past

import storyflow
from storyflow.cluster import Cluster
from storyflow.events import Event
from storyflow.farm.address import open_farm
from storyflow.farm.identify import identify
from storyflow.farm.render import FarmReport, render_plan
from storyflow.film import prepare
from storyflow.ordering import order
from storyflow.planning.nodes import Plan
from storyflow.store.artifacts import FRAMES, Artifact, Blob
from storyflow.store.store import Store


def fill(root: Path, plan: Plan) -> None:
    """Every segment under its true key, with as many hashes as it has frames."""
    Store(root).check_writable()
    segments = {segment.recipe: segment for segment in plan.segments}
    made: dict[str, Artifact] = {}
    for recipe, segment in segments.items():
        identity = identify(segment, segments, made, None, None, None)
        content = recipe.encode()
        blob = Blob(FRAMES, hashlib.sha256(content).hexdigest(), len(content))
        count = range(segment.inputs.spec.new)
        frames = tuple(hashlib.sha256(content + bytes([n])).hexdigest() for n in count)
        made[recipe] = Artifact(
            identity.key,
            recipe,
            "segment",
            frames[0],
            (blob,),
            identity.inputs,
            frames,
            seconds=50.0,
        )
        put_past(root, made[recipe], content)


def held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def measure(segments: int, folder: Path) -> tuple[int, int, int]:
    """Bytes of the plan, of what a run adds until all is done, and of its peak until then."""
    read = storyflow.parse(film(max(1, segments // 50), 2))
    options = {"pipeline": "slate", "cluster": Cluster(address="in-process")}
    what = order(read, store=folder / "store", out=folder / "out", **options)
    fill(folder / "store", prepare(what).plan)
    store = what.open_store()
    tracemalloc.start()
    empty = held()
    made = prepare(what)
    assert made.plan.segments
    planned = held()
    events: list[Event] = []
    tracemalloc.reset_peak()

    async def run() -> FarmReport:
        async with open_farm(what.profile, what.cluster, store, title="bench") as farm:
            return await render_plan(made.plan, made.kind, store, farm, events.append)

    report = asyncio.run(run())
    assert len(report.reused) == len(made.plan.segments)
    after, peak = held(), tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return planned - empty, after - planned, peak - planned


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=int, default=10_000)
    most = parser.parse_args().most
    print(f"Python {platform.python_version()}, {platform.machine()}; bytes for each segment")
    print("segments      plan   run adds   at its peak")
    count = 100
    while count <= most:
        with tempfile.TemporaryDirectory() as name:
            os.environ["XDG_CACHE_HOME"] = name
            sizes = measure(count, Path(name))
        print(
            f"{count:8} {sizes[0] / count:9.0f} {sizes[1] / count:10.0f} {sizes[2] / count:13.0f}"
        )
        count *= 10
