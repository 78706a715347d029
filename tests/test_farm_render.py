"""The farm in this process, from plan to store."""

from __future__ import annotations

import asyncio
import errno
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from farm_support import (
    FRESH,
    NEW,
    OVERLAP,
    LengthEncoder,
    Rendering,
    Shot,
    cluster,
    latent_kind,
    render,
    slate_profile,
    tiny_plan,
)

from storyflow.errors import FarmError, ModelError, StoreError
from storyflow.events import (
    Event,
    Notice,
    SegmentDone,
    SegmentStarted,
    ShotFailed,
    Step,
    WorkerLost,
    WorkerReady,
)
from storyflow.farm.address import open_farm
from storyflow.farm.pools import worker_price
from storyflow.farm.render import render_plan
from storyflow.planning.nodes import Plan
from storyflow.renderer import ModelKind
from storyflow.store.artifacts import FRAMES, LATENTS, Artifact
from storyflow.store.clip import ClipWriter, read_clip
from storyflow.store.hashing import digest_of, frame_hashes
from storyflow.store.store import Store
from storyflow.store.tensors import load_tensor

FILM = (Shot("1A", ("a", "b", "c")), Shot("1B", ("x",), follows="1A"), Shot("2A", ("q", "r")))
RETRIES = {"segment": 3, "worker": 4}


def make(plan: Plan, store: Path, **options: object) -> Rendering:
    return asyncio.run(render(plan, store, **options))  # type: ignore[arg-type]


def digests(rendering: Rendering) -> dict[str, str]:
    return {recipe: artifact.digest for recipe, artifact in rendering.report.artifacts.items()}


def of(rendering: Rendering, kind: type) -> list[Any]:
    return [event for event in rendering.events if isinstance(event, kind)]


def names(rendering: Rendering, *, reused: bool) -> list[str]:
    return sorted(e.segment for e in of(rendering, SegmentDone) if e.reused == reused)


def test_a_plan_is_rendered_into_the_store(tmp_path: Path) -> None:
    plan, store = tiny_plan(*FILM), Store(tmp_path)
    made = make(plan, tmp_path)
    report = made.report
    assert report.rendered == 6 and not report.reused and not report.failures
    assert report.missing == () and report.spent.money is None
    assert 0 < report.spent.useful_seconds <= report.spent.worker_seconds
    for segment in plan.segments:
        artifact = report.artifacts[segment.recipe]
        new = segment.inputs.spec.new
        pixels = read_clip(store.path(artifact, FRAMES), 0, new)
        assert artifact.frames == frame_hashes(pixels) and len(artifact.frames) == new
        assert artifact.digest == digest_of(artifact.frames)
        assert store.find(artifact.key) == artifact
        assert json.loads(artifact.inputs)["label"] == segment.inputs.spec.label
    assert of(made, WorkerReady) and len(of(made, SegmentStarted)) == 6
    assert all(e.frames.is_file() for e in of(made, SegmentDone))


def test_the_second_time_nothing_is_rendered_and_no_worker_started(tmp_path: Path) -> None:
    plan = tiny_plan(*FILM)
    first, second = make(plan, tmp_path), make(plan, tmp_path)
    assert second.report.rendered == 0 and len(second.report.reused) == 6
    assert digests(first) == digests(second)
    assert not of(second, WorkerReady) and second.report.spent.worker_seconds == 0


def test_two_stores_hold_the_same_film(tmp_path: Path) -> None:
    plan = tiny_plan(*FILM)
    assert digests(make(plan, tmp_path / "a")) == digests(make(plan, tmp_path / "b"))


def test_a_changed_beat_renders_it_and_what_continues_from_it(tmp_path: Path) -> None:
    make(tiny_plan(*FILM), tmp_path)
    edited = (Shot("1A", ("a", "B", "c")), *FILM[1:])
    again = make(tiny_plan(*edited), tmp_path)
    assert names(again, reused=False) == ["1A/2", "1A/3", "1B/1"]
    assert names(again, reused=True) == ["1A/1", "2A/1", "2A/2"]


@pytest.mark.parametrize("history", ["pixels", "latents"])
def test_identical_history_stops_the_wave(tmp_path: Path, history: str) -> None:
    # "ab" and "ba" embed alike, so the first segment's pixels do not change, nor does the second.
    first = tiny_plan(Shot("1A", ("ab", "c")), kind="latent", history=history)
    second = tiny_plan(Shot("1A", ("ba", "c")), kind="latent", history=history)
    made, again = make(first, tmp_path), make(second, tmp_path)
    assert set(made.report.artifacts) != set(again.report.artifacts)
    assert again.report.rendered == 0


@pytest.mark.parametrize("history", ["pixels", "latents"])
def test_history_comes_from_the_store_as_it_was_stored(tmp_path: Path, history: str) -> None:
    plan = tiny_plan(Shot("1A", ("a", "b", "c")), kind="latent", history=history)
    made = make(plan, tmp_path)
    store = Store(tmp_path)
    stored = [made.report.artifacts[s.recipe] for s in plan.segments]
    for artifact, parent, segment in zip(stored[1:], stored, plan.segments[1:], strict=False):
        # What LatentRenderer makes of its history, seen in its first latent.
        if history == "latents":
            latents = load_tensor(store.path(parent, LATENTS))
            told = int(latents[:, -((OVERLAP - 1) // 4 + 1) :].sum()) % 97
        else:
            (span,) = segment.history
            told = int(
                read_clip(store.path(parent, FRAMES), span.start, span.stop).astype(int).sum() % 97
            )
        texts = (segment.inputs.prompt, segment.inputs.negative)
        embedded = sum(int(LengthEncoder().encode(text).sum()) for text in texts)
        first = load_tensor(store.path(artifact, LATENTS))[0, 0, 0, 0]
        assert first == embedded + told + segment.inputs.spec.seed


def test_each_text_is_encoded_once_and_stored(tmp_path: Path) -> None:
    plan = tiny_plan(Shot("1A", ("a", "b")), Shot("1B", ("a", "b")), kind="latent")
    LengthEncoder.calls.clear()
    make(plan, tmp_path)
    assert sorted(LengthEncoder.calls) == ["a", "b", "bad"]
    make(replace(plan, takes=plan.takes), tmp_path)
    assert len(LengthEncoder.calls) == 3


def test_a_prompt_that_cannot_be_encoded_fails_its_shot_only(tmp_path: Path) -> None:
    plan = tiny_plan(Shot("1A", ("a", "unspeakable")), Shot("1B", ("b",)), kind="latent")
    made = make(plan, tmp_path)
    (failure,) = made.report.failures
    assert failure.segment == "1A/2" and "can't be encoded" in failure.error
    assert made.report.missing == ("1A",) and made.report.rendered == 2


def test_only_the_wanted_and_what_they_continue_is_rendered(tmp_path: Path) -> None:
    plan = tiny_plan(*FILM)
    wanted = frozenset(s.recipe for s in plan.take("1B", 1).segments)
    made = make(plan, tmp_path, only=wanted)
    assert names(made, reused=False) == ["1A/1", "1A/2", "1A/3", "1B/1"]
    assert make(plan, tmp_path, only=frozenset()).report.artifacts == {}


def test_a_poisoned_segment_fails_its_shot_and_its_followers_only(tmp_path: Path) -> None:
    made = make(tiny_plan(*FILM), tmp_path, profile=slate_profile(fail={"1A/2": -1}))
    (failure,) = made.report.failures
    assert failure == of(made, ShotFailed)[0]
    assert (failure.segment, failure.missing) == ("1A/2", ("1A", "1B"))
    assert "3 times" in failure.error and "as scripted" in failure.error
    assert made.report.missing == ("1A", "1B")
    assert names(made, reused=False) == ["1A/1", "2A/1", "2A/2"]
    assert len([n for n in of(made, Notice) if "trying again" in str(n)]) == 2
    cured = make(tiny_plan(*FILM), tmp_path)
    assert names(cured, reused=False) == ["1A/2", "1A/3", "1B/1"] and not cured.report.failures


def test_a_worker_that_dies_is_replaced_and_the_film_is_the_same(tmp_path: Path) -> None:
    calm = make(tiny_plan(*FILM), tmp_path / "calm")
    wild = make(tiny_plan(*FILM), tmp_path / "wild", profile=slate_profile(die={"1A/2": 2}))
    assert digests(calm) == digests(wild)
    lost = of(wild, WorkerLost)
    assert [e.segment for e in lost] == ["1A/2", "1A/2"]
    assert len(of(wild, WorkerReady)) == 3


def damage(store: Store, artifact: Artifact) -> None:
    path = store.root / "blobs" / artifact.blobs[0].sha256[:2] / artifact.blobs[0].sha256
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_damaged_artifact_is_set_aside_and_rendered_again(tmp_path: Path) -> None:
    plan = tiny_plan(*FILM)
    first = make(plan, tmp_path)
    damage(Store(tmp_path), first.report.artifacts[plan.segments[1].recipe])
    second = make(plan, tmp_path)
    assert names(second, reused=False) == ["1A/2"], "the same pixels stop the wave"
    assert digests(first) == digests(second)
    assert any("damaged" in str(notice) for notice in of(second, Notice))
    assert make(plan, tmp_path).report.rendered == 0


def test_a_held_output_is_used_as_it_is(tmp_path: Path) -> None:
    plan = tiny_plan(Shot("1A", ("a", "b")))
    made = make(plan, tmp_path)
    take = plan.takes[0]
    held = tuple(
        replace(
            segment,
            recipe=f"held{segment.index}",
            history=(),
            key=made.report.artifacts[segment.recipe].key,
            inputs=replace(segment.inputs, prompt="changed"),
        )
        for segment in take.segments
    )
    kept = replace(plan, takes=(replace(take, segments=held),))
    assert make(kept, tmp_path).report.rendered == 0
    lost = make(kept, tmp_path / "elsewhere")
    assert sorted(f.segment for f in lost.report.failures) == ["1A/1", "1A/2"]
    assert "held" in lost.report.failures[0].error


def test_a_store_that_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "tmp").write_text("in the way")
    with pytest.raises(StoreError):
        make(tiny_plan(*FILM), tmp_path / "store")


def test_a_model_that_cannot_be_loaded_stops_the_run(tmp_path: Path) -> None:
    class Broken:
        def setup(self) -> None:
            raise ModelError("no such model")

        def close(self) -> None: ...

    def kind(profile: object, threads: int) -> ModelKind:
        return replace(latent_kind(slate_profile(), 1), text_encoder=Broken)  # type: ignore[arg-type]

    async def main() -> None:
        store = Store(tmp_path)
        plan = tiny_plan(Shot("1A", ("a",)), kind="latent")
        async with open_farm(slate_profile(), cluster(), store, kind=kind) as farm:
            await render_plan(plan, kind(None, 1), store, farm, lambda event: None)

    with pytest.raises(ModelError, match="no such model"):
        asyncio.run(main())


def test_workers_that_never_live_end_the_run(tmp_path: Path) -> None:
    profile = slate_profile(die={"1A/1": -1})
    where = cluster(retries={"segment": 20, "worker": 2})
    with pytest.raises(FarmError, match="no worker is left"):
        make(tiny_plan(*FILM), tmp_path, profile=profile, where=where)


def test_cancelling_stops_at_once_and_keeps_what_is_finished(tmp_path: Path) -> None:
    plan = tiny_plan(*FILM)
    events: list[Event] = []

    async def main() -> None:
        working = asyncio.ensure_future(
            render(plan, tmp_path, profile=slate_profile(delay=0.3), events=events)
        )
        while not any(isinstance(event, SegmentDone) for event in events):
            await asyncio.sleep(0.01)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    asyncio.run(main())
    finished = names(Rendering(None, events), reused=False)  # type: ignore[arg-type]
    assert 1 <= len(finished) < 6
    again = make(plan, tmp_path)
    assert set(finished) <= set(names(again, reused=True))
    assert again.report.rendered >= 6 - len(finished) - 1
    assert not list((tmp_path / "tmp").iterdir()), "nothing half-made is left"


def test_steps_are_told_while_a_segment_is_rendered(tmp_path: Path) -> None:
    events: list[Event] = []

    def steps() -> list[int]:
        return [event.done for event in events if isinstance(event, Step)]

    async def main() -> None:
        long = slate_profile(delay=600.0, steps=1000)
        plan = tiny_plan(Shot("1A", ("a",)))
        working = asyncio.ensure_future(
            render(plan, tmp_path, profile=long, events=events, poll=0.02)
        )
        while len(steps()) < 3:
            await asyncio.sleep(0.01)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    asyncio.run(main())
    assert steps() == sorted(set(steps()))


def test_another_writer_of_the_same_key_is_adopted(tmp_path: Path) -> None:
    # Two shots with the same inputs and seed have different recipes here but one key.
    plan = tiny_plan(Shot("1A", ("a",)), Shot("1B", ("a",)), kind="latent")
    assert len({s.recipe for s in plan.segments}) == 1
    made = make(plan, tmp_path)
    assert made.report.rendered == 1


def test_a_full_disk_stops_the_run_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object, frames: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ClipWriter, "write", refuse)
    with pytest.raises(StoreError, match="disk is full"):
        make(tiny_plan(*FILM), tmp_path)
    monkeypatch.undo()
    assert make(tiny_plan(*FILM), tmp_path).report.rendered == 6


@pytest.mark.parametrize("module", ["render", "pools", "dispatch", "lookup"])
def test_the_farm_is_imported_without_torch_and_ray(module: str) -> None:
    program = f"import storyflow.farm.{module}, sys; print({{'torch', 'ray'}} & set(sys.modules))"
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert made.stdout == "set()\n", made.stderr


def test_in_process_has_one_worker_and_says_so(tmp_path: Path) -> None:
    made = make(tiny_plan(Shot("1A", ("a",))), tmp_path, where=cluster(workers={"count": 3}))
    assert "in-process there is one" in of(made, Notice)[0].text


def test_money_counts_worker_hours(tmp_path: Path) -> None:
    made = make(tiny_plan(Shot("1A", ("a",))), tmp_path, where=cluster(price=3600.0))
    assert made.report.spent.money == pytest.approx(made.report.spent.worker_seconds)
    assert worker_price(cluster(price=2.0, workers={"gpus": 4})) == 8.0


def test_a_chain_covers_every_frame_once(tmp_path: Path) -> None:
    plan = tiny_plan(Shot("1A", ("a", "b", "c")))
    made = make(plan, tmp_path)
    store = Store(tmp_path)
    parts = [
        read_clip(store.path(made.report.artifacts[s.recipe], FRAMES), 0, s.inputs.spec.new)
        for s in plan.segments
    ]
    assert len(np.concatenate(parts)) == FRESH + 2 * NEW
