"""Disks that fill up, turn read-only, vanish and rot: one clear error, and one can go on.

The faults are real: small file systems in memory, mounted where the tests may mount, a limit of the
kernel's on the size of files, changed bytes on the disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stores import key_of, put, root

from storyflow.errors import DamagedError, StoreError
from storyflow.store import local
from storyflow.store.artifacts import Artifact
from storyflow.store.gc import collect
from storyflow.store.place import CacheLimit, blob_name
from storyflow.store.roots import add_root
from storyflow.store.store import Store
from storyflow.store.verify import verify

MIB = 1 << 20


def mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


@contextmanager
def disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A small file system of its own; the test is skipped where none may be mounted."""
    folder.mkdir()
    if not mount("-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)):
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with disk(tmp_path / "disk", 2) as folder:
        yield folder


def count_blobs(store: Store) -> int:
    return sum(1 for _ in store.place.names("blobs/"))


def test_three_megabytes_on_a_disk_of_two_stop_with_one_error_and_go_on_when_there_is_room(
    small: Path, tmp_path: Path
) -> None:
    ballast = small / "somebody's"
    store = Store(small / "store")
    made: list[Artifact] = []
    with pytest.raises(StoreError, match="the disk is full; free some space and run the same"):
        for number in range(12):
            made.append(put(store, tmp_path / "a", str(number), os.urandom(64 * 1024)))
            if number == 2:
                ballast.write_bytes(bytes(MIB // 2))
    assert 3 <= len(made) < 8
    assert [Store(small / "store").find(artifact.key) for artifact in made] == made
    assert not list(store.place.names("tmp/"))
    again = Store(small / "store")
    with pytest.raises(StoreError, match="the disk is full"):
        put(again, tmp_path / "a", "more", os.urandom(200 * 1024))
    ballast.unlink()
    assert put(again, tmp_path / "a", "more", os.urandom(64 * 1024)).key
    assert verify(again).damaged == ()


def test_a_full_disk_is_emptied_by_collecting_garbage(small: Path, tmp_path: Path) -> None:
    store = Store(small / "store")
    kept = put(store, tmp_path / "a", "kept", os.urandom(32 * 1024))
    add_root(store, root("swan", "kept"))
    with pytest.raises(StoreError, match="the disk is full"):
        for number in range(20):
            put(store, tmp_path / "a", str(number), os.urandom(64 * 1024))
    (small / "fill").write_bytes(b"")
    assert collect(store, 0.0).size > MIB
    assert put(store, tmp_path / "a", "new", os.urandom(64 * 1024)).key
    assert store.find(kept.key) == kept


def test_a_disk_that_turns_read_only_can_be_read_and_tells_the_writer(
    small: Path, tmp_path: Path
) -> None:
    store = Store(small / "store")
    made = put(store, tmp_path / "a", "1A/1")
    assert mount("-o", "remount,ro", str(small))
    for opened in (store, Store(small / "store")):
        with pytest.raises(StoreError, match="the file system is read-only; name a folder that"):
            put(opened, tmp_path / "b", "1A/2")
        with pytest.raises(StoreError, match="read-only"):
            opened.check_writable()
        assert opened.find(made.key) == made
        opened.check(made)
        assert opened.path(made, "frames.mov").read_bytes() == b"pixels"
        assert opened.recipes() == {made.recipe: (made.key,)}
    assert verify(Store(small / "store")).damaged == ()
    assert mount("-o", "remount,rw", str(small))
    assert put(store, tmp_path / "b", "1A/2").key


def test_damage_on_a_read_only_disk_is_told_and_not_reused(small: Path, tmp_path: Path) -> None:
    made = put(Store(small / "store"), tmp_path / "a", "1A/1")
    blob = small / "store" / blob_name(made.blob("frames.mov").sha256)
    blob.chmod(0o644)
    blob.write_bytes(b"pixelz")
    assert mount("-o", "remount,ro", str(small))
    store = Store(small / "store")
    with pytest.raises(StoreError, match=r"damaged|read-only"):
        store.check(made)
    assert len(verify(store).damaged) == 1
    assert mount("-o", "remount,rw", str(small))


def test_a_disk_that_is_unmounted_under_a_run_is_no_empty_store(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", 2) as folder:
        store = Store(folder / "store")
        made = put(store, tmp_path / "a", "1A/1")
    calls: tuple[Callable[[], object], ...] = (
        lambda: put(store, tmp_path / "a", "1A/2"),
        lambda: store.find(made.key),
        lambda: store.path(made, "latents.safetensors"),
        lambda: add_root(store, root("swan")),
        store.check_writable,
    )
    for call in calls:
        if call is calls[2]:
            store.place._verified.clear()  # type: ignore[attr-defined]
        with pytest.raises(StoreError, match="vanished; check that its disk is mounted"):
            call()
    assert list((tmp_path / "disk").iterdir()) == []


def test_without_privileges_a_limit_on_files_is_one_clear_error(tmp_path: Path) -> None:
    program = f"""
import os, resource, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from stores import put
from storyflow.errors import StoreError
from storyflow.store.store import Store
store = Store({str(tmp_path / "store")!r})
put(store, Path({str(tmp_path / "a")!r}), "1A/1")
content = os.urandom(40_000)
(Path({str(tmp_path)!r}) / "b").mkdir()
for name, times in (("frames", 1), ("latents", 3)):
    (Path({str(tmp_path)!r}) / "b" / name).write_bytes(content * times)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    store.commit(key="k" * 64, recipe="r" * 64, kind="segment", digest="", inputs="",
                 files={{n: Path({str(tmp_path)!r}) / "b" / n for n in ("frames", "latents")}})
except StoreError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "a file grew past the allowed size; raise the file size limit" in done.stdout
    store = Store(tmp_path / "store")
    assert store.find("k" * 64) is None
    assert store.find(key_of("key 1A/1")) is not None
    assert not list(store.place.names("tmp/"))


def test_reuse_reads_nothing_that_was_read_before_and_is_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = put(Store(tmp_path / "store"), tmp_path / "a", "1A/1")
    other_cache = CacheLimit(tmp_path / "another machine's")
    Store(tmp_path / "store", other_cache).check(made)
    reads: list[Path] = []

    def counted(path: Path) -> str:
        reads.append(path)
        return read(path)

    read = local.file_hash
    monkeypatch.setattr(local, "file_hash", counted)
    for cache in (None, other_cache):
        Store(tmp_path / "store", cache).check(made)
    assert reads == []
    Store(tmp_path / "store", CacheLimit(tmp_path / "a third one's")).check(made)
    assert len(reads) == len(made.blobs)
    Store(tmp_path / "store").path(made, "frames.mov")
    assert len(reads) == len(made.blobs) + 1, "what is read to render or cut is verified"


@pytest.mark.parametrize("keep_time", [False, True])
def test_a_flipped_bit_is_found_by_reuse_if_the_file_was_written_else_by_whoever_reads(
    tmp_path: Path, keep_time: bool
) -> None:
    made = [put(Store(tmp_path / "store"), tmp_path / "a", n, n.encode() * 9) for n in "ab"]
    path = tmp_path / "store" / blob_name(made[0].blob("frames.mov").sha256)
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(b"b")
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    store = Store(tmp_path / "store")
    if keep_time:
        store.check(made[0])  # as a dying disk does it: only reading tells
    with pytest.raises(DamagedError, match="was set aside; run the same command again"):
        store.path(made[0], "frames.mov") if keep_time else store.check(made[0])
    assert store.find(made[0].key) is None
    assert not store.place._marks.holds(  # type: ignore[attr-defined]
        tmp_path / "store" / blob_name(made[1].blobs[0].sha256)
    ), "where one is damaged, all are read again"
    store.check(made[1])


def test_marks_that_cannot_be_kept_cost_time_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "no folder").write_text("")
    store = Store(tmp_path / "store", CacheLimit(tmp_path / "no folder"))
    made = put(store, tmp_path / "a", "1A/1")
    store.check(made)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "verified.sqlite").write_bytes(os.urandom(5000))
    broken = Store(tmp_path / "store", CacheLimit(tmp_path / "cache"))
    broken.check(made)
    assert broken.path(made, "frames.mov").read_bytes() == b"pixels"


@pytest.mark.parametrize("jump", [-10.0, 10.0], ids=["back", "forth"])
def test_a_clock_that_jumps_by_days_sweeps_nothing_that_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    store = Store(tmp_path / "store")
    store.check_writable()
    (tmp_path / "store" / "tmp" / "elsewhere's").write_text("being written on another machine")
    with store.scratch("job") as folder:
        (folder / "frames").write_bytes(b"pixels")
        moment = time.time()
        monkeypatch.setattr(time, "time", lambda: moment + jump * 86400)
        Store(tmp_path / "store").check_writable()
        assert (folder / "frames").read_bytes() == b"pixels"
        assert put(store, tmp_path / "a", "1A/1").key
    assert (tmp_path / "store" / "tmp" / "elsewhere's").exists()
