"""What a run leaves behind for the next plan: what the film was made of, what it took."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from films import SMALL, Studio
from rich.console import Console

import storyflow
from storyflow.billing import duration
from storyflow.cluster import Cluster
from storyflow.errors import BudgetError, InputError
from storyflow.events import Result, SegmentDone
from storyflow.planning.finish import Account, Estimate, Finish
from storyflow.record import read_record
from storyflow.tables import print_account, print_plan

ONE = "film: F\nshots:\n- {id: 1A, dur: 8s, do: a}\n- {id: 1B, dur: 2s, do: b}\n"


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path, ONE)


def test_a_run_records_each_segment_and_what_it_took(studio: Studio) -> None:
    made = studio.render()
    record = read_record(studio.folder / "out")
    assert record is not None and record.last is not None
    keys = [s["key"] for shot in made.manifest["shots"] for s in shot["segments"]]
    assert [was.key for was in record.segments] == keys
    assert [was.name for was in record.segments] == ["1A/1", "1A/2", "1A/3", "1B/1"]
    assert (record.last.rendered, record.last.reused) == (4, 0)
    assert record.last.gpu_seconds == pytest.approx(made.result.spent.worker_seconds)
    assert record.last.seconds is not None


def test_a_run_that_renders_nothing_keeps_the_account_of_the_last_that_did(studio: Studio) -> None:
    studio.render()
    before = read_record(studio.folder / "out")
    studio.render()
    after = read_record(studio.folder / "out")
    assert before is not None and after is not None
    assert after.last == before.last and after.segments == before.segments


def test_what_failed_keeps_its_older_entry(studio: Studio) -> None:
    studio.render()
    studio.edit("do: b", "do: c")
    studio.render(settings=(*SMALL, "slate.fail={1B/1: -1}"))
    said = storyflow.diff(studio.file, **studio.options)
    (why,) = (s.why for s in said.segments if s.action == "render")
    assert why[0].text == "prompt: 'B.' -> 'C.'"


def test_a_cancelled_run_is_recorded_as_far_as_it_came(studio: Studio) -> None:
    slow = {**studio.options, "settings": (*SMALL, "slate.delay=0.2")}
    run = storyflow.start(studio.file, **slow)
    for event in run.events():
        if isinstance(event, SegmentDone):
            run.cancel()
    done: Result = run.result()
    record = read_record(studio.folder / "out")
    assert record is not None and record.last is not None
    assert len(record.segments) == done.rendered == record.last.rendered
    assert record.last.gpu_seconds is None, "nobody knows what it cost"


def test_another_pipeline_begins_a_record_of_its_own(studio: Studio, tmp_path: Path) -> None:
    studio.render()
    profile = tmp_path / "other.yaml"
    profile.write_text("storyflow: 1\nmodel: {kind: slate}\nframe: 80x48\n")
    studio.render(pipeline=profile, settings=("deliver.preset=ultrafast",))
    record = read_record(studio.folder / "out")
    assert record is not None and record.pipeline == "other"
    assert len(record.segments) == 4


def test_a_film_without_a_record_is_read_from_its_manifest(studio: Studio) -> None:
    studio.render()
    (studio.folder / "out" / "run.json").unlink()
    studio.edit("do: b", "do: c")
    said = storyflow.diff(studio.file, **studio.options)
    assert said.render == ("1B/1",) and said.since == ""
    why = next(s.why for s in said.segments if s.action == "render")
    assert [change.what for change in why] == ["prompt", "label"]


@pytest.mark.parametrize("text", ["", "{", '{"title": 3}'])
def test_a_broken_record_is_as_good_as_none(studio: Studio, text: str) -> None:
    out = studio.folder / "out"
    out.mkdir()
    (out / "run.json").write_text(text)
    assert read_record(out) is None
    assert studio.render().result.complete


def test_the_first_plan_knows_no_times_and_the_next_one_does(studio: Studio) -> None:
    slow = (*SMALL, "slate.delay=0.3")
    first = storyflow.quote(studio.file, **studio.options).estimate
    assert first is not None and not first.timed and "no timings" in first.source
    studio.render(settings=slow)
    studio.edit("dur: 8s, do: a", "dur: 8s, do: x")
    made = storyflow.quote(studio.file, **studio.options).estimate
    assert made is not None and made.timed and "4 timings" in made.source
    assert made.segments == 3 and made.workers == 1
    studio.render(settings=slow)
    record = read_record(studio.folder / "out")
    assert record is not None and record.last is not None
    assert record.last.estimate == made
    assert record.last.gpu_seconds is not None and record.last.gpu_seconds > 3 * 0.3


def test_timings_of_other_settings_are_not_used(studio: Studio) -> None:
    studio.render()
    other = {**studio.options, "settings": ("frame=80x48", "deliver.preset=ultrafast")}
    made = storyflow.quote(studio.file, **other).estimate
    assert made is not None and not made.timed


def priced(studio: Studio, price: float = 3600.0) -> Path:
    place = studio.folder / "cluster.yaml"
    place.write_text(
        f"storyflow: 1\naddress: in-process\nprice: {price}\nstore: {studio.folder / 'store'}\n"
    )
    return place


def test_what_costs_more_than_is_allowed_is_refused_beforehand(studio: Studio) -> None:
    studio.render(settings=(*SMALL, "slate.delay=0.1"))
    studio.edit("dur: 8s, do: a", "dur: 8s, do: x")
    options = {**studio.options, "cluster": priced(studio), "address": None}
    for limit in ({"max_cost": 0.05}, {"max_gpu_hours": 0.05 / 3600}):
        with pytest.raises(BudgetError, match=r"the plan .* needs") as told:
            storyflow.start(studio.file, **{**options, **limit})  # type: ignore[arg-type]
        assert told.value.exit_code == 4
    assert storyflow.render(studio.file, **options, max_cost=1000.0).complete


def test_a_limit_on_money_needs_a_price(studio: Studio) -> None:
    with pytest.raises(InputError, match="without a price"):
        storyflow.render(studio.file, **studio.options, max_cost=5.0)


def test_what_is_left_out_is_not_estimated(studio: Studio) -> None:
    studio.render()
    studio.edit("do: a}", "do: x}")
    studio.edit("do: b}", "do: y}")
    made = storyflow.quote(studio.file, **studio.options, shots=["1B"]).estimate
    assert made is not None and made.segments == 1


def test_estimate_and_actual_are_printed_side_by_side() -> None:
    guess = Estimate(
        segments=3,
        prompts=0,
        gpu_seconds=3600,
        chain_seconds=1800,
        finish=(Finish(1, 3600), Finish(2, 1800)),
        source="9 timings in the store, cpu",
        timed=True,
        workers=2,
        seconds=1800,
        money=2.0,
        currency="EUR",
    )
    account = Account("2026-01-01T00:00:00+00:00", guess, 3, 0, 1980.0, 3240.0, 3000.0, 1.8)
    console = Console(width=120, record=True, file=StringIO())
    print_account(account, console)
    rows = [line.split() for line in console.export_text().splitlines()]
    assert ["GPU-hours", "1", "0.9", "-10", "%"] in rows
    assert ["rendered", "in", "30:00", "33:00", "+10", "%"] in rows
    assert ["cost,", "EUR", "2", "1.8", "-10", "%"] in rows


def test_a_finished_film_shows_its_bill_with_the_plan(studio: Studio) -> None:
    def printed() -> str:
        console = Console(width=120, record=True, file=StringIO())
        print_plan(storyflow.quote(studio.file, **studio.options), console)
        return console.export_text()

    studio.render()
    data = storyflow.quote(studio.file, **studio.options).as_data()
    assert json.loads(json.dumps(data))["last"]["rendered"] == 4
    assert "rendered in" not in printed(), "nobody knew how long it would take"
    studio.edit("do: b}", "do: y}")
    studio.render()
    assert "rendered in" in printed()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (14.24, "14.2 s"), (185, "3:05"), (3785.4, "1:03:05"), (36000, "10:00:00")],
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("cores", "workers", "counted"),
    [
        (8, {}, 8),
        (8, {"threads": 3}, 2),
        (2, {"threads": 4}, 1),
        (8, {"count": 3}, 3),
        (8, {"gpus": 1}, None),
    ],
)
def test_on_this_machine_an_estimate_knows_how_many_workers_there_will_be(
    cores: int,
    workers: dict[str, int],
    counted: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    cluster = Cluster.model_validate({"address": "local", "workers": workers})
    film = storyflow.parse({"film": "T", "shots": [{"do": "a", "dur": "1s"}]})
    made = storyflow.quote(film, pipeline="slate", cluster=cluster, store=tmp_path).estimate
    assert made is not None and made.workers == counted
