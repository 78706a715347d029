"""A run's figures: counted from its events, shown without being in its way."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import pytest
from films import Studio
from prometheus_client.parser import text_string_to_metric_families

from storyflow.cluster import Cluster, MetricsSection
from storyflow.errors import ProfileError
from storyflow.events import (
    Event,
    Notice,
    Planned,
    SegmentDone,
    SegmentStarted,
    ShotFailed,
    WorkerLost,
    WorkerReady,
    WorkerReleased,
)
from storyflow.farm.ray_metrics import RayMetrics
from storyflow.metrics.figures import Counting, Figures
from storyflow.metrics.measured import exporters_of, measured, store_size
from storyflow.metrics.prometheus import Endpoint, TextFile
from storyflow.settings import load_settings
from storyflow.store.store import Store

PLANNED = Planned("Swan", 6, 1, 100, 0.0)


def started(segment: str, worker: str, attempt: int = 1) -> SegmentStarted:
    return SegmentStarted(segment, segment[:2], "key", worker, attempt)


def done(segment: str, *, reused: bool = False, seconds: float = 3.0) -> SegmentDone:
    return SegmentDone(segment, segment[:2], "key", reused, seconds, "/store/x", "")


def counted(*events: Event, gpus: float = 1.0) -> tuple[int, int, int, int, int, float]:
    counting = Counting(gpus)
    for event in events:
        counting.note(event)
    found = counting.figures
    return (*found.segments.values(), found.queue, found.idle_gpus)  # type: ignore[return-value]


READY = (PLANNED, WorkerReady("w1", "cpu"), WorkerReady("w2", "cpu"))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        # done, running, failed, reused, queue, idle GPUs
        ((PLANNED,), (0, 0, 0, 0, 6, 0)),
        (READY, (0, 0, 0, 0, 6, 2)),
        ((*READY, WorkerReady("encoder", "cpu", renders=False)), (0, 0, 0, 0, 6, 2)),
        ((*READY, done("1A/1", reused=True)), (0, 0, 0, 1, 5, 2)),
        ((*READY, started("1A/1", "w1")), (0, 1, 0, 0, 5, 1)),
        # It renders the next one while the last is being stored.
        ((*READY, started("1A/1", "w1"), started("1A/2", "w1")), (0, 2, 0, 0, 4, 1)),
        ((*READY, started("1A/1", "w1"), done("1A/1")), (1, 0, 0, 0, 5, 2)),
        ((*READY, started("1A/1", "w1"), WorkerLost("w1", "1A/1", "")), (0, 0, 0, 0, 6, 1)),
        ((*READY, started("1A/1", "w1"), started("1A/1", "w2", 2)), (0, 1, 0, 0, 5, 1)),
        ((*READY, WorkerReleased("w2")), (0, 0, 0, 0, 6, 1)),
        (
            (*READY, started("1A/1", "w1"), ShotFailed("1A/1", "1A", "no", ("1A",), 2)),
            (0, 0, 1, 0, 3, 2),
        ),
    ],
)
def test_events_are_counted(events: tuple[Event, ...], expected: tuple[float, ...]) -> None:
    assert counted(*events) == expected


def test_a_worker_of_several_gpus_counts_as_those() -> None:
    assert counted(*READY, started("1A/1", "w1"), gpus=2.0)[-1] == 2.0


def test_a_run_that_is_over_waits_for_nothing() -> None:
    counting = Counting()
    for event in (*READY, started("1A/1", "w1"), done("1A/2")):
        counting.note(event)
    counting.end()
    assert counting.figures == Figures({"done": 1, "running": 0, "failed": 0, "reused": 0})


def samples(text: str) -> dict[str, float]:
    """Name with labels to value."""
    return {
        sample.name + str(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[name + str(sorted(labels.items()))]


def test_a_film_leaves_a_text_file(tmp_path: Path) -> None:
    folder = tmp_path / "textfile"
    made = Studio(tmp_path)
    del made.options["address"]
    metrics = MetricsSection(folder=str(folder))
    rendered = made.render(cluster=Cluster(address="in-process", metrics=metrics)).result
    (file,) = folder.iterdir()
    text, film = file.read_text(), rendered.title
    assert file.suffix == ".prom"
    assert value(text, "storyflow_segments", film=film, state="done") == rendered.rendered > 0
    assert value(text, "storyflow_segments", film=film, state="running") == 0
    assert value(text, "storyflow_segment_seconds_count", film=film) == rendered.rendered
    assert value(text, "storyflow_queue_depth", film=film) == 0
    assert value(text, "storyflow_idle_gpus", film=film) == 0
    sizes = [v for name, v in samples(text).items() if name.startswith("storyflow_store_bytes")]
    assert sizes == [store_size(Store(tmp_path / "store"))] and sizes[0] > 0


def test_films_of_one_process_are_served_at_one_address() -> None:
    one = Endpoint("127.0.0.1", 0, "One", "s3://b")
    two = Endpoint("127.0.0.1", 0, "Two", "s3://b")
    assert one.port == two.port
    for place, number in ((one, 1), (two, 2)):
        place.show(Figures({"done": number, "running": 0, "failed": 0, "reused": 0}, number, 0.5))
    one.took(12.0)
    one.close()
    with urllib.request.urlopen(f"http://127.0.0.1:{two.port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    two.close()
    assert value(text, "storyflow_segments", film="Two", state="done") == 2
    assert value(text, "storyflow_segment_seconds_bucket", film="One", le="20.0") == 1
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{two.port}/metrics", timeout=5)


def test_what_can_not_be_shown_is_told_and_the_film_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told: list[Event] = []
    cluster = Cluster(
        address="in-process", metrics=MetricsSection(folder=str(tmp_path / "file" / "x"))
    )
    with measured(cluster, "Swan", str(tmp_path / "store"), told.append) as emit:
        emit(PLANNED)
    assert [type(event) for event in told] == [Notice, Planned]


def test_an_exporter_that_fails_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Event] = []

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(TextFile, "show", broken)
    cluster = Cluster(address="in-process", metrics=MetricsSection(folder=str(tmp_path)))
    with measured(cluster, "Swan", str(tmp_path / "store"), told.append) as emit:
        emit(PLANNED)
        emit(done("1A/1"))
    notices = [event for event in told if isinstance(event, Notice)]
    assert len(notices) == 1 and "disk full" in notices[0].text
    assert PLANNED in told and done("1A/1") in told


def test_without_anybody_to_show_them_to_nothing_is_counted() -> None:
    told: list[Event] = []
    put = told.append
    with measured(Cluster(address="in-process"), "Swan", "store", put) as emit:
        assert emit is put


def test_a_running_ray_shows_figures_and_an_own_one_does_not() -> None:
    def kinds(address: str) -> list[Any]:
        return [type(e) for e in exporters_of(Cluster(address=address), "Swan", "store", print)]

    assert kinds("10.0.0.1:6379") == kinds("auto") == [RayMetrics]
    assert kinds("local") == kinds("in-process") == []


@pytest.mark.parametrize(
    ("listen", "allowed"),
    [
        ("127.0.0.1:9464", True),
        ("[::1]:9464", True),
        ("localhost:9464", True),
        ("9464", False),
        ("http://x:1", False),
    ],
)
def test_an_address_to_listen_on_is_checked(listen: str, allowed: bool, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(f"storyflow: 1\nmetrics: {{listen: '{listen}'}}\n")
    if allowed:
        assert load_settings(Cluster, file).metrics.listen == listen
    else:
        with pytest.raises(ProfileError, match="HOST:PORT"):
            load_settings(Cluster, file)
