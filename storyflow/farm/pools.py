"""What a farm is: it makes pools of workers. In this process (`local`) or on Ray (`on_ray`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from storyflow.cluster import Cluster
from storyflow.farm.borders import Pool
from storyflow.farm.jobs import Job, Progress, Rendered, Role
from storyflow.farm.retries import Caps, WorkerDied
from storyflow.farm.watchdog import Patience

Notify = Callable[[str], None]


class WorkerPool(Pool[Job, Rendered], Protocol):
    """Workers of one role, which can be asked how far they are.

    `gpus` is what one worker costs: the accelerators that it holds, or 1 where it holds none.
    """

    @property
    def gpus(self) -> float:
        """Known once the pool was asked for its workers; 1 before."""

    def progress(self, worker: str) -> Awaitable[Progress | None]:
        """How far a worker's running job is; None where that isn't known."""

    async def allowance(self, wanted: int) -> int | None:
        """How many workers this run may hold, who could use so many, so that every run on the
        cluster has its share; None is any number."""


class Farm(Protocol):
    """Makes pools. Nothing is started or connected before a pool's first worker is needed."""

    @property
    def cluster(self) -> Cluster:
        """The cluster file that it was opened from."""

    @property
    def caps(self) -> Caps:
        """When to stop trying again."""

    @property
    def patience(self) -> Patience:
        """How long a worker may be silent."""

    @property
    def idle(self) -> float:
        """Seconds without work after which a worker is let go."""

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


def patience_of(cluster: Cluster) -> Patience:
    """The cluster file's limits for silent workers."""
    return Patience(times=cluster.retries.stuck, most=cluster.retries.silence)


def worker_price(cluster: Cluster) -> float | None:
    """Money for one hour of one worker: the price is per GPU, or per worker without GPUs."""
    if cluster.price is None:
        return None
    return cluster.price * (cluster.workers.gpus or 1.0)
