"""Garbage collection beside others: whatever the order of things, nothing needed is lost."""

from __future__ import annotations

import multiprocessing
import os
import time
from datetime import timedelta
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import pytest
from stores import Spot, key_of, put, root, spot

from storyflow.errors import InfrastructureError, InputError, StoreError
from storyflow.store import gc, lease
from storyflow.store.artifacts import Artifact
from storyflow.store.gc import collect
from storyflow.store.lease import Pace, leased
from storyflow.store.place import TEMPORARY_SECONDS, blob_name
from storyflow.store.roots import add_root, read_roots
from storyflow.store.store import GC, Store
from storyflow.store.verify import verify
from storyflow.stores import collect_garbage, forget_runs, parse_age, store_inventory


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Spot:
    return spot(request.param, tmp_path)


def test_content_that_a_writer_has_not_named_yet_is_put_back(
    place: Spot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst order: an old artifact shares its content, and is collected before `done.json`."""
    old = put(place.open(), tmp_path / "old", "old take", b"the same")
    store = place.open()
    publish = store._publish

    def late(artifact: Artifact) -> bool:
        monkeypatch.setattr(store, "_publish", publish)
        assert [a.key for a in collect(place.elsewhere(), 0.0).artifacts] == [old.key]
        return publish(artifact)

    monkeypatch.setattr(store, "_publish", late)
    made = put(store, tmp_path / "new", "1A/1", b"the same")
    assert made.blobs == old.blobs
    found = place.elsewhere()
    assert found.find(made.key) == made
    assert verify(found).damaged == ()


def test_a_reuse_under_another_recipe_is_seen_or_told(place: Spot, tmp_path: Path) -> None:
    store = place.open()
    made = put(store, tmp_path / "a", "before the edit")
    add_root(store, root("swan", "after the edit"))
    assert store.reuse(key_of("recipe after the edit"), made)
    assert collect(place.elsewhere(), 0.0).artifacts == ()
    other = put(store, tmp_path / "a", "another", b"another")
    assert len(collect(place.elsewhere(), 0.0).artifacts) == 1
    assert not store.reuse(key_of("recipe of a later edit"), other)


def test_a_run_that_begins_while_garbage_is_collected_waits(
    place: Spot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PACE", Pace(look=0.01))
    store = place.open()
    put(store, tmp_path / "a", "1A/1")
    waited: list[float] = []
    with leased(store.place, GC, Pace(beat=0.02, look=0.01)) as held:

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 3:
                held.release()

        monkeypatch.setattr("storyflow.store.lease.time.sleep", sleep)
        add_root(place.elsewhere(), root("swan", "1A/1"))
    assert len(waited) >= 3
    assert collect(place.elsewhere(), 0.0).artifacts == ()


def test_two_collectors_do_not_work_at_once(place: Spot) -> None:
    store = place.open()
    store.check_writable()
    with (
        leased(store.place, GC, Pace(beat=0.01)),
        pytest.raises(StoreError, match="is being collected by process"),
    ):
        collect(place.elsewhere(), 0.0)


def test_a_collector_that_was_held_up_deletes_nothing_more(
    place: Spot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = place.open()
    made = put(store, tmp_path / "a", "1A/1")
    look = gc._look

    def slow(*given: object) -> gc.Garbage:
        found = look(*given)  # type: ignore[arg-type]
        now = lease._now
        monkeypatch.setattr(lease, "_now", lambda: now() + 45.0)
        return found

    monkeypatch.setattr(gc, "_look", slow)
    with pytest.raises(StoreError, match="held up for too long"):
        collect(store, 0.0)
    assert place.elsewhere().find(made.key) == made


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_collector_killed_anywhere_leaves_only_whole_artifacts(
    place: Spot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    store = place.open()
    kept = put(store, tmp_path / "a", "kept", b"kept")
    for number in range(3):
        put(store, tmp_path / "a", str(number), b"%d" % number)
    add_root(store, root("swan", "kept"))
    delete, calls = store.place.delete, []

    def dying(names: list[str]) -> None:
        if names and "tmp/" not in names[0] and "claims/" not in names[0]:
            calls.append(names)
            if len(calls) > stop_after:
                raise KeyboardInterrupt
        delete(names)

    monkeypatch.setattr(store.place, "delete", dying)
    with pytest.raises(KeyboardInterrupt) if stop_after < 3 else _nothing():
        collect(store, 0.0)
    after = place.elsewhere()
    assert verify(after).damaged == ()
    assert after.find(kept.key) == kept
    collect(after, 0.0)
    left = {blob.sha256 for blob in kept.blobs}
    young = {n.rpartition("/")[2] for n in after.place.names("blobs/")} - left
    assert verify(after).artifacts == 1
    if place.location.startswith("/"):
        for sha256 in young:  # unnamed content goes when it is a day old
            path = Path(place.location) / blob_name(sha256)
            os.utime(path, (0, path.stat().st_mtime - TEMPORARY_SECONDS))
        collect(place.elsewhere(), 0.0)
        assert {n.rpartition("/")[2] for n in after.place.names("blobs/")} == left


class _nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize("jump", [-400.0, 400.0])
def test_ages_are_by_the_stores_clock_and_not_by_this_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    place = spot("folder", tmp_path)
    made = [put(place.open(), tmp_path / "a", name, name.encode()) for name in ("old", "young")]
    done = Path(place.location, "artifacts", made[0].key[:2], made[0].key, "done.json")
    month = 31 * 86400
    os.utime(done, (done.stat().st_mtime - month, done.stat().st_mtime - month))
    moment = time.time()
    monkeypatch.setattr(time, "time", lambda: moment + jump * 86400)
    assert [artifact.key for artifact in collect(place.open()).artifacts] == [made[0].key]
    assert place.open().find(made[1].key) == made[1]


def test_a_place_that_tells_no_times_is_not_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = spot("memory", tmp_path)
    put(place.open(), tmp_path / "a", "1A/1")
    monkeypatch.setattr("storyflow.store.remote._modified", lambda info: None)
    with pytest.raises(StoreError, match="does not tell when its objects were written"):
        collect(place.open(), 0.0)


def render_for_ever(location: str, scratch: Path, worker: int, rounds: Synchronized[int]) -> None:
    """Reuse or commit twelve segments again and again, like a run; die when one was lost."""
    while True:
        store = Store(location)
        add_root(store, root(f"film-{worker}", *map(str, range(12))))
        for number in range(12):
            name = str(number)
            artifact = store.find(key_of(f"key {name}")) or put(store, scratch, name, name.encode())
            found = Store(location).find(artifact.key)
            if found is None or not all(
                store.place.size(blob_name(blob.sha256)) for blob in found.blobs
            ):
                os._exit(7)
        with rounds.get_lock():
            rounds.value += 1


def test_collecting_beside_runs_loses_nothing_that_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PACE", Pace(look=0.002))
    place = spot("folder", tmp_path)
    place.open().check_writable()
    processes = multiprocessing.get_context("fork")
    rounds = processes.Value("i", 0)
    runs = [
        processes.Process(
            target=render_for_ever, args=(place.location, tmp_path / f"s{n}", n, rounds)
        )
        for n in range(2)
    ]
    for run in runs:
        run.start()
    collected = turn = 0
    try:
        while (collected < 20 or rounds.value < 6) and all(run.is_alive() for run in runs):
            store, turn = place.open(), turn + 1
            put(store, tmp_path / "garbage", f"garbage {turn}", str(turn % 24).encode())
            collected += len(collect(store, 0.0).artifacts)
    finally:
        codes = [run.exitcode for run in runs]
        for run in runs:
            run.kill()
            run.join()
    assert codes == [None, None], "a run lost what it needs"
    assert not verify(place.open()).damaged


def test_a_run_that_is_being_rendered_is_not_forgotten(tmp_path: Path) -> None:
    import asyncio

    from storyflow.claim import claimed_run

    place = spot("folder", tmp_path)
    add_root(place.open(), root("swan", "1A/1"))

    async def rendering() -> None:
        async with claimed_run(place.open(), "swan-run"):
            with pytest.raises(InfrastructureError, match="is being rendered"):
                await asyncio.to_thread(forget_runs, ["swan-run"], store=place.location)

    asyncio.run(rendering())
    assert len(read_roots(place.open())) == 1
    assert [one.run for one in forget_runs(["swan-run"], store=place.location)] == ["swan-run"]
    with pytest.raises(InputError, match="knows no run 'swan-run'; it knows none"):
        forget_runs(["swan-run"], store=place.location)


def test_the_public_functions_take_a_folder_or_a_url(tmp_path: Path) -> None:
    place = spot("folder", tmp_path)
    made = put(place.open(), tmp_path / "a", "1A/1")
    for location in (Path(place.location), f"file://{place.location}"):
        assert store_inventory(location).artifacts == 1
        found = collect_garbage(location, older_than=timedelta())
        assert [artifact.key for artifact in found.artifacts] == [made.key]
    assert collect_garbage(place.location).artifacts == ()
    gone = collect_garbage(place.location, older_than=timedelta(), delete=True)
    assert gone.deleted and store_inventory(place.location).artifacts == 0


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("30d", timedelta(days=30)),
        ("12h", timedelta(hours=12)),
        ("2w", timedelta(weeks=2)),
        ("0", timedelta()),
        ("1.5", timedelta(days=1.5)),
    ],
)
def test_ages_are_read(text: str, age: timedelta) -> None:
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["", "soon", "-1d", "3 months"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no age; write 30d"):
        parse_age(text)
