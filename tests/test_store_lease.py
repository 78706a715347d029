"""Leases and claims: one holder at a time, whatever dies and whatever the clocks say."""

from __future__ import annotations

import asyncio
import fcntl
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from stores import Spot, spot

from storyflow.claim import claimed_run, holder_of
from storyflow.errors import InfrastructureError
from storyflow.store import lease as leases
from storyflow.store.lease import (
    Attempt,
    Held,
    Holder,
    Lease,
    Pace,
    holding,
    leased,
    wait_until_free,
)
from storyflow.store.place import Place

NEVER = Pace(beat=3600.0, expiry=60.0, look=0.01)
"""The holder shows no life by itself; time passes where a test says so."""

QUICK = Pace(beat=0.01, expiry=0.5, look=0.02)
"""A dead holder is not waited for long. A living one may be slower than that."""

LIVELY = Pace(beat=0.01, expiry=600.0, look=0.02)
"""A holder shows life often, and is not taken for dead on the slowest machine."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return prepared(spot(request.param, tmp_path))


def prepared(at: Spot) -> Place:
    store = at.open()
    store.check_writable()
    return store.place


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Be on another machine from now on."""
    return lambda name: monkeypatch.setattr(leases, "_machine", lambda: name)


def take(place: Place, pace: Pace = NEVER) -> Lease:
    lease = Attempt(place, "film", pace).step()
    assert lease is not None
    return lease


def abandon(lease: Lease) -> None:
    """Die: no more life is shown, nothing is let go."""
    lease._over.set()
    lease._thread.join()


def test_a_lease_that_was_let_go_is_had_at_once(place: Place) -> None:
    for _ in range(3):
        take(place).release()
    assert len(list(place.names("claims/film/"))) == 1


def test_a_holder_that_shows_life_keeps_its_lease(place: Place, far: Callable[[str], None]) -> None:
    far("studio")
    held = take(place, LIVELY)
    far("laptop")
    attempt = Attempt(place, "film", LIVELY)
    with pytest.raises(Held, match=r"process \d+ on "):
        while attempt.step() is None:
            time.sleep(LIVELY.look)
    held.release()


def test_a_holder_without_a_sign_of_life_for_a_minute_is_dead(
    place: Place, far: Callable[[str], None]
) -> None:
    far("studio")
    abandon(take(place))
    far("laptop")
    clock = Clock()
    attempt = Attempt(place, "film", NEVER, clock)
    for moment in (0.0, 2.0, 59.0):
        clock.now = 1000.0 + moment
        assert attempt.step() is None
    clock.now = 1060.0
    taken = attempt.step()
    assert taken is not None
    taken.release()


@pytest.mark.parametrize("jump", [-10 * 365 * 86400.0, 10 * 365 * 86400.0])
def test_a_wall_clock_that_jumps_changes_nothing(
    place: Place, far: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    far("studio")
    held = take(place)
    far("laptop")
    clock = Clock()
    attempt = Attempt(place, "film", NEVER, clock)
    assert attempt.step() is None
    moment = time.time()
    monkeypatch.setattr(time, "time", lambda: moment + jump)
    clock.now += 59.0
    assert attempt.step() is None
    held._write(held._me.__class__(**{**asdict(held._me), "beat": 1}))
    with pytest.raises(Held):
        attempt.step()
    abandon(held)


def hold_and_hang(location: str) -> None:
    from storyflow.store.store import Store

    take(Store(location).place)
    os.kill(os.getpid(), signal.SIGSTOP)


def test_a_dead_process_of_this_machine_is_not_waited_for(tmp_path: Path) -> None:
    at = spot("folder", tmp_path)
    place = prepared(at)
    holder = multiprocessing.get_context("fork").Process(target=hold_and_hang, args=(at.location,))
    holder.start()
    assert holder.pid is not None
    os.waitpid(holder.pid, os.WUNTRACED)
    assert Attempt(place, "film", NEVER).step() is None
    holder.kill()
    holder.join()
    take(place).release()


def test_two_that_find_a_dead_holder_do_not_both_take_over(
    place: Place, far: Callable[[str], None]
) -> None:
    far("studio")
    abandon(take(place))
    far("laptop")
    clock = Clock()
    attempts = [Attempt(place, "film", NEVER, clock) for _ in range(4)]
    for attempt in attempts:
        assert attempt.step() is None
    clock.now += 60.0
    taken = [lease for attempt in attempts if (lease := attempt.step()) is not None]
    assert len(taken) == 1
    taken[0].release()


def test_many_threads_hold_a_lease_one_at_a_time(place: Place) -> None:
    inside, most, turns = 0, 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most, turns
        while turns < 12:
            try:
                with leased(place, "film", NEVER):
                    with guard:
                        inside += 1
                        most = max(most, inside)
                    with guard:
                        turns += 1
                        inside -= 1
            except Held:
                continue

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_holder_learns_that_another_took_over_and_is_unsure_after_a_long_sleep(
    place: Place, far: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    far("studio")
    silent = Attempt(place, "silent", NEVER).step()
    assert silent is not None and silent.sure
    sleeper = take(place, LIVELY)
    told = threading.Event()
    sleeper.on_loss(told.set)
    assert sleeper.sure
    now = leases._now
    with monkeypatch.context() as later:
        later.setattr(leases, "_now", lambda: now() + 45.0)
        assert not silent.sure
    silent.release()
    place.put("claims/film/000001/lease.json", place.read("claims/film/000000/lease.json") or b"")
    assert told.wait(300)
    assert sleeper.lost and not sleeper.sure


def test_waiting_ends_when_the_holder_lets_go_and_counts_how_often_it_was_held(
    place: Place,
) -> None:
    assert wait_until_free(place, "film", LIVELY) == 0
    held = take(place, LIVELY)
    threading.Timer(0.1, held.release).start()
    assert wait_until_free(place, "film", LIVELY) == 1
    assert wait_until_free(place, "film", LIVELY) == 1


def test_a_dead_holder_is_waited_for_once(place: Place, far: Callable[[str], None]) -> None:
    far("studio")
    abandon(take(place, QUICK))
    far("laptop")
    assert wait_until_free(place, "film", QUICK) == 2
    assert leases._is_released(place, "film", 1)


def test_an_unreadable_lease_counts_as_held_until_it_expires(place: Place) -> None:
    place.put_new("claims/film/000000/lease.json", b"{")
    clock = Clock()
    attempt = Attempt(place, "film", NEVER, clock)
    assert attempt.step() is None
    clock.now += 60.0
    taken = attempt.step()
    assert taken is not None
    taken.release()


def test_a_holders_record_is_of_this_machine_and_process() -> None:
    me = Holder("t", "host", leases._machine(), leases._process(os.getpid()))
    assert not me.is_dead_here()
    assert me.text == f"process {os.getpid()} on host"
    assert Holder("t", "host", me.machine, f"{os.getpid()} 1").is_dead_here()
    assert not Holder("t", "host", "another boot", "1 1").is_dead_here()


@pytest.fixture(params=["folder", "memory"])
def at(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Spot]:
    yield spot(request.param, tmp_path)


def test_a_film_is_rendered_into_a_store_by_one_run_at_a_time(at: Spot) -> None:
    async def both() -> None:
        async with claimed_run(at.open(), "swan-1", pace=LIVELY):
            with pytest.raises(InfrastructureError, match=r"being rendered into .* by another run"):
                async with claimed_run(at.open(), "swan-1", pace=LIVELY):
                    pass
            async with claimed_run(at.open(), "goose-1", pace=LIVELY):
                pass
        async with claimed_run(at.open(), "swan-1", pace=LIVELY):
            pass

    asyncio.run(both())


def test_a_run_whose_film_was_taken_over_stops(tmp_path: Path) -> None:
    at = spot("memory", tmp_path)

    async def lose() -> None:
        async with claimed_run(at.open(), "swan-1", pace=LIVELY):
            place = at.open().place
            place.put("claims/swan-1/000007/lease.json", b"{}")
            await asyncio.sleep(300)

    with pytest.raises(InfrastructureError, match="another run took over this film"):
        asyncio.run(lose())


def test_an_error_of_the_run_itself_passes_through_a_claim(at: Spot) -> None:
    async def fail() -> None:
        async with claimed_run(at.open(), "swan-1", pace=LIVELY):
            raise OSError("the run's own")

    with pytest.raises(OSError, match="the run's own"):
        asyncio.run(fail())


def test_who_holds_a_lease_is_seen_without_taking_it(place: Place) -> None:
    assert holding(place, "film") is None
    lease = take(place)
    assert holding(place, "film") == f"process {os.getpid()} on {socket.gethostname()}"
    lease.release()
    assert holding(place, "film") is None


def test_who_claims_a_run_is_seen_without_disturbing_it(tmp_path: Path) -> None:
    store = spot("folder", tmp_path).open()
    assert holder_of(store, "film") is None

    async def claim() -> str | None:
        async with claimed_run(store, "film"):
            return holder_of(store, "film")

    for _ in range(2):
        assert asyncio.run(claim()) == f"process {os.getpid()} on {socket.gethostname()}"
        assert holder_of(store, "film") is None


def test_a_claim_waits_for_somebody_who_only_looks(tmp_path: Path) -> None:
    store = spot("folder", tmp_path).open()
    store.check_writable()
    file = store.root / "claims/film.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    looker = os.open(file, os.O_RDWR | os.O_CREAT)
    fcntl.flock(looker, fcntl.LOCK_SH)
    # It looks away while the claim waits.
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        os.close(looker)

    async def claim() -> None:
        async with claimed_run(store, "film"):
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storyflow.claim.time", SimpleNamespace(sleep=sleep))
        asyncio.run(claim())
    assert len(slept) == 1
