"""A worker that sees another store than the driver is refused before it loads anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from storyflow.errors import StoreError
from storyflow.farm.jobs import WorkerConfig
from storyflow.farm.workers import PromptWorker, SegmentWorker
from storyflow.pipeline import load_profile
from storyflow.renderer import ModelKind
from storyflow.store import nonce as module
from storyflow.store.nonce import Nonce, new_nonce
from storyflow.store.store import Store


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITS", (0.0,))


def unloaded(profile: object, threads: int) -> ModelKind:
    raise AssertionError("nothing is loaded for a store that isn't the film's")


def test_what_was_left_is_found_in_the_same_store_by_any_name(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "store")
    nonce = new_nonce()
    nonce.leave(Store(tmp_path / "store"))
    nonce.leave(Store(tmp_path / "store"))
    nonce.find(Store(tmp_path / "link"))
    nonce.find(Store(f"file://{tmp_path}/store"))
    nonce.remove(Store(tmp_path / "link"))
    assert not list((tmp_path / "store/tmp").iterdir())


@pytest.mark.parametrize("elsewhere", ["no store", "another store", "an older copy"])
def test_another_store_is_refused(elsewhere: str, tmp_path: Path, unhurried: None) -> None:
    nonce, other = new_nonce(), Store(tmp_path / "other")
    if elsewhere != "no store":
        other.check_writable()
    if elsewhere == "an older copy":
        Nonce(nonce.name, "what an earlier run wrote").leave(other)
    nonce.leave(Store(tmp_path / "store"))
    with pytest.raises(StoreError, match="another store than where the film is rendered"):
        nonce.find(other)
    assert elsewhere != "no store" or not (tmp_path / "other").exists()


def test_what_a_network_folder_shows_late_is_waited_for(tmp_path: Path) -> None:
    store, nonce = Store(tmp_path / "store"), new_nonce()
    waited: list[float] = []

    def arrive(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            nonce.leave(store)

    nonce.find(store, sleep=arrive)
    assert waited == list(module.WAITS[:2])


@pytest.mark.parametrize("worker", [SegmentWorker, PromptWorker])
def test_a_worker_looks_before_it_loads(
    worker: type[SegmentWorker] | type[PromptWorker], tmp_path: Path, unhurried: None
) -> None:
    _, profile = load_profile("slate")
    config = WorkerConfig(profile, str(tmp_path / "other"), kind=unloaded, nonce=new_nonce())
    config.nonce.leave(Store(tmp_path / "store"))  # type: ignore[union-attr]
    made = (
        SegmentWorker(config, "worker-1", own_process=False)
        if worker is SegmentWorker
        else PromptWorker(config, "encoder-1")
    )
    with pytest.raises(StoreError, match="another store"):
        made.setup()
