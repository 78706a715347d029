"""Which farm the cluster file's address means, opened for one run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from storyflow.cluster import Cluster
from storyflow.farm.jobs import WorkerConfig
from storyflow.farm.pools import Farm
from storyflow.pipeline import Profile
from storyflow.renderer import ModelKind
from storyflow.store.store import Store

IN_PROCESS = "in-process"
"""The cluster file's address for rendering without Ray."""


@asynccontextmanager
async def open_farm(
    profile: Profile,
    cluster: Cluster,
    store: Store,
    *,
    title: str = "",
    kind: Callable[[Profile, int], ModelKind] | None = None,
) -> AsyncIterator[Farm]:
    """The farm that the cluster file names; `title` names its workers in Ray's own tools."""
    config = WorkerConfig(profile, store.location, cluster.workers.threads, kind, store.cache)
    farm: Farm
    if cluster.address == IN_PROCESS:
        from storyflow.farm.local import LocalFarm

        farm = LocalFarm(config, cluster)
    else:
        from storyflow.farm.on_ray import RayFarm

        farm = RayFarm(config, cluster, title)
    try:
        yield farm
    finally:
        await farm.close()
