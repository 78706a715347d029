"""The farm on Ray: one actor per worker. Ray is imported here and in the modules named ray_*, when
it is first needed; `ray.remote` stands here alone.

Ray starts processes and carries calls; what is tried again, and where, is the dispatcher's. So
actors are made without restarts and without retries, and their exceptions become ours: a lost actor
is WorkerDied, an error in the work comes back as itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

from storyflow.cluster import Cluster
from storyflow.errors import FarmError, StoreError
from storyflow.farm.borders import Started
from storyflow.farm.capacity import (
    Machine,
    Need,
    capacity,
    describe,
    in_words,
    needs_of,
    offers,
)
from storyflow.farm.jobs import Job, Progress, Rendered, Role, WorkerConfig
from storyflow.farm.pools import Notify, caps_of, lost, patience_of, worker_price
from storyflow.farm.processes import end_process
from storyflow.farm.ray_actors import Seat, SharesActor, WorkerActor
from storyflow.farm.ray_connection import CONNECTION, LOCAL_ENVIRONMENT
from storyflow.farm.ray_errors import translated
from storyflow.farm.ray_machines import living_machines
from storyflow.farm.retries import WorkerDied
from storyflow.farm.shares import Demand
from storyflow.store.nonce import new_nonce
from storyflow.store.store import Store

T = TypeVar("T")

NODE_LABEL = "ray.io/node-id"
"""The label by which Ray knows every node."""

SHARES_NAME = "storyflow-shares-1"
"""The actor through which runs share a cluster; the number changes when they no longer agree."""

WAIT_SECONDS = 20.0
"""After so long without a place on the cluster, waiting is said aloud; then after twice as long."""

GOODBYE_SECONDS = 10.0
"""How long an idle worker may take to unload its model."""

ANSWER_SECONDS = 3.0
"""A worker that does not answer for so long may not hear that it is to end."""

END_SECONDS = 60.0
"""How long it may take to end such a worker by its machine."""


class RayFarm:
    """Implements `Farm` with Ray actors. Connects when the first worker is needed.

    A Ray that this process is already connected to (a user's program, an actor) is used as it is
    and left running.
    """

    def __init__(self, config: WorkerConfig, cluster: Cluster, title: str = "") -> None:
        self.nonce = new_nonce()
        self.config = replace(config, nonce=self.nonce)
        self.cluster = cluster
        self.title = title or "film"
        self.caps, self.patience = caps_of(cluster), patience_of(cluster)
        self.idle = cluster.workers.idle
        self.price = worker_price(cluster)
        self._connected = False
        self._connecting = asyncio.Lock()

    def pool(self, role: Role, notify: Notify) -> RayPool:
        """Actors of one role."""
        return RayPool(self, role, notify)

    async def connect(self) -> None:
        """Start or find Ray. Raises FarmError."""
        async with self._connecting:
            if not self._connected:
                workers = self.cluster.workers
                await _in_thread(CONNECTION.open, self.cluster.address, workers)
                self._connected = True

    async def leave_nonce(self) -> None:
        """Leave in the store what every worker looks for in its own. Raises StoreError."""
        # For each worker anew: what is old in the store's `tmp` is swept.
        store = Store(self.config.store, self.config.cache)
        await _in_thread(self.nonce.leave, store)

    async def close(self) -> None:
        """Disconnect; a Ray of our own ends with its last farm."""
        with contextlib.suppress(StoreError):
            await _in_thread(self.nonce.remove, Store(self.config.store, self.config.cache))
        if self._connected:
            self._connected = False
            await _in_thread(CONNECTION.close)


class RayPool:
    """Implements `WorkerPool` with one actor per worker."""

    def __init__(self, farm: RayFarm, role: Role, notify: Notify) -> None:
        self._farm = farm
        self._role = role
        self._notify = notify
        self._actors: dict[str, Any] = {}
        self._seats: dict[str, Seat] = {}
        self._idle: set[str] = set()
        self._needs = needs_of(farm.cluster.workers, (), wants_gpu=False)
        self._places: dict[str, Need] = {}
        self._name = f"{farm.title}/{role}-{secrets.token_hex(4)}"
        self._fitting = 0
        self._shares: Any = None

    @property
    def gpus(self) -> float:
        """GPUs that one worker holds, or 1 for none."""
        return self._needs[0].gpus or 1.0

    async def workers(self) -> tuple[str, ...]:
        """As many as the cluster file wants and the cluster holds; one for prompts.

        Raises FarmError when not even one fits.
        """
        await self._farm.connect()
        machines = await _in_thread(living_machines)
        wants_gpu = self._farm.config.model_kind().wants_gpu
        self._needs = needs_of(self._farm.cluster.workers, machines, wants_gpu=wants_gpu)
        found = self._offers(machines)
        fitting = self._fitting = len(found)
        wanted = self._farm.cluster.workers.count or fitting
        names = [f"worker-{number + 1}" for number in range(min(wanted, fitting))]
        if self._role == "prompt":
            names = ["encoder-1"]
        elif wanted > fitting:
            self._notify(
                f"{wanted} workers were asked for, the cluster has room for {fitting} of "
                f"{in_words(self._needs)} each"
            )
        self._places = dict(zip(names, found, strict=False))
        return tuple(names)

    async def start(self, worker: str, avoid: frozenset[str] = frozenset()) -> Started:
        """Place an actor, not on the nodes `avoid` if another can hold it, and load its model."""
        import ray

        await self._farm.leave_nonce()
        need = await self._place(worker)
        config = self._farm.config
        threads = str(config.threads)
        options: dict[str, Any] = {
            "name": f"{self._farm.title}/{worker}-{secrets.token_hex(4)}",
            "num_cpus": need.cpus,
            "num_gpus": need.gpus,
            "max_restarts": 0,
            "max_task_retries": 0,
            "allow_out_of_order_execution": True,
            "concurrency_groups": {"progress": 1, "storing": 2},
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}},
        }
        if need.accelerator is not None:
            options["accelerator_type"] = need.accelerator
        if avoid and capacity(await _in_thread(living_machines, avoid), need):
            options["label_selector"] = {NODE_LABEL: f"!in({','.join(sorted(avoid))})"}
        with translated(worker):
            actor = ray.remote(**options)(WorkerActor).remote(self._role, config, worker)
            self._actors[worker] = actor
            seat = self._seats[worker] = await self._placed(worker, actor, need)
            began = time.monotonic()
            numerics = cast(str, await _call(worker, actor.setup.remote()))
        self._idle.add(worker)
        return Started(numerics, seat.node, time.monotonic() - began)

    async def submit(self, worker: str, job: Job, attempt: int) -> Rendered:
        """Run the job in the worker's actor; it carries the job's name in Ray's own tools."""
        self._idle.discard(worker)
        actor = self._actors.get(worker)
        if actor is None:
            raise WorkerDied(f"{worker} was ended before it began")
        call = actor.run.options(name=f"{self._farm.title}/{job.name}")
        with translated(worker):
            rendered = cast(Rendered, await _call(worker, call.remote(job, attempt)))
        self._idle.add(worker)
        return rendered

    def settle(self, worker: str, output: Rendered) -> Awaitable[Rendered] | None:
        """Wait until what a job made is stored."""
        actor = self._actors.get(worker)
        if output.settled:
            return None
        if actor is None:
            return lost(worker)
        call = actor.settle.options(concurrency_group="storing")
        return _call(worker, call.remote(output.artifact.key))

    async def progress(self, worker: str) -> Progress | None:
        """How far the worker's job is; None when it doesn't answer."""
        actor = self._actors.get(worker)
        if actor is None:
            return None
        call = actor.progress.options(concurrency_group="progress")
        try:
            return cast("Progress | None", await _call(worker, call.remote()))
        except Exception:
            # Whatever happened to it, the call that renders will tell.
            return None

    async def allowance(self, wanted: int) -> int | None:
        """The run's share of a Ray that others use, too."""
        if not self._fitting or not CONNECTION.shared:
            return None
        demand = Demand(self._farm.cluster.workers.weight, wanted, self._fitting)
        try:
            if self._shares is None:
                self._shares = await _in_thread(_open_shares)
            return cast("int | None", await _wrap(self._shares.ask.remote(self._name, demand)))
        except Exception:
            # Its node may be gone; the next one asked makes it anew.
            self._shares = None
            return None

    async def release(self, worker: str) -> None:
        """Let the actor unload its model, then end it."""
        await self._say_goodbye((worker,))

    async def kill(self, worker: str) -> None:
        """End the actor's process now. One that hears nothing is ended by its machine."""
        self._idle.discard(worker)
        actor, seat = self._actors.pop(worker, None), self._seats.pop(worker, None)
        if actor is None:
            return
        deaf = seat is not None and not await _answers(actor)
        await _in_thread(_kill, actor)
        if seat is not None and deaf and not await _ended(seat):
            self._notify(
                f"{worker} does not end; look at process {seat.process.pid} on node {seat.node}"
            )

    async def close(self) -> None:
        """Let idle workers unload their models, then end all."""
        await self._say_goodbye(tuple(self._idle))
        await asyncio.gather(*(self.kill(worker) for worker in tuple(self._actors)))
        if self._shares is not None:
            with contextlib.suppress(Exception):
                if await _wrap(self._shares.leave.remote(self._name)):
                    await _in_thread(_kill, self._shares)

    async def _say_goodbye(self, workers: tuple[str, ...]) -> None:
        idle = [self._actors[worker] for worker in workers if worker in self._actors]
        goodbyes = [asyncio.ensure_future(_wrap(actor.close.remote())) for actor in idle]
        if goodbyes:
            await asyncio.wait(goodbyes, timeout=GOODBYE_SECONDS)
            for goodbye in goodbyes:
                goodbye.cancel()
            await asyncio.gather(*goodbyes, return_exceptions=True)
        await asyncio.gather(*(self.kill(worker) for worker in workers))

    async def _place(self, worker: str) -> Need:
        """What the worker is to hold: of its own type or, where that is gone, of another."""
        machines = await _in_thread(living_machines)
        need = self._places.get(worker, self._needs[0])
        if not capacity(machines, need):
            need = self._places[worker] = self._offers(machines)[0]
        return need

    def _offers(self, machines: list[Machine]) -> tuple[Need, ...]:
        found = offers(machines, self._needs, self._farm.cluster.workers)
        if not found:
            raise FarmError(
                f"no machine can hold a worker: one needs {in_words(self._needs)}, the cluster has "
                f"{describe(machines)}",
                cure="change workers.threads, gpus or accelerator in the cluster file",
            )
        return found

    async def _placed(self, worker: str, actor: Any, need: Need) -> Seat:
        """Wait for a place on the cluster, aloud, and only while there can be one."""
        waiting = asyncio.ensure_future(_wrap(actor.here.remote()))
        try:
            patience = WAIT_SECONDS
            while not waiting.done():
                await asyncio.wait((waiting,), timeout=patience)
                patience *= 2
                if not waiting.done():
                    machines = await _in_thread(living_machines)
                    self._offers(machines)
                    self._notify(
                        f"{worker} waits for {need} to become free; the cluster has "
                        f"{describe(machines)}"
                    )
            return cast(Seat, await waiting)
        finally:
            waiting.cancel()


def _open_shares() -> Any:
    """The actor that all runs on this Ray ask; made by the first, and ended by the last."""
    import ray

    options = {
        "name": SHARES_NAME,
        "namespace": "storyflow",
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "max_restarts": -1,
    }
    return ray.remote(**options)(SharesActor).remote()


def _kill(actor: Any) -> None:
    import ray

    with contextlib.suppress(Exception):  # it may be dead already
        ray.kill(actor, no_restart=True)


async def _answers(actor: Any) -> bool:
    """Whether a worker's process hears what it is told, or is known to be gone."""
    call = actor.progress.options(concurrency_group="progress")
    try:
        await asyncio.wait_for(_wrap(call.remote()), ANSWER_SECONDS)
    except TimeoutError:
        return False
    except Exception:
        return True
    return True


async def _ended(seat: Seat) -> bool:
    """End a worker's process by a small task on its node; whether it is gone."""
    import ray
    import ray.exceptions
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(seat.node, soft=False)
    options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there}
    ending = ray.remote(**options)(end_process).remote(seat.process)
    try:
        return cast(bool, await asyncio.wait_for(_wrap(ending), END_SECONDS))
    except TimeoutError:
        return False
    except ray.exceptions.RayError as error:
        # Where its node is gone, so is the process.
        return isinstance(error, ray.exceptions.TaskUnschedulableError)


async def _wrap(reference: Any) -> Any:
    return await reference


async def _call(worker: str, reference: Any) -> Any:
    """A call's answer, with Ray's exceptions made ours."""
    with translated(worker):
        return await reference


async def _in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Ray's own calls block; the event loop goes on."""
    return await asyncio.to_thread(work, *arguments)


__all__ = ["LOCAL_ENVIRONMENT", "RayFarm", "RayPool"]
