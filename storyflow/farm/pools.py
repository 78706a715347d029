"""What a farm is: it makes pools of workers. In this process (`local`) or on Ray (`on_ray`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from storyflow.cluster import Cluster
from storyflow.farm.borders import Pool
from storyflow.farm.jobs import Job, Progress, Rendered, Role
from storyflow.farm.retries import Caps, WorkerDied

Notify = Callable[[str], None]


class WorkerPool(Pool[Job, Rendered], Protocol):
    """Workers of one role, which can be asked how far they are."""

    def progress(self, worker: str) -> Awaitable[Progress | None]:
        """How far a worker's running job is; None where that isn't known."""


class Farm(Protocol):
    """Makes pools. Nothing is started or connected before a pool's first worker is needed."""

    @property
    def caps(self) -> Caps:
        """When to stop trying again."""

    @property
    def price(self) -> float | None:
        """Money for one hour of one worker."""

    def pool(self, role: Role, notify: Notify) -> WorkerPool:
        """Workers of one role; `notify` takes lines that the user should read."""

    async def close(self) -> None:
        """Let go of what was started or connected."""


async def lost(worker: str) -> Rendered:
    """What becomes of an output whose worker was ended before it was stored."""
    raise WorkerDied(f"{worker} was ended before its output was stored")


def caps_of(cluster: Cluster) -> Caps:
    """The cluster file's retry caps."""
    return Caps(
        task=cluster.retries.segment,
        worker=cluster.retries.worker,
        machine=cluster.retries.machine,
    )


def worker_price(cluster: Cluster) -> float | None:
    """Money for one hour of one worker: the price is per GPU, or per worker without GPUs."""
    if cluster.price is None:
        return None
    return cluster.price * (cluster.workers.gpus or 1.0)
