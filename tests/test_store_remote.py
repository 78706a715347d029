"""A store in a bucket, over the real S3 protocol: few requests, and what goes wrong on the way."""

from __future__ import annotations

import errno
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest
from films import Studio
from fsspec.implementations.memory import MemoryFileSystem
from moto.s3.models import s3_backends
from s3_server import S3Server
from stores import Spot, key_of, put, root, s3, spot

from storyflow.errors import DamagedError, StoreError
from storyflow.events import SegmentDone
from storyflow.store import remote
from storyflow.store.cache import IN_USE_SECONDS, BlobCache
from storyflow.store.gc import collect
from storyflow.store.place import CacheLimit, blob_name
from storyflow.store.roots import add_root
from storyflow.store.store import Store


@pytest.fixture(scope="module")
def running() -> Iterator[S3Server]:
    with s3() as server:
        yield server


@pytest.fixture
def server(running: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    monkeypatch.setattr(remote, "PAUSES", (0.01, 0.02, 0.04))
    yield running
    running.reset()


@pytest.fixture
def place(server: S3Server, tmp_path: Path) -> Spot:
    return spot("s3", tmp_path)


def test_the_index_is_listed_a_thousand_names_a_request(server: S3Server) -> None:
    # Put right into the server's memory, in a bucket of its own: listing takes moto long.
    memory = s3_backends["123456789012"]["aws"]
    memory.create_bucket("index", "us-east-1")
    for number in range(1500):
        recipe, key = key_of(f"recipe {number}"), key_of(f"key {number}")
        memory.put_object("index", f"store/recipes/{recipe[:2]}/{recipe}.{key}", b"")
    store = Store("s3://index/store")
    server.requests.clear()
    assert len(store.recipes()) == 1500
    assert [method for method, _ in server.requests] == ["GET", "GET"]


def test_prefetched_artifacts_cost_no_request_when_they_are_found_and_checked(
    place: Spot, server: S3Server, tmp_path: Path
) -> None:
    made = [put(place.open(), tmp_path / "a", str(n), b"%d" % n) for n in range(5)]
    store = place.elsewhere()
    store.prefetch([artifact.recipe for artifact in made], [])
    server.requests.clear()
    for artifact in made:
        assert store.find(artifact.key) == artifact
        store.check(artifact)
    assert server.requests == []


def test_content_that_was_written_or_read_here_is_not_downloaded_again(
    place: Spot, server: S3Server, tmp_path: Path
) -> None:
    made = put(place.open(), tmp_path / "a", "1A/1")
    assert place.open().path(made, "frames.mov").read_bytes() == b"pixels"
    assert server.count("GET", "/blobs/") == 0
    machine = place.elsewhere()
    for _ in range(3):
        assert machine.path(made, "frames.mov").read_bytes() == b"pixels"
    assert server.count("GET", "/blobs/") == 1


def test_every_tenth_write_may_fail(place: Spot, server: S3Server, tmp_path: Path) -> None:
    writes = itertools.count(1)
    server.before = lambda method, path: 503 if method == "PUT" and next(writes) % 10 == 0 else None
    made = [put(place.open(), tmp_path / "a", str(n), b"%d" % n) for n in range(6)]
    assert next(writes) > 20
    assert [place.elsewhere().find(artifact.key) for artifact in made] == made


def test_a_write_that_arrived_although_its_answer_was_lost_is_the_writers_own(
    place: Spot, server: S3Server, tmp_path: Path
) -> None:
    store = place.open()
    store.check_writable()
    put_object = store.place._fs.pipe_file
    lost = []

    def lose_answer(path: str, data: bytes, **options: object) -> None:
        put_object(path, data, **options)
        if path.endswith("done.json") and not lost:
            lost.append(path)
            raise ConnectionResetError("connection reset by peer")

    store.place._fs.pipe_file = lose_answer
    try:
        made = put(store, tmp_path / "a", "1A/1")
    finally:
        del store.place._fs.pipe_file
    assert lost and place.elsewhere().find(made.key) == made


@pytest.mark.parametrize(
    ("method", "status", "words"),
    [
        ("PUT", 503, "check the network and the store's service, then run the same command again"),
        ("PUT", 403, "check the credentials and what they allow"),
        ("GET", 500, "check the network"),
    ],
)
def test_a_service_that_keeps_failing_is_one_clear_error_and_what_was_stored_stays(
    place: Spot, server: S3Server, tmp_path: Path, method: str, status: int, words: str
) -> None:
    made = put(place.open(), tmp_path / "a", "1A/1")
    server.before = lambda asked, path: status if asked == method else None
    with pytest.raises(StoreError, match=re.escape(words)) as caught:
        put(place.elsewhere(), tmp_path / "b", "1A/2")
    assert place.location in str(caught.value) and "\n" not in str(caught.value)
    server.reset()
    assert place.elsewhere().find(made.key) == made
    assert put(place.elsewhere(), tmp_path / "b", "1A/2") is not None


def test_a_lost_network_is_one_clear_error_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PAUSES", (0.01,))
    with s3() as server:
        place = spot("s3", tmp_path)
        store = place.open()
        made = put(store, tmp_path / "a", "1A/1")
        port = server.port
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(StoreError, match=r"can't .*: EndpointConnectionError.*check the network"):
        put(store, tmp_path / "a", "1A/2")
    assert made.key


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("s3://no-such-bucket/store", "make the bucket, or name another store"),
        ("nosuch://store", "can't be opened"),
        ("file://relative/store", "write file:///FOLDER, or the folder alone"),
    ],
)
def test_a_location_that_cannot_be_a_store_is_told(
    server: S3Server, location: str, words: str
) -> None:
    with pytest.raises(StoreError, match=re.escape(words)):
        Store(location).check_writable()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(StoreError, match=r"pip install 'storyflow\[s3\]'"):
        Store("s3://films/store")


@pytest.mark.parametrize(
    ("url", "module", "cure"),
    [
        ("gs://films/store", "gcsfs", "pip install 'gcsfs'"),
        ("gcs://films/store", "gcsfs", "pip install 'gcsfs'"),
        ("abfs://films@account/store", "adlfs", "pip install 'adlfs'"),
        ("az://films/store", "adlfs", "pip install 'adlfs'"),
        ("sftp://host/store", "paramiko", "paramiko"),
    ],
)
def test_a_scheme_whose_package_is_not_installed_ends_in_one_line(
    url: str, module: str, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(StoreError) as told:
        Store(url)
    assert cure in str(told.value) and url in str(told.value)
    assert "\n" not in str(told.value) and told.value.exit_code == 5


class Careless(MemoryFileSystem):
    """A backend that overwrites whatever it is told to create, as some servers do.

    Others refuse to be told; see `refusal`.
    """

    protocol = "careless"
    refusal: Exception | None = None
    store: dict[str, object] = {}  # noqa: RUF012 - the class's own, as memory's is
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.replace("careless://", "memory://")))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: object) -> None:
        if mode == "create" and self.refusal is not None:
            raise self.refusal
        super().pipe_file(path, value)


@pytest.mark.parametrize(
    "refusal", [None, NotImplementedError(), OSError(errno.ENOSYS, "NotImplemented")]
)
def test_a_backend_without_exclusive_creation_says_so_and_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Exception | None
) -> None:
    monkeypatch.setattr(Careless, "refusal", refusal)
    monkeypatch.setattr(Careless, "store", {})
    fsspec.register_implementation("careless", Careless, clobber=True)
    place = Spot("careless://films/store", tmp_path)
    store, rival = place.open(), place.elsewhere()
    store.check_writable()
    assert "can't create objects exclusively" in store.notice
    publish = store._publish

    def late(artifact: object) -> bool:
        put(rival, tmp_path / "rival", "1A/1", b"the rival's")
        return publish(artifact)  # type: ignore[arg-type]

    store._publish = late  # type: ignore[method-assign]
    made = put(store, tmp_path / "mine", "1A/1", b"mine")
    found = place.elsewhere().find(made.key)
    assert found is not None
    assert place.elsewhere().path(found, "frames.mov").read_bytes() in (b"mine", b"the rival's")


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from stores import put
from storyflow.store.store import Store
from storyflow.store.place import CacheLimit
put(Store({location!r}, CacheLimit(Path({cache!r}))), Path({scratch!r}), "1A/1", bytes(200_000))
"""


@pytest.mark.parametrize("moment", ["/blobs/", "done.json"])
def test_a_writer_killed_in_an_upload_leaves_nothing_to_be_seen(
    place: Spot, server: S3Server, tmp_path: Path, moment: str
) -> None:
    place.open().check_writable()

    def hang(method: str, path: str) -> int | None:
        if method == "PUT" and moment in path:
            time.sleep(3.0)
            return 503
        return None

    server.before = hang
    server.requests.clear()
    program = PROGRAM.format(
        tests=str(Path(__file__).parent),
        location=place.location,
        cache=str(tmp_path / "killed"),
        scratch=str(tmp_path / "scratch"),
    )
    with subprocess.Popen([sys.executable, "-c", program], env=dict(os.environ)) as writer:
        server.wait_for("PUT", moment)
        writer.send_signal(signal.SIGKILL)
    server.reset()
    store = place.elsewhere()
    assert store.find(key_of("key 1A/1")) is None
    assert store.recipes() == {}
    assert put(store, tmp_path / "again", "1A/1").digest


def test_a_download_that_comes_out_wrong_once_is_read_again(
    place: Spot, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = put(place.open(), tmp_path / "a", "1A/1")
    store = place.elsewhere()
    download, turns = store.place._download, []

    def garbled(name: str, target: Path | None) -> str:
        turns.append(name)
        return "0" * 64 if len(turns) == 1 else download(name, target)

    monkeypatch.setattr(store.place, "_download", garbled)
    assert store.path(made, "frames.mov").read_bytes() == b"pixels"
    assert len(turns) == 2


def test_a_damaged_copy_in_the_cache_is_replaced_and_the_store_left_alone(
    place: Spot, server: S3Server, tmp_path: Path
) -> None:
    made = put(place.open(), tmp_path / "a", "1A/1")
    copy = tmp_path / "cache" / blob_name(made.blob("frames.mov").sha256)
    copy.write_bytes(b"pixelz")
    assert place.open().path(made, "frames.mov").read_bytes() == b"pixels"
    assert copy.read_bytes() == b"pixels"
    assert list(place.open().place.names("damaged/")) == []


def test_content_that_vanishes_from_the_bucket_is_damage(
    place: Spot, server: S3Server, tmp_path: Path
) -> None:
    made = put(place.open(), tmp_path / "a", "1A/1")
    store = place.elsewhere()
    store.prefetch([made.recipe], [])
    store.place.delete([blob_name(made.blobs[0].sha256)])
    with pytest.raises(DamagedError, match="was set aside"):
        store.path(made, "frames.mov")
    assert store.find(made.key) is None


def test_the_cache_stays_within_its_bound_and_keeps_what_was_used_last(tmp_path: Path) -> None:
    cache = BlobCache(CacheLimit(tmp_path, 2500))
    paths = {}
    for name in "abc":
        made = tmp_path / name
        made.write_bytes(name.encode() * 1000)
        sha256 = key_of(name * 1000)
        paths[name] = cache.add(sha256, made)
    # All were asked for within the hour, so the bound may be exceeded.
    assert all(path.exists() for path in paths.values())
    long_ago = time.time() - 3 * IN_USE_SECONDS
    for age, name in enumerate("bca"):
        os.utime(paths[name], (long_ago + age, long_ago + age))
    assert cache.get(key_of("b" * 1000)) == paths["b"]
    again = BlobCache(CacheLimit(tmp_path, 2500))
    made = tmp_path / "d"
    made.write_bytes(b"d" * 1000)
    again.add(key_of("d" * 1000), made)
    left = {path.name for path in tmp_path.glob("blobs/*/*")}
    assert left == {key_of("b" * 1000), key_of("d" * 1000)}


def test_garbage_of_a_bucket_goes_in_batches(place: Spot, server: S3Server, tmp_path: Path) -> None:
    store = place.open()
    for number in range(6):
        put(store, tmp_path / "a", str(number), b"%d" % number)
    add_root(store, root("swan", "0"))
    server.requests.clear()
    assert len(collect(store, 0.0).artifacts) == 5
    assert server.count("POST", "?delete") <= 6
    assert store.find(key_of("key 0")) is not None


def test_a_film_is_the_same_from_a_bucket_as_from_a_folder(
    place: Spot, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = Studio(tmp_path)
    from_folder = studio.render()
    there = {"store": place.location, "out": tmp_path / "there"}
    first = studio.render(**there)
    assert first.sha256 == from_folder.sha256 and first.names == from_folder.names
    clips = [event.frames for event in first.events if isinstance(event, SegmentDone)]
    assert all(str(clip).startswith(place.location) for clip in clips)
    # On another machine, with an empty cache.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    server.requests.clear()
    again = studio.render(**{**there, "out": tmp_path / "again"})
    assert again.names == () and again.sha256 == from_folder.sha256
    assert server.count("GET", "done.json") <= 2 * len(first.names), "for times, and for reuse"
    assert server.count("GET", "/blobs/") == len(first.names), "what is cut is read once"
    studio.edit("it turns left", "it turns right")
    assert studio.render(**there).names == ("1B/3", "1B/4", "1C/1")


def test_what_dead_runs_left_in_a_bucket_goes_after_a_day(tmp_path: Path) -> None:
    place = spot("memory", tmp_path)
    store = place.open()
    store.check_writable()
    for name in ("old", "young"):
        store.place.put(f"tmp/{name}/nonce", b"left")
    files = MemoryFileSystem.store
    (path,) = (path for path in files if path.endswith("/tmp/old/nonce"))
    files[path].modified = files[path].created = datetime.now(UTC) - timedelta(days=2)
    store.check_writable()
    assert list(store.place.names("tmp/")) == ["tmp/young/nonce"]


def test_a_run_whose_bucket_fails_stops_with_one_error_and_goes_on_later(
    place: Spot, server: S3Server, tmp_path: Path
) -> None:
    studio = Studio(tmp_path)
    whole = studio.render()
    there = {"store": place.location, "out": tmp_path / "there"}
    stored: list[str] = []

    def fail(method: str, path: str) -> int | None:
        if method == "PUT" and path.endswith("done.json"):
            stored.append(path)
        return 503 if method == "PUT" and len(stored) > 2 else None

    server.before = fail
    with pytest.raises(StoreError, match=r"can't .* s3://films/.*; check the network"):
        studio.render(**there)
    server.reset()
    rest = studio.render(**there)
    assert len(rest.names) == len(whole.names) - 2
    assert rest.sha256 == whole.sha256
