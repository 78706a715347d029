"""The farm on Ray: one actor per worker. The only module that imports ray.

Ray starts processes and carries calls; what is tried again, and where, is the dispatcher's. So
actors are made without restarts and without retries, and their exceptions become ours: a lost actor
is WorkerDied, an error in the work comes back as itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

from storyflow.cluster import Cluster, WorkersSection
from storyflow.errors import FarmError, StoreError
from storyflow.farm.borders import Started
from storyflow.farm.capacity import Machine, capacity, describe, need_of
from storyflow.farm.jobs import Job, Progress, Rendered, Role, WorkerConfig
from storyflow.farm.pools import Notify, caps_of, lost, worker_price
from storyflow.farm.retries import WorkerDied
from storyflow.farm.workers import Worker, make_worker
from storyflow.store.nonce import new_nonce
from storyflow.store.store import Store

T = TypeVar("T")

LOCAL_ENVIRONMENT = {
    # Without it Ray replaces 127.0.0.1 by the machine's outward address.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A worker that holds no GPU sees none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}
"""What Ray must find in the environment when it is first imported, for a Ray of our own."""

OBJECT_STORE_BYTES = 128 << 20
"""Frames never pass through Ray's object store, so it is small."""

NODE_LABEL = "ray.io/node-id"
"""The label by which Ray knows every node."""

WAIT_SECONDS = 20.0
"""After so long without a place on the cluster, waiting is said aloud; then after twice as long."""

GOODBYE_SECONDS = 10.0
"""How long an idle worker may take to unload its model."""


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
        self.caps = caps_of(cluster)
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
                await _in_thread(_CONNECTION.open, self.cluster.address, workers)
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
            await _in_thread(_CONNECTION.close)


class RayPool:
    """Implements `WorkerPool` with one actor per worker."""

    def __init__(self, farm: RayFarm, role: Role, notify: Notify) -> None:
        self._farm = farm
        self._role = role
        self._notify = notify
        self._actors: dict[str, Any] = {}
        self._idle: set[str] = set()
        self._need = need_of(farm.cluster.workers, (), wants_gpu=False)

    async def workers(self) -> tuple[str, ...]:
        """As many as the cluster file wants and the cluster holds; one for prompts.

        Raises FarmError when not even one fits.
        """
        await self._farm.connect()
        machines = await _in_thread(_machines)
        wants_gpu = self._farm.config.model_kind().wants_gpu
        self._need = need_of(self._farm.cluster.workers, machines, wants_gpu=wants_gpu)
        fitting = self._check(machines)
        wanted = self._farm.cluster.workers.count or fitting
        if self._role == "prompt":
            return ("encoder-1",)
        if wanted > fitting:
            self._notify(
                f"{wanted} workers were asked for, the cluster has room for {fitting} of "
                f"{self._need} each"
            )
        return tuple(f"worker-{number + 1}" for number in range(min(wanted, fitting)))

    async def start(self, worker: str, avoid: frozenset[str] = frozenset()) -> Started:
        """Place an actor, not on the nodes `avoid` if another can hold it, and load its model."""
        import ray

        await self._farm.leave_nonce()
        config = self._farm.config
        threads = str(config.threads)
        options: dict[str, Any] = {
            "name": f"{self._farm.title}/{worker}-{secrets.token_hex(4)}",
            "num_cpus": self._need.cpus,
            "num_gpus": self._need.gpus,
            "max_restarts": 0,
            "max_task_retries": 0,
            "allow_out_of_order_execution": True,
            "concurrency_groups": {"progress": 1, "storing": 2},
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}},
        }
        if self._need.accelerator is not None:
            options["accelerator_type"] = self._need.accelerator
        if avoid and capacity(await _in_thread(_machines, avoid), self._need):
            options["label_selector"] = {NODE_LABEL: f"!in({','.join(sorted(avoid))})"}
        with _translated(worker):
            actor = ray.remote(**options)(_Actor).remote(self._role, config, worker)
            self._actors[worker] = actor
            node = await self._placed(worker, actor)
            began = time.monotonic()
            numerics = cast(str, await _call(worker, actor.setup.remote()))
        self._idle.add(worker)
        return Started(numerics, node, time.monotonic() - began)

    async def submit(self, worker: str, job: Job, attempt: int) -> Rendered:
        """Run the job in the worker's actor; it carries the job's name in Ray's own tools."""
        self._idle.discard(worker)
        call = self._actors[worker].run.options(name=f"{self._farm.title}/{job.name}")
        with _translated(worker):
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

    async def release(self, worker: str) -> None:
        """Let the actor unload its model, then end it."""
        await self._say_goodbye((worker,))

    async def kill(self, worker: str) -> None:
        """End the actor's process now."""
        self._idle.discard(worker)
        actor = self._actors.pop(worker, None)
        if actor is not None:
            await _in_thread(_kill, actor)

    async def close(self) -> None:
        """Let idle workers unload their models, then end all."""
        await self._say_goodbye(tuple(self._idle))
        for worker in tuple(self._actors):
            await self.kill(worker)

    async def _say_goodbye(self, workers: tuple[str, ...]) -> None:
        idle = [self._actors[worker] for worker in workers if worker in self._actors]
        goodbyes = [asyncio.ensure_future(_wrap(actor.close.remote())) for actor in idle]
        if goodbyes:
            await asyncio.wait(goodbyes, timeout=GOODBYE_SECONDS)
            for goodbye in goodbyes:
                goodbye.cancel()
            await asyncio.gather(*goodbyes, return_exceptions=True)
        for worker in workers:
            await self.kill(worker)

    def _check(self, machines: list[Machine]) -> int:
        fitting = capacity(machines, self._need)
        if fitting == 0:
            raise FarmError(
                f"no machine can hold a worker: one needs {self._need}, the cluster has "
                f"{describe(machines)}",
                cure="change workers.threads, gpus or accelerator in the cluster file",
            )
        return fitting

    async def _placed(self, worker: str, actor: Any) -> str:
        """Wait for a place on the cluster, aloud, and only while there can be one. The node."""
        waiting = asyncio.ensure_future(_wrap(actor.here.remote()))
        try:
            patience = WAIT_SECONDS
            while not waiting.done():
                await asyncio.wait((waiting,), timeout=patience)
                patience *= 2
                if not waiting.done():
                    machines = await _in_thread(_machines)
                    self._check(machines)
                    self._notify(
                        f"{worker} waits for {self._need} to become free; the cluster has "
                        f"{describe(machines)}"
                    )
            return cast(str, await waiting)
        finally:
            waiting.cancel()


class _Actor:
    """A worker in a process of its own. `setup` does all that can fail, so that it can be told."""

    def __init__(self, role: Role, config: WorkerConfig, name: str) -> None:
        self._make = partial(make_worker, role, config, name, own_process=True)
        self._worker: Worker | None = None

    def here(self) -> str:
        """Answers when the actor has a place: the node's id."""
        import ray

        return cast(str, ray.get_runtime_context().get_node_id())

    def setup(self) -> str:
        self._worker = self._make()
        return self._worker.setup()

    def run(self, job: Job, attempt: int) -> Rendered:
        assert self._worker is not None
        return self._worker.run_ahead(job, attempt)

    def settle(self, key: str) -> Rendered:
        assert self._worker is not None
        return self._worker.settle(key)

    def progress(self) -> Progress | None:
        return self._worker.progress() if self._worker is not None else None

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()


class _Connection:
    """This process's one connection to Ray, shared by all its farms."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._ours = False

    def open(self, address: str, workers: WorkersSection) -> None:
        with self._lock:
            if address == "local":
                for name, value in LOCAL_ENVIRONMENT.items():
                    os.environ.setdefault(name, value)
            import ray

            if not ray.is_initialized():
                _init(address, workers)
                self._ours = True
                _print_nothing(True)
            self._users += 1

    def close(self) -> None:
        import ray

        with self._lock:
            self._users -= 1
            if self._users == 0 and self._ours:
                self._ours = False
                ray.shutdown()
                _print_nothing(False)


_CONNECTION = _Connection()


def _init(address: str, workers: WorkersSection) -> None:
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options |= {
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
        }
        asked = workers.threads * max(workers.count, 1)
        if asked > (os.cpu_count() or 1):
            # More threads than cores are slow but right, if that is what was asked for.
            options["num_cpus"] = asked
    try:
        ray.init(address, **options)
    except Exception as error:
        raise FarmError(
            f"can't reach Ray at {address!r}: {_brief(error)}",
            cure="check that it runs and the address is right, or use the address local",
        ) from error


def _print_nothing(quiet: bool) -> None:
    """Ray prints every lost worker on stdout, `log_to_driver` or not; runs tell of it by events."""
    import ray._private.worker as driver

    if hasattr(driver, "_worker_logs_enabled"):
        driver._worker_logs_enabled = not quiet


def _machines(avoid: frozenset[str] = frozenset()) -> list[Machine]:
    """What Ray's living nodes have, but for those of these ids."""
    import ray

    prefix = "accelerator_type:"
    return [
        Machine(
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            accelerators=frozenset(
                name.removeprefix(prefix) for name in node["Resources"] if name.startswith(prefix)
            ),
        )
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in avoid
    ]


def _kill(actor: Any) -> None:
    import ray

    with contextlib.suppress(Exception):  # it may be dead already
        ray.kill(actor, no_restart=True)


async def _wrap(reference: Any) -> Any:
    return await reference


async def _call(worker: str, reference: Any) -> Any:
    """A call's answer, with Ray's exceptions made ours."""
    with _translated(worker):
        return await reference


@contextlib.contextmanager
def _translated(worker: str) -> Iterator[None]:
    import ray.exceptions as failures

    lost = (
        failures.RayActorError,
        failures.NodeDiedError,
        failures.WorkerCrashedError,
        failures.OutOfMemoryError,
        failures.ObjectLostError,
        failures.LocalRayletDiedError,
    )
    try:
        yield
    except failures.RayTaskError as error:
        # The work's own exception, where it could be sent; else its text.
        if isinstance(error.cause, Exception):
            raise error.cause from None
        raise RuntimeError(_brief(error)) from None
    except lost as error:
        if getattr(error, "actor_init_failed", False):
            # Nothing of ours runs there before `setup`: the worker's Python lacks something.
            raise FarmError(
                f"{worker} can't be made: {_brief(error)}",
                cure="install the same storyflow and model code on every machine of the cluster",
            ) from None
        raise WorkerDied(_why_lost(error)) from None
    except failures.RayError as error:
        raise FarmError(
            f"Ray failed {worker} ({type(error).__name__}): {_brief(error)}",
            cure="look at Ray's own logs, then run the same command again",
        ) from error


def _why_lost(error: BaseException) -> str:
    detail = _brief(error)
    if "connection error code 2" in detail:
        return "its process ended without a word (killed, crashed or out of memory)"
    return f"its process is gone: {detail}"


def _brief(error: BaseException) -> str:
    """One line of an error that Ray fills pages with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"


async def _in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Ray's own calls block; the event loop goes on."""
    return await asyncio.to_thread(work, *arguments)
