"""While an output is stored its worker goes on, and nothing counts before it is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import pytest
from farm_support import Shot, render, tiny_plan
from test_farm_dispatch import FakePool, chain, died_once, play

from storyflow.errors import SegmentError, StoreError
from storyflow.events import SegmentDone
from storyflow.farm.borders import OtherOutput, TaskDone, TaskFailed, TaskPromised, TaskStarted
from storyflow.farm.retries import WorkerDied
from storyflow.farm.workers import SegmentWorker
from storyflow.store.store import Store


def test_what_continues_an_output_begins_while_it_is_stored() -> None:
    played = play(chain("a", [10, 10, 10]), FakePool(1, storing=3.0))
    assert played.outcome.complete
    # Loading, three segments, and only the last one's storing is waited for.
    assert played.seconds == 1 + 30 + 3
    assert [event.task for event in played.of(TaskDone)] == ["a/0", "a/1", "a/2"]
    assert [event.task for event in played.of(TaskPromised)] == ["a/0", "a/1", "a/2"]


def test_only_the_worker_that_has_it_continues_what_is_not_stored() -> None:
    # b is over when a/0 is being stored: its worker must not take a/1 before that is done.
    tasks = [*chain("a", [10, 10]), *chain("b", [11])]
    pool = FakePool(2, storing=5.0, load=0.0)
    played = play(tasks, pool)
    assert played.outcome.complete
    assert pool.who("a/1") == pool.who("a/0")


def test_another_worker_may_continue_once_it_is_stored() -> None:
    # Two chains hang on a/0; the worker that made it can begin only one of them.
    tasks = [*chain("a", [10]), *chain("b", [10], after="a/0"), *chain("c", [10], after="a/0")]
    pool = FakePool(2, storing=4.0, load=0.0)
    assert play(tasks, pool).seconds == 10 + 4 + 10 + 4
    times = {task: when for when, _, task in pool.log}
    assert times["b/0"] == 10 and times["c/0"] == 14
    assert pool.who("b/0") != pool.who("c/0")


def test_a_chain_waits_for_what_its_beginning_waits_for() -> None:
    # Stored out of order: nothing is done before what it continues.
    class Slow(FakePool):
        async def _store(self, output: str) -> str:
            await asyncio.sleep(25.0 if output.startswith("a/0") else 1.0)
            return output

    played = play(chain("a", [10, 10]), Slow(1, storing=1.0, load=0.0))
    assert [event.task for event in played.of(TaskDone)] == ["a/0", "a/1"]
    assert played.seconds == 35 and played.outcome.complete


@pytest.mark.parametrize("promised", [True, False])
def test_an_output_that_could_not_be_stored_is_made_again(promised: bool) -> None:
    def stores(task: str, count: int) -> BaseException | None:
        return RuntimeError("lost on the way") if task == "a/0" and count == 1 else None

    tasks = chain("a", [10, 10]) if promised else chain("a", [10])
    played = play(tasks, pool := FakePool(1, storing=2.0, stores=stores))
    assert played.outcome.complete
    assert pool.order().count("a/0") == 2
    # What was begun on the promise is looked up anew.
    assert pool.order().count("a/1") == (2 if promised else 0)
    assert [event.task for event in played.of(TaskDone)] == [task.id for task in tasks]


def test_a_full_store_stops_the_run_although_the_worker_went_on() -> None:
    def stores(task: str, count: int) -> BaseException | None:
        return StoreError("the disk is full") if task == "a/0" else None

    played = play(chain("a", [10, 10, 10]), FakePool(1, storing=2.0, stores=stores))
    assert isinstance(played.outcome.error, StoreError)
    assert not played.outcome.outputs and not played.of(TaskDone)


def test_a_refused_output_fails_its_own_task_and_what_hangs_on_it() -> None:
    def stores(task: str, count: int) -> BaseException | None:
        return SegmentError("it can't be stored") if task == "a/1" else None

    played = play(
        [*chain("a", [10] * 4), *chain("b", [1])], FakePool(1, storing=2.0, stores=stores)
    )
    (failure,) = played.of(TaskFailed)
    assert failure.task == "a/1" and set(failure.blocked) == {"a/2", "a/3"}
    assert set(played.outcome.outputs) == {"a/0", "b/0"}


def test_a_death_costs_at_most_what_is_stored_and_what_is_made() -> None:
    class Mortal(FakePool):
        """A killed worker's outputs are lost on their way, too."""

        async def _store(self, output: str) -> str:
            worker = output.split()[-1]
            before = self.killed.count(worker)
            for _ in range(4):
                await asyncio.sleep(self.storing / 4)
                if self.killed.count(worker) > before:
                    raise WorkerDied("killed")
            return output

    # a/1 dies as soon as it begins, when a/0 is not stored yet.
    played = play(
        [*chain("a", [10]), *chain("a1", [0.5], after="a/0")],
        pool := Mortal(1, died_once("a1/0"), storing=4.0),
    )
    assert played.outcome.complete and not played.outcome.failures
    assert sorted(pool.order()) == ["a/0", "a/0", "a1/0", "a1/0"]


def test_a_deadly_task_is_blamed_not_the_one_that_was_being_stored() -> None:
    class Mortal(FakePool):
        async def _store(self, output: str) -> str:
            worker = output.split()[-1]
            before = self.killed.count(worker)
            for _ in range(4):
                await asyncio.sleep(self.storing / 4)
                if self.killed.count(worker) > before:
                    raise WorkerDied("killed")
            return output

    tasks = [*chain("a", [10]), *chain("deadly", [0.5], after="a/0")]
    pool = Mortal(
        1, lambda w, task, n: WorkerDied("boom") if task == "deadly/0" else None, storing=4.0
    )
    played = play(tasks, pool)
    assert [failure.task for failure in played.outcome.failures] == ["deadly/0"]
    assert set(played.outcome.outputs) == {"a/0"}


def test_another_writers_output_counts_and_what_was_begun_is_looked_up_anew() -> None:
    class Late(FakePool):
        def settle(self, worker: str, output: str) -> Awaitable[str] | None:
            return self._other(output)

        async def _other(self, output: str) -> str:
            await asyncio.sleep(2.0)
            if output.startswith("a/0"):
                raise OtherOutput("a/0 by another")
            return output

    played = play(chain("a", [10, 10]), pool := Late(1))
    done = {event.task: event.output for event in played.of(TaskDone)}
    assert done["a/0"] == "a/0 by another"
    assert pool.order() == ["a/0", "a/1", "a/1"] and played.outcome.complete


def test_history_from_memory_makes_the_same_film_as_history_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = []
    for kind, history in (("slate", "pixels"), ("latent", "latents"), ("latent", "pixels")):
        plan = tiny_plan(Shot("1A", ("a", "b", "c")), kind=kind, history=history)
        near = asyncio.run(render(plan, tmp_path / f"near-{kind}-{history}"))
        with monkeypatch.context() as patch:
            patch.setattr(SegmentWorker, "_near", lambda self, span: None)
            far = asyncio.run(render(plan, tmp_path / f"far-{kind}-{history}"))
        for made in (near, far):
            films.append({r: (a.key, a.digest) for r, a in made.report.artifacts.items()})
        assert films[-1] == films[-2] and len(films[-1]) == 3


def test_a_segment_is_done_only_when_it_is_in_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path)
    found: list[bool] = []

    class Events(list[object]):
        def append(self, event: object) -> None:
            if isinstance(event, SegmentDone):
                found.append(store.find(event.key) is not None)

    events = Events()
    plan = tiny_plan(Shot("1A", ("a", "b", "c")))
    asyncio.run(render(plan, tmp_path, events=events))  # type: ignore[arg-type]
    assert found == [True] * 3


def test_an_error_while_storing_stops_the_run_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = 0
    commit = Store.commit

    def full(self: Store, **parts: object) -> object:
        nonlocal commits
        commits += 1
        if commits == 2:
            raise StoreError("the disk is full")
        return commit(self, **parts)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "commit", full)
    plan = tiny_plan(Shot("1A", ("a", "b", "c")))
    with pytest.raises(StoreError, match="disk is full"):
        asyncio.run(render(plan, tmp_path))
    monkeypatch.undo()
    again = asyncio.run(render(plan, tmp_path)).report
    # The first was stored; the third may have been, but under a key that is found again.
    assert again.rendered <= 2 and len(again.artifacts) == 3


def test_events_tell_of_the_start_before_the_end() -> None:
    played = play(chain("a", [10, 10]), FakePool(1, storing=3.0))
    seen = [type(e).__name__ for e in played.events if getattr(e, "task", "") == "a/0"]
    assert seen == ["TaskStarted", "TaskPromised", "TaskDone"]
    assert played.of(TaskStarted)[1].task == "a/1"
