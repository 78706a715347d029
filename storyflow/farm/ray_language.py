"""A language model in an actor on Ray: started for the prompt stage, and gone after it.

Every answer leaves the actor as soon as it is finished. When the actor dies, another one is started
and asked what was not yet answered. After the stage its process and all that it started have ended,
which is checked on its node, so that the accelerators it held are free.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from storyflow.cluster import Cluster
from storyflow.errors import FarmError, InfrastructureError
from storyflow.farm.capacity import Machine, Need, describe, places
from storyflow.farm.processes import Process, descendants, end_process, this_process
from storyflow.farm.ray_connection import CONNECTION
from storyflow.farm.ray_errors import translated
from storyflow.farm.ray_machines import living_machines
from storyflow.farm.retries import OutOfMemory, WorkerDied
from storyflow.prompts.engines.settings import EngineSettings
from storyflow.prompts.engines.vllm import VllmModel
from storyflow.prompts.model import Answer, EngineDied, Question, Refusal

Notify = Callable[[str], None]

DEATHS = 3
"""So many deaths without a single answer between them, and the model is given up."""

BATCH_BYTES = 48 << 20
"""Frames on their way to the actor at once: Ray's object store is small."""

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

    def answers(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer | Refusal]]:
        """The answers as they are finished."""

    def close(self) -> None:
        """End the engine."""


@dataclass(frozen=True)
class Household:
    """The node that an actor is on, its process and those that it started there."""

    node: str
    processes: tuple[Process, ...]


class RayModel:
    """Implements `LanguageModel` with an `Engine` in an actor, made there by `make`."""

    def __init__(
        self,
        settings: EngineSettings,
        cluster: Cluster,
        notify: Notify = lambda _: None,
        make: Callable[[EngineSettings], Engine] = VllmModel,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._notify = notify
        self._make = make
        self._connected = False
        self._actor: Any = None
        self.household: Household | None = None
        self._busy = False
        self.starts = 0

    @property
    def name(self) -> str:
        """Hub id or folder."""
        return self._settings.model

    @property
    def revision(self) -> str:
        """Commit, tag or branch."""
        return self._settings.revision or ""

    def setup(self) -> None:
        """Start the actor and load the model. Raises ModelError, FarmError, EngineDied."""
        if self._actor is not None:
            return
        if not self._connected:
            CONNECTION.open(self._cluster.address, self._cluster.workers)
            self._connected = True
        deaths = 0
        while self._actor is None:
            try:
                self._start()
            except (WorkerDied, OutOfMemory) as error:
                deaths += 1
                self._end()
                if deaths == DEATHS:
                    raise self._given_up(deaths, error) from None

    def ask(self, questions: Sequence[Question]) -> list[Answer | Refusal]:
        """The answers, in the order of the questions. Raises EngineDied, FarmError, ModelError."""
        said: dict[int, Answer | Refusal] = {}
        deaths = 0
        for batch in _batches(questions):
            while waiting := [place for place in batch if place not in said]:
                self.setup()
                before = len(said)
                try:
                    with translated(self.name):
                        for number, answer in self._stream([questions[n] for n in waiting]):
                            said[waiting[number]] = answer
                except (WorkerDied, OutOfMemory, EngineDied) as error:
                    deaths = deaths + 1 if len(said) == before else 1
                    self._end()
                    if deaths >= DEATHS:
                        raise self._given_up(deaths, error) from None
                    left = sum(place not in said for place in range(len(questions)))
                    self._notify(f"{self.name} died ({error}); it is asked {left} questions again")
        return [said[place] for place in range(len(questions))]

    def close(self) -> None:
        """End the engine, the actor and all that they started, and let go of Ray.

        Raises FarmError where a process can't be ended: it would keep its accelerator.
        """
        try:
            self._end(kindly=True)
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
            self._busy = False
            self._actor = ray.remote(**options)(_Actor).remote(self._make, self._settings)
            self.household = self._placed(need)
            self.starts += 1
            self.household = cast(Household, ray.get(self._actor.setup.remote()))

    def _placed(self, need: Need) -> Household:
        """Wait for a place on the cluster, aloud, and only while there can be one."""
        import ray

        waiting = self._actor.here.remote()
        patience = WAIT_SECONDS
        while True:
            done, _ = ray.wait([waiting], timeout=patience)
            if done:
                return cast(Household, ray.get(waiting))
            machines = living_machines()
            _need(self._settings, self._cluster, machines)
            self._notify(
                f"{self.name} waits for {need} to become free; the cluster has {describe(machines)}"
            )
            patience *= 2

    def _stream(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer | Refusal]]:
        import ray

        call = self._actor.answers.options(num_returns="streaming")
        self._busy = True
        for reference in call.remote(questions):
            yield cast("tuple[int, Answer | Refusal]", ray.get(reference))
        self._busy = False

    def _end(self, *, kindly: bool = False) -> None:
        """Leave no process behind."""
        import ray

        actor, self._actor = self._actor, None
        household, self.household = self.household, None
        if actor is None:
            return
        patience = GOODBYE_SECONDS if kindly and not self._busy else 3.0
        with contextlib.suppress(Exception):  # it may be dead already
            # What it started since is known only now.
            household = ray.get(actor.here.remote(), timeout=patience)
            if kindly and not self._busy:
                ray.get(actor.close.remote(), timeout=GOODBYE_SECONDS)
        with contextlib.suppress(Exception):
            ray.kill(actor, no_restart=True)
        if household is not None and (left := _survivors(household)):
            raise FarmError(
                f"{self.name} does not end and keeps what it holds: processes "
                f"{', '.join(str(each.pid) for each in left)} on node {household.node}",
                cure="end them on that machine, then run the same command again",
            )

    def _given_up(self, deaths: int, error: InfrastructureError | Exception) -> EngineDied:
        return EngineDied(
            f"{self.name} died {deaths} times without an answer: {error}",
            cure="look at the memory of its machine, then run the same command again",
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

    def answers(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer | Refusal]]:
        assert self._engine is not None
        yield from self._engine.answers(questions)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()


def _batches(questions: Sequence[Question]) -> Iterator[list[int]]:
    """Places of questions that travel together: as many as their frames allow, most often all."""
    batch: list[int] = []
    held = 0
    for place, question in enumerate(questions):
        size = 0 if question.clip is None else question.clip.frames.nbytes
        if batch and held + size > BATCH_BYTES:
            yield batch
            batch, held = [], 0
        batch.append(place)
        held += size
    if batch:
        yield batch


def _need(settings: EngineSettings, cluster: Cluster, machines: Sequence[Machine]) -> Need:
    """What the model holds, GPUs where there are any. Raises FarmError where it fits nowhere."""
    gpus = float(settings.tensor_parallel) if any(m.gpus for m in machines) else 0.0
    needs = [Need(1, gpus, each) for each in cluster.workers.accelerators or (None,)]
    found = places(machines, needs, 1)
    if not found:
        raise FarmError(
            f"no machine can hold {settings.model}: it needs {needs[0]}, the cluster has "
            f"{describe(machines)}",
            cure="change tensor_parallel in the profile or accelerator in the cluster file",
        )
    return found[0]


def _survivors(household: Household) -> list[Process]:
    """End what is left of a household by a small task on its node; what does not end."""
    import ray
    import ray.exceptions
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(household.node, soft=False)
    options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there}
    ending = ray.remote(**options)(_end_all).remote(household.processes)
    try:
        return cast("list[Process]", ray.get(ending, timeout=END_SECONDS))
    except ray.exceptions.TaskUnschedulableError:
        return []  # with its node it is gone as well
    except ray.exceptions.RayError:
        return list(household.processes)


def _end_all(processes: Sequence[Process]) -> list[Process]:
    return [process for process in processes if not end_process(process)]
