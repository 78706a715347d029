"""Stores to test, wherever they lie, and artifacts to put into them."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from storyflow.store.artifacts import Artifact
from storyflow.store.place import CacheLimit
from storyflow.store.roots import Root
from storyflow.store.store import Store

if TYPE_CHECKING:
    from s3_server import S3Server

BUCKET = "films"

_numbers = itertools.count()


def key_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def put(store: Store, scratch: Path, name: str, content: bytes = b"pixels") -> Artifact:
    """Commit an artifact of two files whose key and recipe derive from `name`."""
    scratch.mkdir(exist_ok=True)
    (scratch / "frames").write_bytes(content)
    (scratch / "latents").write_bytes(content * 3)
    return store.commit(
        key=key_of(f"key {name}"),
        recipe=key_of(f"recipe {name}"),
        kind="segment",
        digest=key_of(content.hex()),
        inputs='{"prompt": "a swan"}',
        files={"frames.mov": scratch / "frames", "latents.safetensors": scratch / "latents"},
        frames=(key_of("f0"), key_of("f1")),
        numerics="cpu avx2 float32",
        seconds=1.5,
        worker="worker-1",
    )


def root(film: str, *names: str, **fields: object) -> Root:
    """The root of a run that needs the artifacts that `put` makes of these names."""
    data: dict[str, object] = {
        "run": f"{film}-run",
        "film": film,
        "when": "2026-01-01T00:00:00+00:00",
        "host": "studio",
        "folder": f"/films/{film}",
        "pipeline": "toybox",
        "recipes": frozenset(key_of(f"recipe {name}") for name in names),
        "keys": frozenset(),
    }
    return Root(**{**data, **fields})  # type: ignore[arg-type]


@contextmanager
def s3() -> Iterator[S3Server]:
    """A server with a bucket, and the environment that leads every client of this process to it."""
    import boto3
    import s3fs
    from s3_server import ENVIRONMENT, s3_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    before = dict(os.environ)
    with s3_server() as server:
        os.environ.update(ENVIRONMENT, AWS_ENDPOINT_URL=server.url)
        # A client that was made for another server would be used again.
        s3fs.S3FileSystem.clear_instance_cache()
        try:
            boto3.client("s3").create_bucket(Bucket=BUCKET)
            yield server
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            for name in (*ENVIRONMENT, "AWS_ENDPOINT_URL"):
                os.environ.pop(name, None)
                if name in before:
                    os.environ[name] = before[name]


class Spot:
    """Where a store lies, opened as often as one likes, each time by somebody new."""

    def __init__(self, location: str, folder: Path) -> None:
        self.location, self.folder = location, folder
        self.machines = itertools.count()

    def open(self) -> Store:
        """As this machine would, with what it has in its cache."""
        return Store(self.location, CacheLimit(self.folder / "cache", 10**9))

    def elsewhere(self) -> Store:
        """As another machine would."""
        return Store(self.location, CacheLimit(self.folder / f"machine-{next(self.machines)}"))


def spot(kind: str, folder: Path) -> Spot:
    """`folder`, `file`, `memory` or `s3`, empty."""
    name = f"store-{next(_numbers)}"
    locations = {
        "folder": str(folder / name),
        "file": f"file://{folder / name}",
        "memory": f"memory://{name}",
        "s3": f"s3://{BUCKET}/{name}",
    }
    return Spot(locations[kind], folder)
