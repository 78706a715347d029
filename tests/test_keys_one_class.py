"""Runs that are held to one numerics class: the same bytes everywhere, nothing overwritten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from farm_support import (
    LatentRenderer,
    LengthEncoder,
    Shot,
    cluster,
    latent_kind,
    slate_profile,
    tiny_plan,
)
from films import Studio

import storyflow
from storyflow.errors import FarmError
from storyflow.events import Event, SegmentDone, WorkerLost
from storyflow.farm.address import open_farm
from storyflow.farm.borders import Started
from storyflow.farm.jobs import Role, WorkerConfig
from storyflow.farm.local import LocalFarm, LocalPool
from storyflow.farm.lookup import hold_to_one_class, look_up, stored_index
from storyflow.farm.oneclass import OneClass, variant
from storyflow.farm.render import FarmReport, render_plan
from storyflow.farm.workers import Worker, make_worker
from storyflow.pipeline import Profile
from storyflow.planning.estimate import predict
from storyflow.planning.nodes import Plan
from storyflow.renderer import Given, ModelKind, SegmentSpec, Sink
from storyflow.store.store import Store

PLAN = tiny_plan(Shot("1A", ("a", "b", "c")), Shot("2A", ("q", "r")), kind="latent")
NAMES = tuple(segment.name for segment in PLAN.segments)
MakeKind = Callable[[Profile, int], ModelKind]


@dataclass
class Chip(LatentRenderer):
    """Every chip computes other bits."""

    name: str

    def numerics(self) -> str:
        return self.name

    def render(
        self,
        spec: SegmentSpec,
        prompt: np.ndarray | None,
        negative: np.ndarray | None,
        given: Given,
        sink: Sink,
    ) -> None:
        other = replace(spec, seed=spec.seed + sum(map(ord, self.name)))
        super().render(other, prompt, negative, given, sink)


class Encoder(LengthEncoder):
    def __init__(self, name: str) -> None:
        self.name = name

    def numerics(self) -> str:
        return self.name

    def encode(self, text: str) -> np.ndarray:
        return super().encode(text) + np.float32(ord(self.name[0]))


def on(chip: str, encoder: str | None = None) -> MakeKind:
    """The kind of model, on machines of this chip (and with an encoder on machines of that)."""

    def kind(profile: Profile, threads: int) -> ModelKind:
        made = replace(latent_kind(profile, threads), renderer=lambda: Chip(chip))
        return made if encoder is None else replace(made, text_encoder=lambda: Encoder(encoder))

    return kind


@dataclass
class Made:
    report: FarmReport
    names: list[str]

    @property
    def digests(self) -> list[str]:
        return [self.report.artifacts[s.recipe].digest for s in PLAN.segments]

    @property
    def classes(self) -> set[str]:
        return {artifact.numerics for artifact in self.report.artifacts.values()}


def make(
    root: Path, kind: MakeKind, *, held: bool = False, shots: str | None = None, plan: Plan = PLAN
) -> Made:
    """Render on one machine; the names of what was rendered."""
    events: list[Event] = []
    store, model = Store(root), kind(slate_profile(), 1)
    only = None if shots is None else frozenset(s.recipe for s in plan.segments if s.shot in shots)
    one_class = hold_to_one_class(plan, model, store) if held else None

    async def run() -> FarmReport:
        async with open_farm(slate_profile(), cluster(), store, kind=kind) as farm:
            return await render_plan(
                plan, model, store, farm, events.append, only=only, one_class=one_class
            )

    report = asyncio.run(run())
    done = [e.segment for e in events if isinstance(e, SegmentDone) and not e.reused]
    return Made(report, sorted(done))


def test_without_it_classes_mix_and_are_recorded(tmp_path: Path) -> None:
    make(tmp_path, on("h100"), shots="2A")
    made = make(tmp_path, on("h200"))
    assert made.names == ["1A/1", "1A/2", "1A/3"]
    assert made.classes == {"h100", "h200"}


def test_outputs_of_another_class_are_not_reused_and_not_overwritten(tmp_path: Path) -> None:
    mixed, clean = tmp_path / "mixed", tmp_path / "clean"
    make(mixed, on("h100"), shots="2A")
    before = make(mixed, on("h200"))
    held = make(mixed, on("h200"), held=True)
    assert held.names == ["2A/1", "2A/2"]
    assert held.classes == {"h200"}
    assert held.digests == make(clean, on("h200")).digests, "as if rendered on h200 alone"
    assert make(mixed, on("h200"), held=True).names == [], "found again"
    assert make(mixed, on("h100")).digests == before.digests, "others see what they saw"


def test_what_will_be_rendered_is_known_beforehand(tmp_path: Path) -> None:
    make(tmp_path, on("h100"), shots="2A")
    make(tmp_path, on("h200"))
    store, kind = Store(tmp_path), on("h200")(slate_profile(), 1)
    held = hold_to_one_class(PLAN, kind, store)
    assert held.segment.numerics == "h200"
    render = predict(PLAN, stored_index(PLAN, kind, store, held)).render
    # What hangs on another class's output is rendered again where its pixels differ.
    assert {s.name for s in PLAN.segments if s.recipe in render} == {"2A/1", "2A/2"}
    assert predict(PLAN, stored_index(PLAN, kind, store)).render == frozenset()
    make(tmp_path, on("h200"), held=True)
    again = Store(tmp_path)
    held = hold_to_one_class(PLAN, kind, again)
    assert predict(PLAN, stored_index(PLAN, kind, again, held)).render == frozenset()
    found = look_up(PLAN, kind, again, one_class=held)
    assert {artifact.numerics for artifact in found.values()} == {"h200"}


def test_a_worker_of_another_class_is_refused_with_words(tmp_path: Path) -> None:
    make(tmp_path, on("h100"), shots="1A")
    with pytest.raises(FarmError) as told:
        make(tmp_path, on("h200"), held=True)
    text = str(told.value)
    assert "'h200'" in text and "held to 'h100'" in text and "without --one-class" in text


def test_with_nothing_stored_the_first_worker_decides(tmp_path: Path) -> None:
    made = make(tmp_path, on("h200"), held=True)
    assert made.names == sorted(NAMES) and made.classes == {"h200"}


def test_a_finished_film_needs_no_worker(tmp_path: Path) -> None:
    make(tmp_path, on("h100"))
    assert make(tmp_path, on("h200"), held=True).names == []


def test_embeddings_are_held_to_a_class_of_their_own(tmp_path: Path) -> None:
    mixed, clean = tmp_path / "mixed", tmp_path / "clean"
    make(mixed, on("h100", "y"), shots="1A")
    make(mixed, on("h100", "x"))
    held = hold_to_one_class(PLAN, on("h100", "y")(slate_profile(), 1), Store(mixed))
    assert (held.prompt.numerics, held.segment.numerics) == ("y", "h100")
    made = make(mixed, on("h100", "y"), held=True)
    assert made.names == ["2A/1", "2A/2"]
    assert made.digests == make(clean, on("h100", "y")).digests


def test_embeddings_whose_class_nobody_recorded_are_taken_as_they_are(tmp_path: Path) -> None:
    make(tmp_path, on("h100"))
    assert make(tmp_path, on("h100", "y"), held=True).names == []


def test_a_variant_has_a_name_of_its_own_per_class() -> None:
    names = {variant("k" * 64, numerics) for numerics in ("a", "b")}
    assert len(names) == 2
    assert all(name.startswith("k" * 64 + "-") and len(name) <= 100 for name in names)


def test_a_hold_accepts_what_it_is_given_first() -> None:
    hold = OneClass().segment
    assert hold.accepts("") and hold.numerics is None
    assert hold.accepts("a") and not hold.accepts("b") and hold.accepts("a")


def test_a_film_is_held_from_the_command_down(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    first = studio.render(one_class=True)
    again = studio.render(one_class=True)
    assert again.names == () and again.sha256 == first.sha256
    assert storyflow.diff(studio.file, **studio.options, one_class=True).render == ()


class TwoMachines(LocalFarm):
    """A farm of two machines with different chips, each with one worker in this process."""

    def __init__(self, root: Path, chips: tuple[str, str]) -> None:
        super().__init__(WorkerConfig(slate_profile(), str(root)), cluster())
        self._chips = chips

    def pool(self, role: Role, notify: Callable[[str], None]) -> _Machines:
        def make(name: str) -> Worker:
            config = replace(self._config, kind=on(self._chips[int(name[-1]) - 1]))
            return make_worker(role, config, name, own_process=False)

        return _Machines(make)


class _Machines:
    """Two pools of one worker each, seen as one; the first machine is ready first."""

    gpus = 1.0

    def __init__(self, make: Callable[[str], Worker]) -> None:
        self._pools = {name: LocalPool(make) for name in ("worker-1", "worker-2")}
        self._first = asyncio.Event()

    async def workers(self) -> tuple[str, ...]:
        return tuple(self._pools)

    async def allowance(self, wanted: int) -> int | None:
        return None

    async def start(self, worker: str, avoid: frozenset[str] = frozenset()) -> Started:
        if worker == "worker-2":
            await self._first.wait()
        started = await self._pools[worker].start(worker, avoid)
        self._first.set()
        return started

    def __getattr__(self, verb: str) -> Callable[..., object]:
        return lambda worker, *rest: getattr(self._pools[worker], verb)(worker, *rest)

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.close()


def test_on_a_mixed_cluster_only_the_class_that_began_goes_on(tmp_path: Path) -> None:
    events: list[Event] = []
    store, kind = Store(tmp_path), on("h100")(slate_profile(), 1)
    one_class = hold_to_one_class(PLAN, kind, store)

    async def run() -> FarmReport:
        farm = TwoMachines(tmp_path, ("h100", "h200"))
        return await render_plan(PLAN, kind, store, farm, events.append, one_class=one_class)

    report = asyncio.run(run())
    assert {artifact.numerics for artifact in report.artifacts.values()} == {"h100"}
    assert report.failures == ()
    lost = [event for event in events if isinstance(event, WorkerLost)]
    assert all("held to 'h100'" in event.cause for event in lost if event.worker == "worker-2")
