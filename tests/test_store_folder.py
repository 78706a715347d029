"""The store folder: what is visible is whole, the first writer wins, damage is found."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from stores import key_of, put

from storyflow.errors import DamagedError, StoreError
from storyflow.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def only(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_an_empty_or_absent_store_finds_nothing_and_creates_nothing(store: Store) -> None:
    assert store.find(key_of("x")) is None
    assert store.recipes() == {}
    assert not store.root.exists()


def test_equal_content_is_stored_once(store: Store, tmp_path: Path) -> None:
    one, two = put(store, tmp_path / "a", "1A/1"), put(store, tmp_path / "a", "1A/2")
    assert one.blobs == two.blobs
    assert len(only(store.root / "blobs")) == 2


def test_the_index_lists_recipes_with_all_their_keys(store: Store, tmp_path: Path) -> None:
    made = [put(store, tmp_path / "a", name) for name in ("1A/1", "1A/2")]
    again = store.commit(
        key=key_of("other numerics"),
        recipe=made[0].recipe,
        kind="prompt",
        digest="",
        inputs="{}",
        files={},
    )
    assert store.recipes() == {
        made[0].recipe: tuple(sorted((made[0].key, again.key))),
        made[1].recipe: (made[1].key,),
    }


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def shorten(path: Path, size: int) -> None:
    path.chmod(0o644)
    os.truncate(path, size)


def test_a_flipped_bit_is_found_set_aside_and_rendered_again(store: Store, tmp_path: Path) -> None:
    made = put(store, tmp_path / "a", "1A/1")
    flip(store.path(made, "frames.mov"))
    fresh = Store(store.root)
    found = fresh.find(made.key)
    assert found is not None
    with pytest.raises(DamagedError, match=r"frames\.mov of artifact .* is damaged") as caught:
        fresh.path(found, "frames.mov")
    assert caught.value.exit_code == 5
    assert fresh.find(made.key) is None
    assert fresh.recipes() == {}
    assert len(list((store.root / "damaged").iterdir())) == 2
    assert put(fresh, tmp_path / "a", "1A/1") == made
    assert Store(store.root).path(made, "frames.mov").read_bytes() == b"pixels"


def test_a_damaged_blob_is_replaced_when_the_same_content_is_committed_under_another_key(
    store: Store, tmp_path: Path
) -> None:
    made = put(store, tmp_path / "a", "1A/1")
    flip(store.path(made, "frames.mov"))
    other = put(Store(store.root), tmp_path / "a", "1A/2")
    assert Store(store.root).path(other, "frames.mov").read_bytes() == b"pixels"


@pytest.mark.parametrize(
    "harm",
    [
        lambda blob, done: blob.unlink(),
        lambda blob, done: shorten(blob, 2),
        lambda blob, done: shorten(done, 40),
        lambda blob, done: done.write_text("{}"),
        lambda blob, done: done.write_text("[]"),
        lambda blob, done: done.write_bytes(b"\xff\xfe"),
    ],
    ids=["blob gone", "blob short", "done short", "done empty", "done a list", "done binary"],
)
def test_a_broken_artifact_is_not_found_and_can_be_committed_again(
    store: Store, tmp_path: Path, harm: Callable[[Path, Path], object]
) -> None:
    made = put(store, tmp_path / "a", "1A/1")
    harm(
        store.path(made, "frames.mov"),
        store.root / "artifacts" / made.key[:2] / made.key / "done.json",
    )
    fresh = Store(store.root)
    assert fresh.find(made.key) is None
    assert put(fresh, tmp_path / "a", "1A/1") == made
    assert fresh.find(made.key) == made


def test_a_discarded_artifact_is_out_of_sight_and_shared_content_stays(
    store: Store, tmp_path: Path
) -> None:
    one, two = put(store, tmp_path / "a", "1A/1"), put(store, tmp_path / "a", "1A/2")
    store.discard(one.key)
    store.discard(one.key)
    assert store.find(one.key) is None
    assert store.recipes() == {two.recipe: (two.key,)}
    assert store.path(two, "frames.mov").read_bytes() == b"pixels"


def test_a_store_that_vanishes_is_an_error_and_not_an_empty_store(
    store: Store, tmp_path: Path
) -> None:
    store.check_writable()
    store.root.rename(tmp_path / "unmounted")
    with pytest.raises(StoreError, match="vanished"):
        put(store, tmp_path / "a", "1A/1")
    assert not store.root.exists()


def test_a_file_in_place_of_the_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreError, match="is a file; name a folder"):
        Store(tmp_path / "store")
    with pytest.raises(StoreError, match="part of the path is a file"):
        Store(tmp_path / "store" / "within").check_writable()


@pytest.mark.skipif(not Path("/sys/kernel").exists(), reason="needs a folder nobody can write")
def test_a_read_only_store_is_one_clear_error() -> None:
    with pytest.raises(StoreError, match=r"can't create the store /sys/kernel.*; name a folder"):
        Store("/sys/kernel/storyflow").check_writable()


def test_stale_temporary_files_are_swept_and_young_ones_kept(store: Store) -> None:
    store.check_writable()
    old, young = store.root / "tmp" / "old", store.root / "tmp" / "young"
    old.write_text("")
    young.write_text("")
    folder = store.root / "tmp" / "old-folder"
    folder.mkdir()
    (folder / "done.json").write_text("")
    for path in (old, folder):
        os.utime(path, (time.time() - 90_000, time.time() - 90_000))
    store.check_writable()
    assert [path.name for path in (store.root / "tmp").iterdir()] == ["young"]


@pytest.mark.parametrize("key", ["", "../../etc", "a/b", "abc.def", "x" * 200])
def test_a_key_that_could_leave_the_folder_is_refused(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="letters and digits"):
        store.find(key)


def test_store_errors_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(DamagedError("1A/1 is damaged", cure="again")))
    assert str(error) == "1A/1 is damaged; again"


def commit_until(root: Path, step: int) -> None:
    """Commit 1A/1 in this process, which dies before file operation number `step`."""
    left = step

    def die(event: str, _: tuple[object, ...]) -> None:
        nonlocal left
        if event == "open" or event.startswith(("os.", "shutil.")):
            left -= 1
            if left == 0:
                os._exit(9)

    scratch = root.with_name("scratch")
    sys.addaudithook(die)
    put(Store(root), scratch, "1A/1")
    os._exit(0)


def test_a_kill_before_any_file_operation_leaves_a_commit_whole_or_invisible(
    tmp_path: Path,
) -> None:
    processes = multiprocessing.get_context("fork")
    outcomes = []
    for step in range(1, 200):
        root = tmp_path / str(step) / "store"
        root.parent.mkdir()
        writer = processes.Process(target=commit_until, args=(root, step))
        writer.start()
        writer.join()
        store = Store(root)
        found = store.find(key_of("key 1A/1"))
        if found is not None:
            assert store.path(found, "frames.mov").read_bytes() == b"pixels"
            assert store.recipes() == {found.recipe: (found.key,)}
        outcomes.append(found is not None)
        again = put(store, tmp_path / "again", "1A/1")
        assert store.path(again, "latents.safetensors").read_bytes() == b"pixels" * 3
        if writer.exitcode == 0:
            break
    assert writer.exitcode == 0
    assert len(outcomes) > 20
    assert outcomes == sorted(outcomes), "once visible, visible at every later step"


def write_for_ever(root: Path, worker: int) -> None:
    """Commit forty keys again and again, each with one of two contents, and discard some."""
    store, order = Store(root), random.Random(worker)
    while True:
        name = order.randrange(40)
        content = random.Random(name * 10 + worker % 2).randbytes(200_000)
        artifact = put(store, root.with_name(f"scratch-{worker}"), str(name), content)
        if order.random() < 0.3:
            store.discard(artifact.key)


def test_after_killing_writers_in_the_middle_everything_visible_is_whole(tmp_path: Path) -> None:
    root = tmp_path / "store"
    processes = multiprocessing.get_context("fork")
    moment = random.Random(7)
    seen = 0
    for turn in range(12):
        writers = [
            processes.Process(target=write_for_ever, args=(root, turn * 3 + n)) for n in range(3)
        ]
        for writer in writers:
            writer.start()
        while not list(root.glob("artifacts/*/*/done.json")):
            time.sleep(0.005)  # the first time only, however slow the disk is
        time.sleep(moment.uniform(0.02, 0.2))
        for writer in writers:
            writer.kill()
            writer.join()
        store = Store(root)
        for name in range(40):
            found = store.find(key_of(f"key {name}"))
            for blob in found.blobs if found else ():
                data = store.path(found, blob.name).read_bytes() if found else b""
                assert hashlib.sha256(data).hexdigest() == blob.sha256
                assert len(data) == blob.size
                seen += 1
    assert seen > 0
    assert not [path for path in (root / "damaged").glob("*") if path.is_file()]
    assert put(store, tmp_path / "after", "after").digest


def test_listing_ten_thousand_recipes_opens_no_file(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.check_writable()
    recipes = {key_of(f"r{n}"): (key_of(f"k{n}"),) for n in range(10_000)}
    for shelf in {recipe[:2] for recipe in recipes}:
        (store.root / "recipes" / shelf).mkdir()
    for recipe, (key,) in recipes.items():
        (store.root / "recipes" / recipe[:2] / f"{recipe}.{key}").touch()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    assert store.recipes() == recipes
