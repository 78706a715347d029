"""Cluster files: *where* a film is rendered. One YAML file each, in `cluster/`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from storyflow.documents import Strict
from storyflow.settings import find_named, load_settings
from storyflow.store.place import CacheLimit


def _address(value: str) -> str:
    if re.fullmatch(r"local|auto|in-process|ray://[^\s/]+|[\w.-]+:\d{1,5}", value) is None:
        raise ValueError("an address is local, auto, in-process, HOST:PORT or ray://HOST:PORT")
    return value


class WorkersSection(Strict):
    """The render workers."""

    count: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="Render workers; 0 is as many as the accelerators (or, without any, the "
        "cores divided by `threads`) that the cluster has allow.",
    )
    threads: int = Field(
        default=1,
        ge=1,
        le=256,
        description="CPU threads of one worker. Fixed, so that one worker or many make the same "
        "film, bit for bit.",
    )
    gpus: float | None = Field(
        default=None,
        ge=0.0,
        le=64.0,
        description="Accelerators that one worker holds. Without: one, where any machine has some "
        "and the model is more than a toy; else none.",
    )
    accelerator: str | list[str] | None = Field(
        default=None,
        description="Ray's accelerator type to place workers on, such as H100; of a list such as "
        "[H200, H100] the first that has room.",
    )
    autoscale: bool = Field(
        default=False,
        description="The cluster starts machines when they are asked for: `count` workers are, "
        "whatever it has at the moment. Needs `count` and `gpus`.",
    )
    weight: float = Field(
        default=1.0,
        gt=0.0,
        le=1000.0,
        description="What this run counts on a busy cluster, against others: a run of weight 2 "
        "holds twice the workers of one of weight 1.",
    )
    idle: float = Field(
        default=60.0,
        gt=0.0,
        le=86400.0,
        description="Seconds without work after which a worker gives its GPU back.",
    )

    @model_validator(mode="after")
    def _says_what_to_ask_for(self) -> Self:
        if self.autoscale and (self.count == 0 or self.gpus is None):
            raise ValueError(
                "with autoscale the cluster can't tell how many workers there may be or what one "
                "holds: write count (not 0) and gpus"
            )
        return self

    @property
    def accelerators(self) -> tuple[str, ...]:
        """The types to place workers on, the best first; none is any machine."""
        if self.accelerator is None:
            return ()
        return (self.accelerator,) if isinstance(self.accelerator, str) else (*self.accelerator,)


class RetriesSection(Strict):
    """How often to try again."""

    segment: int = Field(
        default=3, ge=1, le=20, description="Attempts of one segment before its shot fails."
    )
    worker: int = Field(
        default=4,
        ge=0,
        le=100,
        description="Deaths of one worker in a row before it is not replaced.",
    )
    machine: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="Segments in which workers of one machine died, in a row, before no worker is "
        "placed there again, where another machine can hold one.",
    )
    stuck: float = Field(
        default=20.0,
        ge=2.0,
        le=10000.0,
        description="A segment is ended after so many times the usual time between two solver "
        "steps without a sign of life (but not within a minute).",
    )
    silence: float = Field(
        default=1800.0,
        gt=0.0,
        le=864000.0,
        description="Seconds without a sign of life after which a segment is ended in any case.",
    )


class CacheSection(Strict):
    """What each machine keeps of a store that is no folder."""

    folder: str | None = Field(
        default=None,
        description="Folder on every machine. Without: storyflow in the user's cache folder.",
    )
    gigabytes: float = Field(
        default=50.0, gt=0.0, description="Size; the least recently used go first."
    )

    @property
    def limit(self) -> CacheLimit:
        """As the store takes it."""
        folder = None if self.folder is None else Path(self.folder)
        return CacheLimit(folder, int(self.gigabytes * 1e9))


def _listening(value: str | None) -> str | None:
    if value is not None and re.fullmatch(r"([\w.-]+|\[[\da-fA-F:]+\]):\d{1,5}", value) is None:
        raise ValueError("write HOST:PORT, such as 127.0.0.1:9464")
    return value


class MetricsSection(Strict):
    """Where a run shows how it stands, for Prometheus. A Ray that runs already shows it always."""

    folder: str | None = Field(
        default=None,
        description="Folder for a text file per film, for node_exporter's textfile collector.",
    )
    listen: Annotated[str | None, AfterValidator(_listening)] = Field(
        default=None,
        description="HOST:PORT to serve them at while a film is rendered; 127.0.0.1:9464 is "
        "reached from this machine only.",
    )


class Cluster(Strict):
    """A cluster file."""

    storyflow: Literal[1] = Field(default=1, description="Format version.")
    about: str = Field(default="", description="One line for people.")
    address: Annotated[str, AfterValidator(_address)] = Field(
        default="local",
        description="local: a Ray of its own on this machine; auto: the running one; HOST:PORT or "
        "ray://HOST:PORT: a remote one; in-process: no Ray at all.",
    )
    jobs: str | None = Field(
        default=None,
        description="URL of the cluster's job API, for `storyflow submit`: http://HEAD:8265.",
    )
    python: str = Field(
        default="python",
        min_length=1,
        description="The Python on the cluster that submitted films are rendered with.",
    )
    store: str = Field(
        default=".storyflow/store",
        description="Finished segments, seen by all workers: a folder, or a URL such as "
        "s3://BUCKET/PREFIX.",
    )
    cache: CacheSection = CacheSection()
    workers: WorkersSection = WorkersSection()
    retries: RetriesSection = RetriesSection()
    metrics: MetricsSection = MetricsSection()
    price: float | None = Field(
        default=None, ge=0.0, description="Money per GPU-hour (or worker-hour without GPUs)."
    )
    currency: str = Field(default="USD", max_length=8, description="What `price` is counted in.")


def load_cluster(name: str | Path, overrides: Sequence[str] = ()) -> Cluster:
    """The checked settings of a shipped cluster file, or of any other by its path.

    Raises ProfileError: unknown name, broken file, unknown field or value out of range.
    """
    return load_settings(Cluster, find_named(name, "cluster", "cluster file"), overrides)
