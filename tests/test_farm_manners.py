"""How the farm behaves towards others: it shares, gives back, keeps to limits and gives up."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest
from farm_support import Rendering, Shot, render, slate_profile, tiny_plan
from test_farm_dispatch import FakePool, Film, chain, play

from storyflow.budget import Budget
from storyflow.draining import Draining
from storyflow.errors import BudgetError, Cancelled
from storyflow.events import Event, Notice, SegmentDone, SegmentStarted, WorkerLost
from storyflow.farm.borders import Do, MachineLeft, Outcome, WorkerDown
from storyflow.farm.dispatch import Dispatcher
from storyflow.farm.graph import Task
from storyflow.farm.jobs import Progress
from storyflow.farm.progress import following
from storyflow.farm.retries import Caps, OutOfMemory, WorkerDied, WorkerStuck
from storyflow.farm.shares import Demand, Shares, divide
from storyflow.farm.sharing import sharing
from storyflow.farm.terms import Terms
from storyflow.farm.watchdog import Patience, Watchdog
from storyflow.poison import FAILED, Poison
from storyflow.simulate.clock import run_virtual

Farm = Dispatcher[tuple[str, float], str]


async def both(
    pool: FakePool, weights: dict[str, float], arrives: dict[str, float], tasks: int
) -> dict[str, Outcome[str]]:
    """Films of single tasks of ten seconds each, sharing a pool."""
    outcomes: dict[str, Outcome[str]] = {}

    async def resolve(task: str) -> Do[tuple[str, float]]:
        return Do((task, 10.0))

    async with Farm(pool) as dispatcher:

        async def show(name: str) -> None:
            await asyncio.sleep(arrives.get(name, 0.0))
            film = dispatcher.share(resolve, weight=weights[name])
            film.add([Task(f"{name}/{n}", (), 10.0) for n in range(tasks)])
            outcomes[name] = await film.done()

        await asyncio.gather(*map(show, weights))
    return outcomes


def begun(pool: FakePool, since: float, until: float) -> Counter[str]:
    return Counter(task.split("/")[0] for when, _, task in pool.log if since <= when < until)


@pytest.mark.parametrize("weights", [{"a": 1, "b": 1}, {"a": 1, "b": 3}, {"a": 5, "b": 1}])
def test_films_share_the_workers_by_weight(weights: dict[str, float]) -> None:
    pool = FakePool(8, load=0.0)
    outcomes, _ = run_virtual(both(pool, weights, {}, 200))
    assert all(outcome.complete for outcome in outcomes.values())
    had = begun(pool, 0, 200)
    fair = weights["a"] / sum(weights.values())
    assert abs(had["a"] / had.total() - fair) < 0.06


def test_a_film_that_comes_later_has_its_share_at_once_and_no_more() -> None:
    pool = FakePool(8, load=0.0)
    run_virtual(both(pool, {"a": 1, "b": 1}, {"b": 500.0}, 800))
    assert begun(pool, 0, 500)["b"] == 0
    # It has saved nothing up while it was away.
    later = begun(pool, 510, 910)
    assert abs(later["b"] / later.total() - 0.5) < 0.05


def test_a_light_film_is_never_starved() -> None:
    pool = FakePool(4, load=0.0)
    run_virtual(both(pool, {"heavy": 100, "light": 1}, {}, 400))
    assert begun(pool, 0, 900)["light"] >= 2


def test_an_idle_worker_is_let_go_after_a_minute_and_comes_back_for_work() -> None:
    tasks = [*chain("a", [200, 10]), Task("b", (), 5), Task("c", ("a/0",), 10)]
    played = play(tasks, pool := FakePool(2))
    assert played.outcome.complete
    assert pool.released[0] == (1 + 5 + 60, pool.who("b"))
    assert pool.started[pool.who("b")] == 2


def test_idle_time_is_charged_too() -> None:
    played = play([Task("a", (), 200), Task("b", (), 5)], FakePool(2))
    assert played.outcome.worker_seconds == (1 + 200) + (1 + 5 + 60)
    assert played.outcome.useful_seconds == 205


def test_a_lower_limit_takes_workers_away_at_the_border_between_tasks() -> None:
    async def meanwhile(dispatcher: Farm, film: Film) -> None:
        await asyncio.sleep(15)
        dispatcher.limit(1)
        await asyncio.sleep(50)
        dispatcher.limit(None)

    pool = FakePool(4, load=0.0)
    played = play([Task(f"t{n}", (), 10) for n in range(40)], pool, meanwhile=meanwhile)
    assert played.outcome.complete and not pool.killed
    during = [worker for when, worker, _ in pool.log if 20 <= when < 65]
    assert len(set(during)) == 1 and len(pool.released) == 3
    assert len({worker for when, worker, _ in pool.log if when >= 70}) == 4


def below(limit: float) -> Any:
    def check(seconds: float) -> None:
        Budget(gpu_hours=limit / 3600).refuse(seconds, "going on")

    return check


def test_nothing_is_begun_that_the_limit_has_no_room_for() -> None:
    # Loading takes 1; the tenth task of 10 seconds does not fit any more.
    played = play([Task(f"t{n}", (), 10) for n in range(20)], FakePool(1), limit=below(99))
    assert isinstance(played.outcome.error, BudgetError)
    assert len(played.outcome.outputs) == 9 and not played.outcome.complete
    assert played.outcome.worker_seconds <= 99


def test_what_is_under_way_is_counted_before_it_has_ended() -> None:
    played = play([Task(f"t{n}", (), 10) for n in range(40)], FakePool(8), limit=below(150))
    assert isinstance(played.outcome.error, BudgetError)
    assert played.outcome.worker_seconds <= 150 < played.outcome.worker_seconds + 60


def test_failed_attempts_use_the_limit_up() -> None:
    pool = FakePool(1, lambda w, t, n: WorkerDied("killed") if n == 1 else None)
    played = play([Task(f"t{n}", (), 10) for n in range(20)], pool, limit=below(99))
    assert len(played.outcome.outputs) == 4


def test_without_a_limit_nothing_waits_for_the_first_to_end() -> None:
    assert play([Task(f"t{n}", (), 10) for n in range(4)], FakePool(4)).seconds == 11


def test_a_machine_that_kills_worker_after_worker_is_left_alone() -> None:
    pool = FakePool(
        4,
        lambda worker, task, n: WorkerDied("bad card") if worker in ("w0", "w1") else None,
        machines={"w0": "bad", "w1": "bad", "w2": "good", "w3": "good"},
    )
    tasks = [Task(f"t{n}", (), 10) for n in range(40)]
    played = play(tasks, pool, caps=Caps(task=20, worker=50))
    assert played.outcome.complete
    assert played.of(MachineLeft) == [MachineLeft("bad", 3)]
    assert any(avoid == {"bad"} for _, avoid in pool.avoided)


def test_a_segment_that_took_a_worker_along_goes_to_another_machine() -> None:
    """Though the bad machine's worker is free first, and its tasks come first."""

    def script(worker: str, task: str, attempt: int) -> BaseException | None:
        return WorkerDied("killed") if worker == "w0" else None

    tasks = [*chain("a", [9]), *chain("b", [8]), *chain("c", [7]), *chain("d", [1] * 5)]
    pool = FakePool(2, script, load=0.0, machines={"w0": "bad", "w1": "good"})
    played = play(tasks, pool, caps=Caps(task=2, machine=99))
    assert played.outcome.complete
    assert max(Counter((w, task) for _, w, task in pool.log).values()) == 1


def test_where_there_is_no_other_machine_a_segment_is_tried_again_where_it_was() -> None:
    pool = FakePool(
        2,
        lambda w, t, n: WorkerDied("killed") if t == "a/0" and n < 3 else None,
        machines={"w0": "only", "w1": "only"},
    )
    played = play([*chain("a", [1]), *chain("b", [1, 1])], pool, caps=Caps(task=3))
    assert played.outcome.complete and pool.order().count("a/0") == 3


def test_one_deadly_task_is_no_machines_fault() -> None:
    pool = FakePool(
        4,
        lambda worker, task, n: WorkerDied("boom") if task == "deadly" else None,
        machines={"w0": "one", "w1": "one", "w2": "two", "w3": "two"},
    )
    played = play([Task("deadly", (), 50), *(Task(f"t{n}", (), 10) for n in range(20))], pool)
    assert [failure.task for failure in played.outcome.failures] == ["deadly"]
    assert not played.of(MachineLeft)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OutOfMemory("worker-1 was ended because its machine ran out of memory"), "out of memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), "no memory left"),
        (WorkerStuck("worker-1 gave no sign of life"), "a stuck worker"),
    ],
)
def test_what_fails_for_good_says_why_in_words(error: Exception, words: str) -> None:
    played = play([Task("a")], FakePool(1, lambda w, t, n: error))
    (failure,) = played.outcome.failures
    assert f"failed 2 times, last with {words}" in str(failure.error) or words in str(failure.error)
    assert failure.attempts == 2


def test_the_watchdog_learns_what_is_usual() -> None:
    dog = Watchdog(Patience(times=10, least=5, most=1000))
    assert dog.silent("w", "a", 0) is None
    assert dog.silent("w", "a", 999) is None, "nothing usual is known yet"
    dog.heard("w", "a", 1, 1000)
    for beat in range(2, 8):
        dog.heard("w", "a", beat, 1000 + beat)
    assert dog.silent("w", "a", 1016) is None
    stuck = dog.silent("w", "a", 1018)
    assert stuck is not None and "after sign of life 7; the limit is 10 s" in str(stuck)
    assert dog.silent("w", "b", 1019) is None, "a new job begins anew"


def test_a_worker_that_hangs_is_ended_and_its_task_done_again() -> None:
    hangs = {"a/1": 1}
    steps: dict[str, int] = {}

    class Hanging(FakePool):
        async def submit(self, worker: str, job: tuple[str, float], attempt: int) -> str:
            task, _ = job
            self.log.append((asyncio.get_running_loop().time(), worker, task))
            for step in range(10):
                steps[worker] = step + 1
                await asyncio.sleep(1.0)
                if step == 4 and attempt <= hangs.get(task, 0):
                    await asyncio.sleep(1e9)
            return f"{task} by {worker}"

    pool = Hanging(1)

    async def ask(worker: str) -> Progress:
        task = pool.order()[-1]
        return Progress(task, steps[worker], 10, steps[worker])

    async def resolve(task: str) -> Do[tuple[str, float]]:
        return Do((task, 10.0))

    async def main() -> tuple[Outcome[str], list[object]]:
        events: list[object] = []
        async with Farm(pool, watch=events.append) as dispatcher:
            film = dispatcher.share(resolve)
            film.add(chain("a", [10, 10, 10]))
            name = lambda film, task: task  # noqa: E731
            told = lambda film, step: events.append(step)  # noqa: E731
            patience = Patience(times=20, least=5, most=1000)
            async with following(dispatcher, ask, name, told, 0.5, patience):
                return await film.done(), events

    (outcome, events), took = run_virtual(main())
    assert outcome.complete and pool.order() == ["a/0", "a/1", "a/1", "a/2"]
    assert 1 + 30 + 5 + 20 < took < 1 + 30 + 5 + 25
    (down,) = [event for event in events if isinstance(event, WorkerDown)]
    assert "no sign of life" in down.cause


@pytest.mark.parametrize(
    ("wants", "has"),
    [
        ({"a": (1, 8, 8)}, {"a": None}),
        ({"a": (1, 4, 8), "b": (1, 4, 8)}, {"a": None, "b": None}),
        ({"a": (1, 99, 8), "b": (1, 99, 8)}, {"a": 4, "b": 4}),
        ({"a": (3, 99, 8), "b": (1, 99, 8)}, {"a": 6, "b": 2}),
        ({"a": (1, 99, 8), "b": (1, 2, 8)}, {"a": 6, "b": 2}),
        ({"a": (1, 99, 3), "b": (1, 99, 3)}, {"a": 2, "b": 1}),
        ({"a": (100, 99, 4), "b": (1, 99, 4)}, {"a": 3, "b": 1}),
        ({"a": (1, 9, 1), "b": (1, 9, 1)}, {"a": 1, "b": 1}),
        # Workers of other sizes: parts of the cluster count, not heads.
        ({"big": (1, 9, 2), "small": (1, 99, 16)}, {"big": 1, "small": 8}),
    ],
)
def test_runs_divide_a_cluster(
    wants: dict[str, tuple[float, int, int]], has: dict[str, int | None]
) -> None:
    assert divide({run: Demand(*demand) for run, demand in wants.items()}) == has


def test_a_run_that_is_gone_leaves_its_share() -> None:
    shares = Shares(expiry=60)
    assert shares.ask("a", Demand(1, 9, 4), now=0) is None
    assert shares.ask("b", Demand(1, 9, 4), now=10) == 2
    assert shares.ask("a", Demand(1, 9, 4), now=20) == 2
    assert shares.ask("a", Demand(1, 9, 4), now=75) is None, "b has not been heard of"
    assert not shares.leave("b") or shares.leave("a")


def test_two_runs_of_their_own_give_each_other_room() -> None:
    """Two dispatchers, as in two processes, and one cluster of four places."""
    places = asyncio.Semaphore(4)
    shares = Shares()

    class Placed(FakePool):
        async def start(self, worker: str, avoid: frozenset[str]) -> Any:
            await places.acquire()
            return await super().start(worker, avoid)

        async def release(self, worker: str) -> None:
            await super().release(worker)
            places.release()

        async def close(self) -> None:
            pass

    async def run(name: str, pool: FakePool, count: int, wait: float) -> float:
        await asyncio.sleep(wait)

        async def resolve(task: str) -> Do[tuple[str, float]]:
            return Do((task, 10.0))

        async def allowance(wanted: int) -> int | None:
            return shares.ask(name, Demand(1, wanted, 4), asyncio.get_running_loop().time())

        async with Farm(pool) as dispatcher, sharing(dispatcher, allowance):
            film = dispatcher.share(resolve)
            film.add([Task(f"{name}/{n}", (), 10.0) for n in range(count)])
            assert (await film.done()).complete
        shares.leave(name)
        for _ in range(4):
            places.release()
        return asyncio.get_running_loop().time()

    first, second = Placed(4, load=0.0), Placed(4, load=0.0)

    async def main() -> list[float]:
        return await asyncio.gather(run("a", first, 400, 0.0), run("b", second, 40, 100.0))

    run_virtual(main())
    during = [(when, worker) for when, worker, _ in second.log if 150 <= when < 250]
    assert len({worker for _, worker in during}) == 2, "half of the four places"
    late = {worker for when, worker, _ in first.log if when >= 400}
    assert len(late) == 4, "all of them once the other is done"


FILM = (Shot("1A", ("a", "b", "c")), Shot("1B", ("x",), follows="1A"), Shot("2A", ("q", "r")))


def make(store: Path, **options: Any) -> Rendering:
    return asyncio.run(render(tiny_plan(*FILM), store, **options))


def of(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_what_failed_for_good_is_left_out_until_somebody_says_so(tmp_path: Path) -> None:
    file = tmp_path / FAILED
    poisoned = slate_profile(fail={"1A/2": -1})

    def again(**options: Any) -> Rendering:
        return make(tmp_path / "store", terms=Terms(poison=Poison(file)), **options)

    first = again(profile=poisoned)
    assert len([e for e in of(first.events, SegmentStarted) if e.segment == "1A/2"]) == 3
    second = again(profile=poisoned)
    assert not of(second.events, SegmentStarted), "a job that runs every night pays once"
    (failure,) = second.report.failures
    assert "failed for good before" in failure.error and "storyflow retry" in failure.error
    assert failure.missing == ("1A", "1B")
    (failed,) = Poison(file).forget({"1A"})
    assert (failed.name, failed.shot) == ("1A/2", "1A") and not Poison(file).all
    third = again()
    assert third.report.rendered == 3 and not third.report.failures


def test_only_the_asked_shots_are_tried_again_and_a_broken_file_is_empty(tmp_path: Path) -> None:
    poison = Poison(tmp_path / FAILED)
    poison.note("k1", "1A/2", "1A", "boom")
    poison.note("k2", "2A/1", "2A", "boom")
    assert [failed.key for failed in Poison(tmp_path / FAILED).forget({"2A"})] == ["k2"]
    assert [failed.key for failed in Poison(tmp_path / FAILED).all] == ["k1"]
    (tmp_path / FAILED).write_text("{half")
    assert Poison(tmp_path / FAILED).all == ()


def test_a_run_that_is_drained_stores_what_it_renders_and_goes_on_later(tmp_path: Path) -> None:
    draining = Draining()

    class Events(list[Event]):
        def append(self, event: Event) -> None:
            super().append(event)
            if isinstance(event, SegmentStarted):
                draining.wish()

    events = Events()
    profile = slate_profile(delay=0.05)
    with pytest.raises(Cancelled, match="between two segments"):
        make(tmp_path, profile=profile, events=events, terms=Terms(draining=draining))
    started = [event.segment for event in of(events, SegmentStarted)]
    done = [event.segment for event in of(events, SegmentDone)]
    assert started == done and 1 <= len(done) < 6
    assert make(tmp_path).report.rendered == 6 - len(done)


def test_a_run_drained_before_it_begins_renders_nothing(tmp_path: Path) -> None:
    draining = Draining()
    draining.wish()
    with pytest.raises(Cancelled):
        make(tmp_path, terms=Terms(draining=draining))
    assert make(tmp_path).report.rendered == 6


def test_a_limit_ends_the_run_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    profile = slate_profile(delay=0.2)
    hours = 0.75 / 3600
    with pytest.raises(BudgetError, match="more than the limit"):
        make(tmp_path, profile=profile, terms=Terms(Budget(gpu_hours=hours)))
    # On a slow machine the limit may go on loading alone.
    left = make(tmp_path).report.rendered
    assert 1 <= left <= 6


def test_more_gpus_for_one_worker_than_are_allowed_is_refused(tmp_path: Path) -> None:
    from storyflow.farm.local import LocalPool

    pool_gpus = LocalPool.gpus
    try:
        LocalPool.gpus = 2.0
        with pytest.raises(BudgetError, match="holds 2 GPUs, more than the limit of 1"):
            make(tmp_path, terms=Terms(Budget(gpus=1)))
    finally:
        LocalPool.gpus = pool_gpus


def test_a_segment_that_hangs_in_this_process_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it hangs, the watchdog's clock leaps: others have all the time that they need."""
    from storyflow.slate import SlateRenderer

    calm, hangs, over = SlateRenderer.render, threading.Event(), threading.Event()

    def hang(self: Any, spec: Any, *others: Any) -> None:
        if "hang" in spec.label:
            hangs.set()
            over.wait()
        calm(self, spec, *others)

    class Leaping(Watchdog):
        leapt = 0.0

        def heard(self, worker: str, job: Hashable, beats: int, now: float) -> None:
            super().heard(worker, job, beats, now + self.leapt)

        def silent(self, worker: str, job: Hashable, now: float) -> WorkerStuck | None:
            self.leapt += 1000.0 if hangs.is_set() else 0.0
            stuck = super().silent(worker, job, now + self.leapt)
            if stuck is not None:
                hangs.clear()
            return stuck

    monkeypatch.setattr("storyflow.farm.local.GOODBYE_SECONDS", 0.2)
    monkeypatch.setattr("storyflow.farm.progress.Watchdog", Leaping)
    monkeypatch.setattr(SlateRenderer, "render", hang)
    plan = tiny_plan(Shot("1A", ("hang",)), Shot("2A", ("go",)))
    made = asyncio.run(render(plan, tmp_path, terms=Terms(poll=0.1)))
    over.set()
    (failure,) = made.report.failures
    assert failure.segment == "1A/1" and "no sign of life" in failure.error
    assert made.report.rendered == 1
    assert len(of(made.events, WorkerLost)) == 2 and not of(made.events, Notice)
