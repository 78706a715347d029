"""How long a farm takes to start: measured by a run, remembered by the store, in every estimate."""

from __future__ import annotations

import asyncio
from io import StringIO
from pathlib import Path

import pytest
from farm_support import Shot, cluster, render, tiny_plan
from plan_films import KIND, planned
from rich.console import Console

from storyflow.farm.starting import KEPT, Starting, note_start, read_start
from storyflow.planning.estimate import predict, quote_of
from storyflow.planning.finish import Estimate, Start, Timing, Timings, estimate
from storyflow.store.store import Store
from storyflow.tables import print_plan

RAY = cluster("local")
SHOT = "film: One\nshots:\n- {id: A, dur: 4s, do: a wave breaks}\n"
SEGMENTS = planned(SHOT).segments
SPEC = SEGMENTS[0].inputs.spec


def noted(store: Store, *starts: tuple[float, float]) -> None:
    for farm, worker in starts:
        note_start(store, RAY, Start(farm, worker))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    made.prepare()
    return made


def test_nothing_is_known_before_the_first_run(store: Store) -> None:
    assert read_start(store, RAY) is None


def test_the_median_counts_so_one_wait_on_a_full_cluster_does_not(store: Store) -> None:
    noted(store, (4.0, 2.0), (5.0, 600.0), (6.0, 3.0))
    assert read_start(store, RAY) == Start(5.0, 3.0, count=3)


def test_the_latest_starts_are_kept(store: Store) -> None:
    noted(store, *[(100.0, 100.0)] * 5, *[(n, 1.0) for n in range(KEPT)])
    assert read_start(store, RAY) == Start((KEPT - 1) / 2, 1.0, count=KEPT)


def test_each_address_has_its_own_and_a_ray_of_our_own_each_host(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted(store, (4.0, 2.0))
    assert read_start(store, cluster("ray://head:10001")) is None
    monkeypatch.setattr("storyflow.farm.starting.socket.gethostname", lambda: "elsewhere")
    assert read_start(store, RAY) is None


@pytest.mark.parametrize("text", [b"", b"{", b'{"starts": [["x", 1]]}', b"\xff"])
def test_what_cannot_be_read_was_not_measured(store: Store, text: bytes) -> None:
    noted(store, (4.0, 2.0))
    (name,) = store.place.names("starts/")
    store.place.put(name, text)
    assert read_start(store, RAY) is None
    noted(store, (5.0, 1.0))
    assert read_start(store, RAY) == Start(5.0, 1.0, count=1)


def test_in_process_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    alone = cluster("in-process")
    asyncio.run(render(tiny_plan(Shot("A", ("a",))), tmp_path, where=alone))
    store = Store(tmp_path)
    assert read_start(store, alone) == Start(0.0, 0.0)
    assert not list(store.place.names("starts/"))


def test_a_run_measures_its_start_where_it_starts_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Start | None] = []
    monkeypatch.setattr("storyflow.farm.render.note_start", lambda *what: seen.append(what[-1]))
    for _ in range(2):
        asyncio.run(render(tiny_plan(Shot("A", ("a",))), tmp_path))
    assert seen[0] is not None and seen[0].farm >= 0 and seen[0].worker >= 0
    assert seen[1] is None, "all was reused"


def test_a_run_adds_up_what_its_pools_waited_for() -> None:
    both = Starting()
    assert both.start is None
    both.add(4.0, 3.0)
    both.add(0.5, 2.0)
    assert both.start == Start(4.5, 2.5, count=1)
    reused = Starting()
    reused.add(4.0, None)
    assert reused.start is None, "no worker was needed"


@pytest.mark.parametrize(
    ("segments", "prompts", "start", "starting", "seconds"),
    [
        (SEGMENTS, 2, Start(5.0, 3.0), 11.0, 11 + 1 + 2 * 0.5 + 8 + 40),
        (SEGMENTS, 0, Start(5.0, 3.0), 8.0, 8 + 8 + 40),
        ((), 2, Start(5.0, 3.0), 8.0, 8 + 1 + 2 * 0.5),
        ((), 0, Start(5.0, 3.0), 0.0, 0.0),
        (SEGMENTS, 2, Start(0.0, 0.0), 0.0, 1 + 2 * 0.5 + 8 + 40),
        (SEGMENTS, 2, None, None, 1 + 2 * 0.5 + 8 + 40),
    ],
)
def test_the_start_is_in_the_time_and_not_in_the_gpu_hours(
    segments: tuple[object, ...],
    prompts: int,
    start: Start | None,
    starting: float | None,
    seconds: float,
) -> None:
    assert len(SEGMENTS) == 1
    timings = Timings(
        (Timing(SPEC.window, SPEC.overlap, 40.0, 1),),
        setup=8.0,
        prompt=0.5,
        prompt_setup=1.0,
        start=start,
    )
    made = estimate(segments, prompts, timings, workers=1)  # type: ignore[arg-type]
    assert made.start_seconds == starting
    assert made.seconds == made.chain_seconds == pytest.approx(seconds)
    assert made.gpu_seconds == pytest.approx(seconds - (starting or 0.0))


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (9.8, "each contains 9.8 s in which the farm and its workers start"),
        (None, "without the start of the farm and its workers: nobody has measured it yet"),
        (0.0, ""),
    ],
)
def test_a_plan_says_what_of_the_time_is_the_farms(start: float | None, said: str) -> None:
    plan = planned(SHOT)
    made = Estimate(1, 0, 60.0, 70.0, (), "1 timing", True, 1, 70.0, start_seconds=start)
    console = Console(width=200, record=True, file=StringIO())
    print_plan(quote_of(plan, predict(plan, frozenset()), KIND, made), console)
    text = console.export_text()
    assert said in text and ("start" in text) == bool(said)
