"""A language model in an actor on Ray: started for the prompt stage, and gone after it.

Every answer leaves the actor as soon as it is finished, and signs of life in between. When the
actor dies or hangs, another one is started and asked what was not yet answered. After the stage its
process and all that it started have ended, which is checked on its node, so that the accelerators
it held are free.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from storyflow.cluster import Cluster
from storyflow.errors import FarmError
from storyflow.farm.capacity import Machine, Need, describe, offers
from storyflow.farm.held import Held
from storyflow.farm.kept_model import POLL_SECONDS, KeptModel, News, Notify, Said
from storyflow.farm.processes import Process, descendants, end_process, this_process
from storyflow.farm.ray_connection import CONNECTION
from storyflow.farm.ray_errors import translated
from storyflow.farm.ray_machines import living_machines
from storyflow.farm.vigil import Vigil
from storyflow.prompts.engines.settings import EngineSettings
from storyflow.prompts.engines.vllm import VllmModel
from storyflow.prompts.model import Answer, Question, Refusal
from storyflow.stopping import Check, go_on

WAIT_SECONDS = 20.0
"""After so long without a place on the cluster, waiting is said aloud; then after twice as long."""

GOODBYE_SECONDS = 60.0
"""How long the engine may take to end by itself, where it has nothing to do."""

END_SECONDS = 60.0
"""How long it may take to end what is left of it."""


class Engine(Protocol):
    """What runs in the actor; `VllmModel` is one."""

    def setup(self) -> None:
        """Load the model."""

    def answers(
        self, questions: Sequence[Question]
    ) -> Iterator[tuple[int, Answer | Refusal] | None]:
        """The answers as they are finished; None is a sign of life."""

    def close(self) -> None:
        """End the engine."""


@dataclass(frozen=True)
class Household:
    """The node that an actor is on, its process and those that it started there."""

    node: str
    processes: tuple[Process, ...]


class RayModel(KeptModel):
    """Implements `LanguageModel` with an `Engine` in an actor, made there by `make`."""

    def __init__(
        self,
        settings: EngineSettings,
        cluster: Cluster,
        notify: Notify = lambda _: None,
        check: Check = go_on,
        held: Held | None = None,
        make: Callable[[EngineSettings], Engine] = VllmModel,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(settings, notify, check, held, clock)
        self._cluster = cluster
        self._make = make
        self._connected = False
        self._actor: Any = None
        self._coming: Any = None
        self.household: Household | None = None

    def setup(self) -> None:
        """Start the actor and load the model. Raises ModelError, FarmError, EngineDied."""
        if not self._connected:
            CONNECTION.open(self._cluster.address, self._cluster.workers)
            self._connected = True
        super().setup()

    def close(self) -> None:
        """End the engine, the actor and all that they started, and let go of Ray.

        Raises FarmError where a process can't be ended: it would keep its accelerator.
        """
        try:
            super().close()
        finally:
            if self._connected:
                self._connected = False
                CONNECTION.close()

    def _start(self) -> None:
        import ray

        need = _need(self._settings, self._cluster, living_machines())
        options: dict[str, Any] = {
            "name": f"language-model-{secrets.token_hex(4)}",
            "num_cpus": need.cpus,
            "num_gpus": need.gpus,
            "max_restarts": 0,
            "max_task_retries": 0,
        }
        if need.accelerator is not None:
            options["accelerator_type"] = need.accelerator
        with translated(self.name):
            self._actor = ray.remote(**options)(_Actor).remote(self._make, self._settings)
            self.household = self._placed(need)
            self._hold(need.gpus)
            self.starts += 1
            loading = self._actor.setup.remote()
            vigil = Vigil(self._settings.load_timeout, now=self._clock())
            while not ray.wait([loading], timeout=POLL_SECONDS)[0]:
                self._check()
                vigil.check(self._clock())
            self.household = cast(Household, ray.get(loading))

    def _placed(self, need: Need) -> Household:
        """Wait for a place on the cluster, aloud, and only while there can be one."""
        import ray

        waiting = self._actor.here.remote()
        patience, aloud = WAIT_SECONDS, self._clock() + WAIT_SECONDS
        while not ray.wait([waiting], timeout=POLL_SECONDS)[0]:
            self._check()
            if self._clock() < aloud:
                continue
            machines = living_machines()
            _need(self._settings, self._cluster, machines)
            self._notify(
                f"{self.name} waits for {need} to become free; the cluster has {describe(machines)}"
            )
            patience *= 2
            aloud = self._clock() + patience
        return cast(Household, ray.get(waiting))

    def _put(self, questions: Sequence[Question]) -> None:
        call = self._actor.answers.options(num_returns="streaming")
        self._coming = call.remote(questions)

    def _next(self, seconds: float) -> Said | News:
        import ray

        with translated(self.name):
            done, _ = ray.wait([self._coming], timeout=seconds)
            if not done:
                return News.NOTHING
            try:
                said = ray.get(next(self._coming))
            except StopIteration:
                return News.END
        return News.ALIVE if said is None else cast(Said, said)

    def _end(self, *, kindly: bool) -> None:
        """Leave no process behind."""
        import ray

        actor, self._actor, self._coming = self._actor, None, None
        household, self.household = self.household, None
        if actor is None:
            return
        if kindly:
            with contextlib.suppress(Exception):  # it may be dead already
                # What it started since is known only now.
                household = ray.get(actor.here.remote(), timeout=GOODBYE_SECONDS)
                ray.get(actor.close.remote(), timeout=GOODBYE_SECONDS)
        elif household is not None:
            household = _grown(household)
        with contextlib.suppress(Exception):
            ray.kill(actor, no_restart=True)
        if household is not None and (left := _survivors(household)):
            raise FarmError(
                f"{self.name} does not end and keeps what it holds: processes "
                f"{', '.join(str(each.pid) for each in left)} on node {household.node}",
                cure="end them on that machine, then run the same command again",
            )


class _Actor:
    """An engine in a process of its own. `setup` does all that can fail, so that it can be told."""

    def __init__(self, make: Callable[[EngineSettings], Engine], settings: EngineSettings) -> None:
        self._make, self._settings = make, settings
        self._engine: Engine | None = None

    def here(self) -> Household:
        import ray

        node = cast(str, ray.get_runtime_context().get_node_id())
        return Household(node, (this_process(), *descendants()))

    def setup(self) -> Household:
        self._engine = self._make(self._settings)
        self._engine.setup()
        return self.here()

    def answers(self, questions: Sequence[Question]) -> Iterator[Said | None]:
        assert self._engine is not None
        yield from self._engine.answers(questions)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()


def _need(settings: EngineSettings, cluster: Cluster, machines: Sequence[Machine]) -> Need:
    """What the model holds, GPUs where there are or will be any.

    Raises FarmError where it fits nowhere.
    """
    some = cluster.workers.autoscale or any(machine.gpus for machine in machines)
    gpus = float(settings.tensor_parallel) if some else 0.0
    needs = [Need(1, gpus, each) for each in cluster.workers.accelerators or (None,)]
    found = offers(machines, needs, cluster.workers)
    if not found:
        raise FarmError(
            f"no machine can hold {settings.model}: it needs {needs[0]}, the cluster has "
            f"{describe(machines)}",
            cure="change tensor_parallel in the profile or accelerator in the cluster file",
        )
    return found[0]


def _grown(household: Household) -> Household:
    """A household with what its processes have started since: one that hangs can't tell it."""
    import ray.exceptions

    try:
        return replace(household, processes=_there(household, _with_children))
    except ray.exceptions.RayError:
        return household


def _survivors(household: Household) -> list[Process]:
    """End what is left of a household; what does not end."""
    import ray.exceptions

    try:
        return list(_there(household, _end_all))
    except ray.exceptions.TaskUnschedulableError:
        return []  # with its node it is gone as well
    except ray.exceptions.RayError:
        return list(household.processes)


def _there(
    household: Household, work: Callable[[Sequence[Process]], Sequence[Process]]
) -> tuple[Process, ...]:
    """What a small task on the household's node makes of its processes. Raises RayError."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(household.node, soft=False)
    options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there}
    done = ray.remote(**options)(work).remote(household.processes)
    return tuple(cast("Sequence[Process]", ray.get(done, timeout=END_SECONDS)))


def _with_children(processes: Sequence[Process]) -> Sequence[Process]:
    children = (child for process in processes for child in descendants(process))
    return list(dict.fromkeys((*processes, *children)))


def _end_all(processes: Sequence[Process]) -> list[Process]:
    return [process for process in processes if not end_process(process)]
