"""A store means the same in a folder, behind file://, in memory and in a bucket."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import S3Server
from stores import Spot, key_of, put, root, s3, spot

from storyflow.errors import DamagedError, InputError, StoreError
from storyflow.store.artifacts import Artifact
from storyflow.store.gc import collect, find_garbage
from storyflow.store.inventory import take_stock
from storyflow.store.place import blob_name
from storyflow.store.roots import add_root, forget, read_roots, superseded
from storyflow.store.store import Store, artifact_name
from storyflow.store.verify import verify

KINDS = ("folder", "file", "memory", "s3")


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3() as running:
        yield running


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, server: S3Server, tmp_path: Path) -> Spot:
    return spot(request.param, tmp_path)


def overwrite(store: Store, name: str, data: bytes) -> None:
    """Harm an object behind the store's back."""
    assert store.place.size(name) is not None
    if store.place.size(name) == len(data):
        store.place.delete([name])
    store.place.put(name, data)


def objects(store: Store) -> list[str]:
    tops = ("artifacts", "blobs", "recipes", "roots", "damaged", "tmp")
    return [name for top in tops for name in store.place.names(f"{top}/")]


def test_an_artifact_is_found_as_it_was_committed(place: Spot, tmp_path: Path) -> None:
    made = put(place.open(), tmp_path / "a", "1A/1")
    elsewhere = place.elsewhere()
    assert elsewhere.find(made.key) == made
    assert elsewhere.path(made, "frames.mov").read_bytes() == b"pixels"
    elsewhere.check(made)
    assert not [n for n in objects(elsewhere) if n.startswith("tmp/")]


def test_an_empty_store_finds_nothing_and_holds_nothing(place: Spot) -> None:
    store = place.open()
    assert store.find(key_of("x")) is None
    assert store.recipes() == {}
    assert objects(store) == []
    assert read_roots(store) == ()
    assert take_stock(store).artifacts == 0


def test_the_first_writer_wins_and_a_later_one_adopts(place: Spot, tmp_path: Path) -> None:
    first = put(place.open(), tmp_path / "a", "1A/1", b"from one GPU")
    second = put(place.elsewhere(), tmp_path / "b", "1A/1", b"from another GPU")
    assert second == first
    assert place.elsewhere().path(second, "frames.mov").read_bytes() == b"from one GPU"


def test_a_writer_that_loses_the_race_after_its_content_adopts_the_winner(
    place: Spot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, rival = place.open(), place.elsewhere()
    publish = store._publish

    def late(artifact: Artifact) -> bool:
        put(rival, tmp_path / "rival", "1A/1", b"the rival's")
        return publish(artifact)

    monkeypatch.setattr(store, "_publish", late)
    adopted = put(store, tmp_path / "mine", "1A/1", b"mine")
    assert store.path(adopted, "frames.mov").read_bytes() == b"the rival's"


def test_the_index_lists_recipes_and_finding_mends_it(place: Spot, tmp_path: Path) -> None:
    store = place.open()
    made = [put(store, tmp_path / "a", name) for name in ("1A/1", "1A/2")]
    expected = {artifact.recipe: (artifact.key,) for artifact in made}
    assert place.elsewhere().recipes() == expected
    store.place.delete(list(store.place.names("recipes/")))
    again = place.elsewhere()
    assert again.recipes() == {}
    assert [again.find(artifact.key) for artifact in made] == made
    assert again.recipes() == expected


def test_what_was_prefetched_is_found_without_asking_again(place: Spot, tmp_path: Path) -> None:
    made = [put(place.open(), tmp_path / "a", name) for name in ("1A/1", "1A/2")]
    store = place.elsewhere()
    store.prefetch([made[0].recipe], [made[1].key, key_of("absent")])
    assert [store.find(artifact.key) for artifact in made] == made
    assert store.find(key_of("absent")) is None


def test_damage_is_found_by_whoever_reads_and_rendered_again(place: Spot, tmp_path: Path) -> None:
    store = place.open()
    made = put(store, tmp_path / "a", "1A/1")
    overwrite(store, blob_name(made.blob("frames.mov").sha256), b"pixelz")
    fresh = place.elsewhere()
    assert fresh.find(made.key) == made
    with pytest.raises(DamagedError, match=r"frames\.mov of artifact .* is damaged"):
        fresh.path(made, "frames.mov")
    assert fresh.find(made.key) is None
    assert fresh.recipes() == {}
    assert len(list(fresh.place.names("damaged/"))) == 2
    assert put(fresh, tmp_path / "a", "1A/1") == made
    assert place.elsewhere().path(made, "frames.mov").read_bytes() == b"pixels"


@pytest.mark.parametrize("harm", ["shortened", "gone", "unreadable"])
def test_a_broken_artifact_is_not_found_and_can_be_committed_again(
    place: Spot, tmp_path: Path, harm: str
) -> None:
    store = place.open()
    made = put(store, tmp_path / "a", "1A/1")
    content, done = blob_name(made.blobs[0].sha256), artifact_name(made.key)
    if harm == "shortened":
        overwrite(store, content, b"pi")
    elif harm == "gone":
        store.place.delete([content])
    else:
        overwrite(store, done, b'{"storyflow": 1, "key"')
    assert place.elsewhere().find(made.key) is None
    assert put(place.elsewhere(), tmp_path / "a", "1A/1") == made
    assert place.elsewhere().find(made.key) == made


def test_another_format_and_a_missing_nonce_are_refused(
    place: Spot, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = place.open()
    store.check_writable()
    assert store.notice == ""
    monkeypatch.setattr(store.place, "read", lambda name: b"something else")
    with pytest.raises(StoreError, match="gave back other bytes"):
        store.check_writable()
    monkeypatch.undo()
    store.place.put("format.json", b'{"storyflow-store": 2}')
    with pytest.raises(StoreError, match="has format 2, this version reads 1; name another"):
        place.open()


def test_verification_reads_everything_and_sets_damage_aside(place: Spot, tmp_path: Path) -> None:
    store = place.open()
    made = [put(store, tmp_path / "a", f"1A/{n}", bytes([n + 1]) * 1000) for n in range(4)]
    assert verify(place.elsewhere()) == verify(store)
    overwrite(store, blob_name(made[0].blobs[0].sha256), bytes(1000))
    overwrite(store, blob_name(made[1].blobs[1].sha256), b"short")
    store.place.delete([blob_name(made[2].blobs[0].sha256)])
    overwrite(store, artifact_name(made[3].key), b"{}")
    put(store, tmp_path / "a", "whole")
    found = verify(place.elsewhere())
    faults = {checked.key: checked.fault for checked in found.damaged}
    assert faults == {
        made[0].key: "frames.mov differs from its hash",
        made[1].key: "latents.safetensors has 5 bytes instead of 3000",
        made[2].key: "frames.mov is missing",
        made[3].key: "done.json can't be understood",
    }
    assert found.artifacts == 5
    assert all(checked.set_aside for checked in found.damaged)
    again = verify(place.elsewhere())
    assert (again.artifacts, again.damaged) == (1, ())


def test_content_that_cannot_be_read_is_told_and_left_where_it_is(
    place: Spot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = place.open()
    made = [put(store, tmp_path / "a", n, n.encode()) for n in "ab"]
    bad, read = made[0].blobs[0].sha256, store.place.verified

    def dying(sha256: str) -> bool:
        if sha256 == bad:
            raise StoreError("can't read: the disk reports an error")
        return read(sha256)

    monkeypatch.setattr(store.place, "verified", dying)
    found = verify(store)
    (checked,) = found.damaged
    assert checked.key == made[0].key and not checked.set_aside
    assert checked.fault == "frames.mov can't be read: can't read: the disk reports an error"
    assert place.elsewhere().find(made[0].key) == made[0]


def test_only_what_no_root_needs_is_collected(place: Spot, tmp_path: Path) -> None:
    store = place.open()
    kept = [put(store, tmp_path / "a", name, name.encode()) for name in ("1A/1", "1A/2")]
    loose = put(store, tmp_path / "a", "old", b"an old take")
    shared = put(store, tmp_path / "a", "shares", b"1A/1")
    named = put(store, tmp_path / "a", "prompt", b"a prompt")
    found_by_key = put(store, tmp_path / "a", "same pixels", b"edited to the same")
    store.remember(key_of("recipe new"), found_by_key.key)
    add_root(store, root("swan", "1A/1", "1A/2", "new", keys=frozenset({named.key})))
    seen = find_garbage(place.elsewhere(), 0.0)
    assert {artifact.key for artifact in seen.artifacts} == {loose.key, shared.key}
    assert seen.kept == 4 and not seen.deleted
    assert place.elsewhere().find(loose.key) == loose
    gone = collect(place.elsewhere(), 0.0)
    assert gone.artifacts == seen.artifacts and gone.deleted
    assert gone.size == 4 * len(b"an old take")
    after = place.elsewhere()
    assert after.find(loose.key) is None and after.find(shared.key) is None
    for artifact in (*kept, named, found_by_key):
        assert after.find(artifact.key) == artifact
        assert after.path(artifact, "frames.mov").read_bytes()
    assert verify(after).damaged == ()
    assert find_garbage(after, 0.0).artifacts == ()


def test_what_is_young_stays_whatever_roots_say(place: Spot, tmp_path: Path) -> None:
    store = place.open()
    made = put(store, tmp_path / "a", "1A/1")
    store.place.put(blob_name(key_of("orphan")), b"somebody is about to name it")
    assert collect(store).artifacts == ()
    found = collect(store, 0.0)
    assert [artifact.key for artifact in found.artifacts] == [made.key]
    assert list(store.place.names("blobs/")) == [blob_name(key_of("orphan"))]


def test_a_forgotten_run_protects_nothing_and_an_unknown_one_is_told(
    place: Spot, tmp_path: Path
) -> None:
    store = place.open()
    made = put(store, tmp_path / "a", "1A/1")
    add_root(store, root("swan", "1A/1"))
    add_root(store, root("swan", "1A/1"))
    assert collect(store, 0.0).artifacts == ()
    with pytest.raises(InputError, match="knows no run 'goose'; it knows swan-run"):
        forget(store, "goose")
    assert forget(place.elsewhere(), "swan-run") == root("swan", "1A/1")
    assert [artifact.key for artifact in collect(store, 0.0).artifacts] == [made.key]


def test_a_root_that_cannot_be_understood_stops_the_collection(place: Spot, tmp_path: Path) -> None:
    store = place.open()
    made = put(store, tmp_path / "a", "1A/1")
    store.place.put("roots/later.json", b'{"storyflow": 2}')
    with pytest.raises(StoreError, match=r"roots/later\.json in .* can't be understood"):
        collect(store, 0.0)
    assert place.elsewhere().find(made.key) == made


def test_an_edited_film_supersedes_its_earlier_run_in_the_same_folder(place: Spot) -> None:
    store = place.open()
    runs = [
        root("swan", "1", run="swan-a"),
        root("swan", "2", run="swan-b", folder="/elsewhere"),
        root("goose", "3"),
    ]
    for one in runs:
        add_root(store, one)
    assert superseded(read_roots(store)) == ()
    newer = root("swan", "4", run="swan-c")
    assert superseded([*runs, newer]) == (runs[0],)


def test_an_inventory_counts_shared_content_once_and_what_each_run_has_alone(
    place: Spot, tmp_path: Path
) -> None:
    store = place.open()
    for name, content in (("1", b"x" * 10), ("2", b"y" * 100), ("3", b"z" * 1000)):
        put(store, tmp_path / "a", name, content)
    add_root(store, root("goose", "1", "2", "not yet"))
    add_root(store, root("swan", "2").done([key_of("key 2")]))
    found = take_stock(place.elsewhere())
    rows = {row.film: row for row in found.runs}
    goose, swan = rows["goose"], rows["swan"]
    assert (goose.segments, goose.planned, goose.size, goose.alone) == (2, 3, 440, 40)
    assert (swan.segments, swan.finished, swan.size, swan.alone) == (1, True, 400, 0)
    assert (found.segments, found.size) == (3, 4440)
    assert (found.loose_artifacts, found.loose_size) == (1, 4000)


def test_a_folder_copied_into_a_bucket_is_the_same_store(server: S3Server, tmp_path: Path) -> None:
    here, there = spot("folder", tmp_path), spot("s3", tmp_path)
    made = put(here.open(), tmp_path / "a", "1A/1", secrets.token_bytes(100))
    bucket = there.open()
    for path in Path(here.location).rglob("*"):
        if path.is_file():
            bucket.place.put(str(path.relative_to(here.location)), path.read_bytes())
    assert there.elsewhere().find(made.key) == made
    assert verify(there.elsewhere()).damaged == ()
