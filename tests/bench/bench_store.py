"""What a full store costs: `python tests/bench/bench_store.py [--segments 10000]`.

Plans a film whose segments are all in a store, then reuses them, and lists a bucket of as many on a
real S3 server on loopback. The artifacts are small; their descriptions are of the usual size.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench_plan import film

import storyflow
from storyflow.film import prepare
from storyflow.lockfile import pin_windows, write_lock
from storyflow.ordering import order
from storyflow.planning.nodes import Plan
from storyflow.store.artifacts import Artifact, Blob
from storyflow.store.inventory import take_stock
from storyflow.store.place import blob_name
from storyflow.store.store import Store, artifact_name


@contextmanager
def timed(what: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what:58} {wall:6.2f} s, {cpu:6.2f} s of CPU")


def fill(root: Path, plan: Plan) -> list[str]:
    """An artifact for every segment, written past the store, which would sync each; the keys."""
    Store(root).check_writable()
    keys = []
    for segment in plan.segments:
        new = segment.inputs.spec.new
        content = segment.recipe.encode()
        blob = Blob("frames.mov", hashlib.sha256(content).hexdigest(), len(content))
        frames = tuple(hashlib.sha256(content + bytes([n])).hexdigest() for n in range(new))
        key = hashlib.sha256(content).hexdigest()
        made = Artifact(
            key, segment.recipe, "segment", frames[0], (blob,), "{}", frames, seconds=50.0
        )
        put_past(root, made, content)
        keys.append(key)
    return keys


def recipes_of(plan: Plan) -> frozenset[str]:
    """Every recipe of the plan: all of it is stored."""
    return frozenset(segment.recipe for segment in plan.segments)


def put_past(root: Path, made: Artifact, content: bytes) -> None:
    """Write an artifact of one blob past the store."""
    text = json.dumps({"storyflow": 1, **asdict(made)}, indent=1)
    index = f"recipes/{made.recipe[:2]}/{made.recipe}.{made.key}"
    files = {
        blob_name(made.blobs[0].sha256): content,
        artifact_name(made.key): text.encode(),
        index: b"",
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def bench_folder(folder: Path, segments: int) -> None:
    data = film(max(1, segments // 50), 2)
    options = {"store": folder / "store", "out": folder / "out"}
    plan = storyflow.plan(storyflow.parse(data), **options)
    keys = fill(folder / "store", plan)
    print(f"{len(keys):,} segments in a folder")
    with timed("read the storyboard"):
        read = storyflow.parse(data)
    with timed("plan it against the full store"):
        quote = storyflow.quote(read, **options)
    assert quote.totals.render == 0
    made = prepare(what := order(read, **options))
    what.lock_file.parent.mkdir(parents=True, exist_ok=True)
    write_lock(what.lock_file, pin_windows(made.lock, made.plan, recipes_of(made.plan)))
    with timed("the same with a full lock beside the storyboard"):
        assert storyflow.quote(read, **options).totals.render == 0
    with timed("of planning, read the index"):
        Store(folder / "store").recipes()
    for turn in ("the first time on this machine (hashes)", "again (marks)"):
        store = Store(folder / "store")
        with timed(f"find and check all, {turn}"):
            for key in keys:
                found = store.find(key)
                assert found is not None
                store.check(found)
    with timed("storyflow store ls"):
        take_stock(Store(folder / "store"))


def bench_bucket(count: int) -> None:
    from moto.s3.models import s3_backends
    from stores import BUCKET, s3

    with s3() as server:
        bucket = s3_backends["123456789012"]["aws"]
        for number in range(count):
            name = hashlib.sha256(b"%d" % number).hexdigest()
            bucket.put_object(BUCKET, f"store/recipes/{name[:2]}/{name}.{name}", b"")
        store = Store(f"s3://{BUCKET}/store")
        server.requests.clear()
        with timed(f"read the index of {count:,} segments in a bucket"):
            assert len(store.recipes()) == count
        print(f"{'requests for that':58} {len(server.requests):6}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--segments", type=int, default=10_000)
    asked = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}")
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = name
        bench_folder(Path(name), asked.segments)
        bench_bucket(asked.segments)
