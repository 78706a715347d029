"""What the driver keeps of each segment until the film is cut, and what it doesn't wait for."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from pathlib import Path

import pytest
from farm_support import Shot, render, tiny_plan
from stores import put

from storyflow.errors import DamagedError
from storyflow.events import Event, SegmentDone
from storyflow.farm.jobs import Rendered
from storyflow.farm.stages import FilmWork, Segments
from storyflow.farm.terms import Terms
from storyflow.kinds import kind_of
from storyflow.pipeline import load_profile
from storyflow.store.artifacts import FRAMES, Artifact, Blob
from storyflow.store.kept import RECENT, StoredArtifacts
from storyflow.store.store import Store

MOST_BYTES = 1500
"""Of the run itself, for each segment; its artifact alone has seven times as many."""


def artifact(number: int, frames: int = 80) -> Artifact:
    """As large as one of a film at 540P."""
    name = f"{number:064x}"
    hashes = tuple(f"{number:032x}{frame:032x}" for frame in range(frames))
    return Artifact(name, name, "segment", name, (Blob(FRAMES, name, 1),), "{}", hashes)


def kept(segments: int, store: Store) -> int:
    """Bytes that a run of so many finished segments holds, its events among them."""
    _, profile = load_profile("slate")
    plan = tiny_plan(*(Shot(f"S{number}", ("a",)) for number in range(segments)))
    events: list[Event] = []
    planned = {segment.recipe: segment for segment in plan.segments}
    film = FilmWork(plan, kind_of(profile), store, events.append, planned, None, Terms())
    stage = Segments(film)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number, recipe in enumerate(planned):
            stage.done(recipe, Rendered(artifact(number), adopted=True), None, 0.0)
        gc.collect()
        assert len(film.artifacts) == len(events) == segments
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_what_a_run_keeps_of_a_segment_does_not_hold_its_hashes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    few, many = kept(200, store), kept(1000, store)
    assert (many - few) / 800 < MOST_BYTES


def test_artifacts_are_read_from_the_store_when_they_are_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made = [put(store, tmp_path / "a", f"1A/{n}", b"%d" % n) for n in range(RECENT + 5)]
    kept = StoredArtifacts(store)
    for each in made:
        kept.put(each.recipe, each)
    assert list(kept) == [each.recipe for each in made] and len(kept) == len(made)
    assert kept.key_list() == [each.key for each in made]
    assert list(kept.values()) == made
    kept.ready([made[0].recipe, made[1].recipe, "unknown"])
    assert kept[made[0].recipe] == made[0] and kept.get("unknown") is None
    assert "unknown" not in kept and made[0].recipe in kept


def test_an_artifact_that_left_the_store_meanwhile_is_damage(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made = put(store, tmp_path / "a", "1A/1")
    kept = StoredArtifacts(store)
    kept.put(made.recipe, made)
    elsewhere = kept.copy()
    store.discard(made.key)
    assert kept[made.recipe] == made  # still at hand
    with pytest.raises(DamagedError, match="has left the store"):
        elsewhere[made.recipe]


def test_a_run_does_not_wait_for_a_slow_store_to_note_how_long_segments_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every note waits until all segments are done: on the event loop that would never be."""
    plan = tiny_plan(Shot("1A", ("a", "b")), Shot("2A", ("c",)))
    all_done = threading.Event()
    remember = Store.remember
    waited: list[bool] = []

    def slow(self: Store, recipe: str, key: str) -> None:
        if recipe.startswith("time-"):
            waited.append(all_done.wait(60))
        remember(self, recipe, key)

    class Events(list[Event]):
        def append(self, event: Event) -> None:
            super().append(event)
            if sum(isinstance(each, SegmentDone) for each in self) == 3:
                all_done.set()

    monkeypatch.setattr(Store, "remember", slow)
    asyncio.run(render(plan, tmp_path, events=Events()))
    assert waited and all(waited)
    noted = [name for name in Store(tmp_path).recipes() if name.startswith("time-")]
    assert len(noted) == 2  # fresh and continuing ones
