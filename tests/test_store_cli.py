"""`storyflow store ls | verify | gc` and `storyflow forget`, as people and programs see them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from films import THREE_SHOTS, Studio
from stores import put, root
from typer.testing import CliRunner, Result

import storyflow
from storyflow.cli import app
from storyflow.store.gc import collect
from storyflow.store.place import blob_name
from storyflow.store.roots import add_root, read_roots
from storyflow.store.store import Store


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    for name in ("1A/1", "1A/2", "old"):
        put(made, tmp_path / "a", name, name.encode() * 1000)
    add_root(made, root("swan", "1A/1", "1A/2", "1A/3"))
    return made


def test_ls_shows_runs_sizes_and_what_is_loose(store: Store) -> None:
    shown = call("store", "ls", "--store", store)
    assert shown.exit_code == 0
    assert "swan-run" in shown.output and "2 of 3" in shown.output and "32.0 kB" in shown.output
    assert "3 segments, 44.0 kB" in shown.output
    assert "no run needs 1 artifact, 12.0 kB: see storyflow store gc" in shown.output
    data = json.loads(call("store", "ls", "--store", store, "--json").output)
    assert data["runs"][0]["film"] == "swan" and data["loose_size"] == 12_000


def test_ls_of_an_empty_store_says_so(tmp_path: Path) -> None:
    Store(tmp_path / "new").prepare()
    assert "empty, 0 B" in call("store", "ls", "--store", tmp_path / "new").output


@pytest.mark.parametrize(
    "command", ["store ls", "store verify", "store gc", "store gc --yes", "forget --superseded"]
)
@pytest.mark.parametrize("place", ["none", "bucket"])
def test_a_store_that_is_not_there_is_told_and_not_made(
    command: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    where = tmp_path / place if place == "none" else f"memory://{tmp_path.name}"
    error = call(*command.split(), "--store", where).exception
    assert isinstance(error, storyflow.InputError) and error.exit_code == 2
    assert str(error).startswith(f"there is no store at {where}; check the spelling")
    assert list(tmp_path.iterdir()) == []
    if place == "none":
        error = call(*command.split()).exception
        assert f"{tmp_path}/.storyflow/store; name one with --store" in str(error)


def test_verify_ends_with_five_where_something_was_damaged(store: Store, tmp_path: Path) -> None:
    shown = call("store", "verify", "--store", store)
    assert (shown.exit_code, shown.output) == (0, "3 artifacts, 44.0 kB verified\n")
    made = store.find(put(store, tmp_path / "a", "1A/1").key)
    assert made is not None
    (store.root / blob_name(made.blobs[0].sha256)).unlink()
    shown = call("store", "verify", "--store", store)
    assert shown.exit_code == 5
    assert f"{made.key}: frames.mov is missing; set aside" in shown.output
    shown = call("store", "verify", "--store", store, "--json")
    assert shown.exit_code == 0 and json.loads(shown.output)["artifacts"] == 2


def test_gc_shows_first_and_deletes_only_when_told(store: Store) -> None:
    assert "to delete: 0 artifacts" in call("store", "gc", "--store", store).output
    shown = call("store", "gc", "--store", store, "--older-than", "0")
    assert "to delete: 1 artifact, 2 files of content, 0 damaged, 12.0 kB" in shown.output
    assert "2 artifacts stay" in shown.output and "give --yes" in shown.output
    assert len(store.recipes()) == 3
    shown = call("store", "gc", "--store", store, "--older-than", "0", "--yes")
    assert "deleted: 1 artifact" in shown.output and "--yes" not in shown.output
    assert len(store.recipes()) == 2


def test_forget_lets_gc_have_a_run(store: Store) -> None:
    assert call("forget", "--store", store).exit_code == 2
    assert isinstance(call("forget", "goose", "--store", store).exception, storyflow.InputError)
    shown = call("forget", "swan-run", "--store", store)
    assert shown.output.startswith("swan-run: forgotten; swan, last run 2026-01-01")
    shown = call("store", "gc", "--store", store, "--older-than", "0")
    assert "to delete: 3 artifacts" in shown.output


def test_each_run_is_a_root_and_an_edit_supersedes_it(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    studio.render()
    first = read_roots(Store(tmp_path / "store"))
    studio.render()
    assert [r.run for r in read_roots(Store(tmp_path / "store"))] == [first[0].run]
    assert (len(first[0].recipes), first[0].finished, first[0].film) == (6, True, "Three shots")
    assert "shots:" in first[0].lock
    studio.edit("it turns left", "it turns right")
    studio.render()
    store = Store(tmp_path / "store")
    assert len(read_roots(store)) == 2
    assert collect(store, 0.0).artifacts == ()
    shown = call("forget", "--superseded", "--store", store)
    assert shown.output.startswith(f"{first[0].run}: forgotten")
    assert len(collect(store, 0.0).artifacts) == 3
    assert studio.render().names == ()
    studio.write(THREE_SHOTS)
    assert studio.render().names == ("1B/3", "1B/4", "1C/1")
