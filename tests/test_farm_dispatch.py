"""The dispatcher alone, over a pretended pool in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from storyflow.errors import FarmError, InputError, ModelError, SegmentError, StoreError
from storyflow.farm.borders import (
    Do,
    Outcome,
    Reuse,
    Started,
    TaskDone,
    TaskFailed,
    TaskRetried,
    TaskStarted,
    WorkerDown,
    WorkerUp,
)
from storyflow.farm.dispatch import Dispatcher
from storyflow.farm.graph import Task
from storyflow.farm.retries import Caps, WorkerDied
from storyflow.farm.share import Share
from storyflow.simulate.clock import run_virtual

Script = Callable[[str, str, int], BaseException | None]
"""What happens to (worker, task, attempt): an exception, or None for success."""

Film = Share[tuple[str, float], str]
Meanwhile = Callable[[Dispatcher[tuple[str, float], str], Film], Coroutine[Any, Any, None]]


def nothing(worker: str, task: str, attempt: int) -> BaseException | None:
    return None


@dataclass
class FakePool:
    """Workers of one speed; jobs are (task id, seconds)."""

    size: int
    script: Script = nothing
    load: float = 1.0
    speeds: dict[str, float] = field(default_factory=dict)
    starts: Callable[[str, int], BaseException | None] = lambda worker, count: None
    log: list[tuple[float, str, str]] = field(default_factory=list)
    started: Counter[str] = field(default_factory=Counter)
    killed: list[str] = field(default_factory=list)
    released: list[tuple[float, str]] = field(default_factory=list)
    busy: set[str] = field(default_factory=set)
    storing: float = 0.0
    stores: Callable[[str, int], BaseException | None] = lambda task, count: None
    stored: Counter[str] = field(default_factory=Counter)
    machines: dict[str, str] = field(default_factory=dict)
    avoided: list[tuple[str, frozenset[str]]] = field(default_factory=list)

    async def workers(self) -> tuple[str, ...]:
        return tuple(f"w{number}" for number in range(self.size))

    async def start(self, worker: str, avoid: frozenset[str]) -> Started:
        self.started[worker] += 1
        self.avoided.append((worker, avoid))
        await asyncio.sleep(self.load)
        if (error := self.starts(worker, self.started[worker])) is not None:
            raise error
        return Started("virtual", self.machines.get(worker, ""), self.load)

    async def submit(self, worker: str, job: tuple[str, float], attempt: int) -> str:
        task, seconds = job
        assert worker not in self.busy, "one call in flight per worker"
        self.busy.add(worker)
        self.log.append((asyncio.get_running_loop().time(), worker, task))
        try:
            await asyncio.sleep(seconds / self.speeds.get(worker, 1.0))
        finally:
            self.busy.discard(worker)
        if (error := self.script(worker, task, attempt)) is not None:
            raise error
        return f"{task} by {worker}"

    def settle(self, worker: str, output: str) -> Awaitable[str] | None:
        return self._store(output) if self.storing else None

    async def _store(self, output: str) -> str:
        task = output.split()[0]
        self.stored[task] += 1
        await asyncio.sleep(self.storing)
        if (error := self.stores(task, self.stored[task])) is not None:
            raise error
        return output

    async def release(self, worker: str) -> None:
        self.released.append((asyncio.get_running_loop().time(), worker))

    async def kill(self, worker: str) -> None:
        self.killed.append(worker)

    async def close(self) -> None: ...

    def order(self) -> list[str]:
        return [task for _, _, task in self.log]

    def who(self, task: str) -> str:
        return next(worker for _, worker, name in self.log if name == task)


@dataclass
class Played:
    outcome: Outcome[str]
    seconds: float
    pool: FakePool
    events: list[object]

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def play(
    tasks: Iterable[Task],
    pool: FakePool,
    *,
    known: frozenset[str] = frozenset(),
    caps: Caps = Caps(),  # noqa: B008
    meanwhile: Meanwhile | None = None,
    resolving: float = 0.0,
    limit: Callable[[float], None] | None = None,
    idle: float = 60.0,
) -> Played:
    tasks = list(tasks)
    seconds = {task.id: task.weight for task in tasks}
    events: list[object] = []

    async def resolve(task: str) -> Reuse[str] | Do[tuple[str, float]]:
        if resolving:
            await asyncio.sleep(resolving)
        return Reuse(f"{task} from before") if task in known else Do((task, seconds[task]))

    async def main() -> Outcome[str]:
        async with Dispatcher(pool, caps=caps, watch=events.append, idle=idle) as dispatcher:
            film = dispatcher.share(resolve, watch=events.append, limit=limit)
            film.add(tasks)
            other = asyncio.ensure_future(meanwhile(dispatcher, film)) if meanwhile else None
            try:
                return await film.done()
            finally:
                if other is not None:
                    await other

    outcome, took = run_virtual(main())
    return Played(outcome, took, pool, events)


def chain(name: str, weights: Iterable[float], after: str | None = None) -> list[Task]:
    tasks: list[Task] = []
    for index, weight in enumerate(weights):
        needs = (f"{name}/{index - 1}",) if index else ((after,) if after else ())
        tasks.append(Task(f"{name}/{index}", needs, weight))
    return tasks


def test_a_chain_is_done_in_order_by_the_worker_that_began_it() -> None:
    played = play(chain("a", [2, 2, 2]) + chain("b", [2, 2, 2]), FakePool(2))
    assert played.outcome.complete
    assert played.seconds == 1 + 6
    for name in "ab":
        workers = {played.pool.who(f"{name}/{index}") for index in range(3)}
        assert len(workers) == 1
    order = played.pool.order()
    assert [task for task in order if task.startswith("a")] == ["a/0", "a/1", "a/2"]


def test_the_longest_chain_goes_first() -> None:
    tasks = [*chain("short", [3]), *chain("long", [1, 1, 1, 1]), *chain("middle", [2])]
    played = play(tasks, FakePool(1))
    assert played.pool.order()[0] == "long/0"
    assert played.seconds == 1 + 9


def test_weights_count_not_the_number_of_tasks() -> None:
    played = play([*chain("many", [1, 1, 1]), *chain("heavy", [10])], FakePool(1))
    assert played.pool.order()[0] == "heavy/0"


def test_the_makespan_is_that_of_the_longest_chain_where_workers_suffice() -> None:
    shots = [chain(f"s{n}", [1.0] * n) for n in (18, 3, 5, 7, 2, 1)]
    played = play([task for shot in shots for task in shot], FakePool(3))
    assert played.seconds == 1 + 18


def test_a_worker_is_kept_for_the_continuation_that_is_about_to_be_ready() -> None:
    # While a/1 is being looked up, b/0 must not take the worker away from the longer chain.
    played = play([*chain("a", [1] * 5), *chain("b", [1])], FakePool(1), resolving=0.01)
    assert played.pool.order()[-1] == "b/0" or played.pool.order().index("b/0") >= 4


def test_no_worker_is_started_when_everything_exists() -> None:
    tasks = chain("a", [1, 1, 1])
    played = play(tasks, FakePool(2), known=frozenset(task.id for task in tasks))
    assert played.outcome.complete and not played.pool.started
    assert [event.worker for event in played.of(TaskDone)] == [None] * 3
    done = {event.task: event.output for event in played.of(TaskDone)}
    assert done["a/2"] == "a/2 from before"


def test_no_more_workers_are_started_than_there_is_work_for() -> None:
    assert sum(play(chain("a", [1, 1, 1]), FakePool(8)).pool.started.values()) == 1


def test_what_exists_unlocks_what_needs_it() -> None:
    played = play(chain("a", [1, 1, 1]), FakePool(1), known=frozenset({"a/0"}))
    assert played.pool.order() == ["a/1", "a/2"]


def test_a_task_with_two_needs_waits_for_both() -> None:
    tasks = [Task("x", (), 1), Task("y", (), 5), Task("z", ("x", "y"), 1)]
    assert play(tasks, FakePool(2)).seconds == 1 + 5 + 1


def died_once(task: str) -> Script:
    return lambda w, t, attempt: WorkerDied("killed") if t == task and attempt == 1 else None


def test_a_dead_worker_is_replaced_and_its_task_done_again() -> None:
    played = play(chain("a", [2, 2, 2]), FakePool(1, died_once("a/1")))
    assert played.outcome.complete
    assert played.pool.order() == ["a/0", "a/1", "a/1", "a/2"]
    assert played.pool.started["w0"] == 2 and played.pool.killed == ["w0"]
    assert played.of(WorkerDown) == [WorkerDown("w0", "a/1", "killed")]
    assert played.outcome.worker_seconds == 2 * 1 + 4 * 2
    assert played.outcome.useful_seconds == 3 * 2


def test_another_worker_takes_over_while_the_dead_one_is_replaced() -> None:
    tasks = chain("a", [2, 2, 2]) + chain("b", [2])
    played = play(tasks, FakePool(2, died_once("a/1"), load=10))
    assert played.outcome.complete and played.seconds == 10 + 2 + 2 + 2 + 2


@pytest.mark.parametrize(
    ("error", "attempts", "deaths"),
    [
        (SegmentError("no"), 1, 0),
        (InputError("no"), 1, 0),
        (ValueError("bug"), 3, 0),
        (WorkerDied("killed"), 3, 3),
        (MemoryError(), 2, 2),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), 2, 2),
    ],
)
def test_the_retry_table(error: Exception, attempts: int, deaths: int) -> None:
    tasks = [*chain("bad", [1, 1]), *chain("good", [1, 1])]
    pool = FakePool(1, lambda w, task, attempt: error if task == "bad/0" else None)
    played = play(tasks, pool)
    assert pool.order().count("bad/0") == attempts
    assert len(pool.killed) == deaths
    (failure,) = played.outcome.failures
    assert (failure.task, failure.blocked) == ("bad/0", ("bad/1",))
    assert set(played.outcome.outputs) == {"good/0", "good/1"}
    assert not played.outcome.complete and played.outcome.error is None
    if attempts > 1:
        assert isinstance(failure.error, SegmentError) and failure.error.__cause__ is error
        assert len(played.of(TaskRetried)) == attempts - 1


def test_a_failure_stops_what_hangs_on_it_and_nothing_else() -> None:
    tasks = [
        *chain("a", [1, 1, 1]),
        *chain("b", [1, 1], after="a/2"),
        *chain("c", [1, 1], after="a/0"),
        *chain("d", [1]),
    ]
    pool = FakePool(2, lambda w, task, n: SegmentError("poison") if task == "a/1" else None)
    played = play(tasks, pool)
    assert set(played.outcome.outputs) == {"a/0", "c/0", "c/1", "d/0"}
    (failed,) = played.of(TaskFailed)
    assert set(failed.blocked) == {"a/2", "b/0", "b/1"}


def test_a_worker_that_dies_too_often_is_not_replaced() -> None:
    def script(worker: str, task: str, attempt: int) -> BaseException | None:
        return WorkerDied("bad memory") if worker == "w0" else None

    played = play([Task(f"t{n}") for n in range(20)], FakePool(2, script), caps=Caps(task=9))
    assert played.outcome.complete
    assert played.pool.started["w0"] == 5 and played.pool.started["w1"] == 1


def test_a_run_without_workers_left_ends_in_an_error() -> None:
    pool = FakePool(2, starts=lambda worker, count: WorkerDied("no driver"))
    outcome = play(chain("a", [1, 1]), pool).outcome
    assert isinstance(outcome.error, FarmError) and "no driver" in str(outcome.error)
    assert pool.started["w0"] == 5


@pytest.mark.parametrize("error", [FarmError("no such machine"), ModelError("no such model")])
def test_what_would_fail_again_is_not_started_again(error: Exception) -> None:
    pool = FakePool(1, starts=lambda worker, count: error)
    assert play(chain("a", [1]), pool).outcome.error is error
    assert pool.started["w0"] == 1


def test_a_worker_that_cannot_be_had_does_not_stop_the_others() -> None:
    pool = FakePool(2, starts=lambda w, count: FarmError("full") if w == "w1" else None)
    assert play(chain("a", [1, 1]) + chain("b", [1, 1]), pool).outcome.complete


def test_a_broken_store_stops_the_run_but_not_what_is_running() -> None:
    def script(worker: str, task: str, attempt: int) -> BaseException | None:
        return StoreError("disk full") if task == "a/0" else None

    tasks = [Task("a/0", (), 1), Task("b/0", (), 5), *chain("c", [1, 1, 1])]
    outcome = play(tasks, FakePool(2, script)).outcome
    assert isinstance(outcome.error, StoreError)
    assert "b/0" in outcome.outputs and "c/2" not in outcome.outputs


def test_draining_finishes_what_is_running_and_begins_nothing() -> None:
    async def meanwhile(dispatcher: Dispatcher[tuple[str, float], str], film: Film) -> None:
        await asyncio.sleep(2)
        film.drain()

    played = play(chain("a", [5, 5]) + chain("b", [5, 5]), FakePool(2), meanwhile=meanwhile)
    assert set(played.outcome.outputs) == {"a/0", "b/0"}
    assert played.seconds == 6 and not played.outcome.complete and not played.pool.killed


def test_cancelling_kills_the_busy_workers_at_once() -> None:
    pool = FakePool(2)

    async def resolve(task: str) -> Do[tuple[str, float]]:
        return Do((task, 100.0))

    async def main() -> None:
        async with Dispatcher(pool) as dispatcher:
            film = dispatcher.share(resolve)
            film.add([Task("a"), Task("b")])
            running = asyncio.ensure_future(film.done())
            await asyncio.sleep(3)
            assert dispatcher.busy() == (("w0", 0, 1, "a"), ("w1", 0, 1, "b"))
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    _, took = run_virtual(main())
    assert took == 3 and sorted(pool.killed) == ["w0", "w1"]


def test_workers_join_late_and_leave() -> None:
    async def meanwhile(dispatcher: Dispatcher[tuple[str, float], str], film: Film) -> None:
        await asyncio.sleep(5)
        dispatcher.hire("late")
        await asyncio.sleep(10)
        dispatcher.dismiss("w0")

    played = play([Task(f"t{n}", (), 2) for n in range(20)], FakePool(1), meanwhile=meanwhile)
    assert played.outcome.complete
    times: dict[str, list[float]] = {"w0": [], "late": []}
    for when, worker, _ in played.pool.log:
        times[worker].append(when)
    assert min(times["late"]) == 6 and max(times["w0"]) < 15
    assert [worker for _, worker in played.pool.released] == ["w0"] and not played.pool.killed


def test_tasks_can_be_added_while_running() -> None:
    async def meanwhile(dispatcher: Dispatcher[tuple[str, float], str], film: Film) -> None:
        await asyncio.sleep(2)
        film.add([Task("b", ("a",), 4.0)])

    async def resolve(task: str) -> Do[tuple[str, float]]:
        return Do((task, 4.0))

    async def main() -> Outcome[str]:
        async with Dispatcher(FakePool(1)) as dispatcher:
            film = dispatcher.share(resolve)
            film.add([Task("a")])
            other = asyncio.ensure_future(meanwhile(dispatcher, film))
            outcome = await film.done()
            await other
            return outcome

    outcome, _ = run_virtual(main())
    assert set(outcome.outputs) == {"a", "b"} and outcome.complete


def test_events_come_in_order() -> None:
    played = play(chain("a", [1]), FakePool(1))
    assert played.events == [
        WorkerUp("w0", "virtual"),
        TaskStarted("a/0", "w0", 1),
        TaskDone("a/0", "a/0 by w0", "w0", 1.0),
    ]


def test_a_worker_that_never_gets_a_place_holds_nothing_up() -> None:
    class Slow(FakePool):
        async def start(self, worker: str, avoid: frozenset[str]) -> Started:
            await asyncio.sleep(1 if worker == "w0" else 1e9)
            return Started("virtual")

    played = play(chain("a", [1, 1]) + chain("b", [1, 1]), pool := Slow(2))
    assert played.outcome.complete and played.seconds == 1 + 4 and pool.killed == ["w1"]


def test_an_empty_film_ends_at_once() -> None:
    played = play([], FakePool(1))
    assert played.outcome.complete and not played.pool.started


@pytest.mark.parametrize("seed", range(20))
def test_random_films_with_random_failures_do_each_task_once(seed: int) -> None:
    dice = random.Random(seed)
    tasks: list[Task] = []
    for shot in range(dice.randint(1, 12)):
        after = dice.choice(tasks).id if tasks and dice.random() < 0.3 else None
        weights = [dice.uniform(1, 3) for _ in range(dice.randint(1, 8))]
        tasks += chain(f"s{shot}", weights, after=after)
    poison = {task.id for task in tasks if dice.random() < 0.05}

    def script(worker: str, task: str, attempt: int) -> BaseException | None:
        if task in poison:
            return SegmentError("poison")
        return WorkerDied("killed") if dice.random() < 0.1 else None

    played = play(tasks, FakePool(3, script), caps=Caps(task=50, worker=1000))
    done = [event.task for event in played.of(TaskDone)]
    blocked = {name for event in played.of(TaskFailed) for name in event.blocked}
    failed = {event.task for event in played.of(TaskFailed)}
    assert len(done) == len(set(done))
    assert set(done) | blocked | failed == {task.id for task in tasks}
    assert not set(done) & (blocked | failed) and failed <= poison
    finished: set[str] = set()
    needs = {task.id: task.needs for task in tasks}
    for event in played.events:
        if isinstance(event, TaskStarted):
            assert set(needs[event.task]) <= finished
        elif isinstance(event, TaskDone):
            finished.add(event.task)


def test_a_big_film_is_dispatched_close_to_the_bound() -> None:
    dice = random.Random(7)
    tasks = [
        Task(task.id, task.needs, task.weight)
        for shot in range(1000)
        for task in chain(f"s{shot}", [dice.uniform(0.7, 1.3) for _ in range(dice.randint(1, 18))])
    ]
    played = play(tasks, FakePool(64, load=0.0))
    work = sum(task.weight for task in tasks)
    assert len(tasks) > 9000 and played.outcome.complete
    assert played.seconds <= 1.01 * max(work / 64, 18 * 1.3)


def test_a_chain_longer_than_pythons_stack_is_no_problem() -> None:
    assert play(chain("a", [1.0] * 5000), FakePool(1)).outcome.complete
