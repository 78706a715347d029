"""What runs in the processes that Ray starts: plain classes; `on_ray` makes actors of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import cast

from storyflow.farm.jobs import Job, Progress, Rendered, Role, WorkerConfig
from storyflow.farm.processes import Process, this_process
from storyflow.farm.shares import Demand, Shares
from storyflow.farm.workers import Worker, make_worker


@dataclass(frozen=True)
class Seat:
    """Where a worker runs: the id of its node, and its process there."""

    node: str
    process: Process


class WorkerActor:
    """A worker in a process of its own. `setup` does all that can fail, so that it can be told."""

    def __init__(self, role: Role, config: WorkerConfig, name: str) -> None:
        self._make = partial(make_worker, role, config, name, own_process=True)
        self._worker: Worker | None = None

    def here(self) -> Seat:
        """Answers when the actor has a place."""
        import ray

        return Seat(cast(str, ray.get_runtime_context().get_node_id()), this_process())

    def setup(self) -> str:
        """Load the model; its numerics class."""
        self._worker = self._make()
        return self._worker.setup()

    def run(self, job: Job, attempt: int) -> Rendered:
        """Do one job."""
        assert self._worker is not None
        return self._worker.run_ahead(job, attempt)

    def settle(self, key: str) -> Rendered:
        """Wait until an output is stored."""
        assert self._worker is not None
        return self._worker.settle(key)

    def progress(self) -> Progress | None:
        """How far the running job is."""
        return self._worker.progress() if self._worker is not None else None

    def close(self) -> None:
        """Unload the model."""
        if self._worker is not None:
            self._worker.close()


class SharesActor:
    """Keeps the shares of all runs on a cluster, in a process of its own that holds nothing."""

    def __init__(self) -> None:
        self._shares = Shares()

    def ask(self, run: str, demand: Demand) -> int | None:
        """What a run may hold."""
        return self._shares.ask(run, demand, time.monotonic())

    def leave(self, run: str) -> bool:
        """A run is over; whether it was the last one."""
        return self._shares.leave(run)
