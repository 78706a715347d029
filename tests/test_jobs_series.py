"""A series as a job, on a cluster in memory: what is sent, what is kept, what comes back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from job_server import ADDRESS, FakeServer
from media_files import picture_file, quadrants
from test_series_plan import EPISODES, SERIES, series_in
from typer.testing import CliRunner

from storyflow import jobs
from storyflow.cli import app
from storyflow.draining import Draining
from storyflow.errors import FarmError, InputError, StoreError
from storyflow.events import PromptsWritten, SegmentDone
from storyflow.jobs import follow
from storyflow.jobs.series.keeping import Keeper
from storyflow.jobs.series.kept import lock_of, read_episodes
from storyflow.jobs.series.performing import open_series
from storyflow.jobs.series.ticket import pack, unpack
from storyflow.lockfile import lock_path, read_lock
from storyflow.series.ledger import Ledger
from storyflow.series.orders import Grounds, Where
from storyflow.series.plan import plan_series
from storyflow.series.told import EpisodeEnded, EpisodeTold, SeriesEvent

NOW = datetime(2026, 1, 10, 23, tzinfo=UTC)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    server = FakeServer(tmp_path / "cluster")
    monkeypatch.setattr("storyflow.jobs.on_ray.RayJobs", lambda address: server)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", ADDRESS)
    monkeypatch.setattr(follow, "POLL_SECONDS", 0)
    return server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "show").mkdir()
    return series_in(tmp_path / "show")


class Made:
    """Hears what a job renders."""

    def __init__(self) -> None:
        self.segments: list[tuple[str, str]] = []

    def __call__(self, event: SeriesEvent) -> None:
        match event:
            case EpisodeTold(episode=name, event=SegmentDone(segment=segment, reused=False)):
                self.segments.append((name, segment))


def submitted(file: Path, **options: object) -> str:
    sent = jobs.submit_series(file, **options)  # type: ignore[arg-type]
    assert sent.outcome == "submitted" and sent.job is not None, sent.text
    return sent.job.id


def rendered(cluster: FakeServer, file: Path, **options: object) -> list[tuple[str, str]]:
    """Submit, and do the job: the segments that it rendered."""
    made = Made()
    cluster.run_series(submitted(file, **options), made)
    return sorted(made.segments)


def test_what_is_sent_has_everything_and_its_films_are_those_made_here(
    file: Path, cluster: FakeServer, tmp_path: Path
) -> None:
    """Also pictures of one name, of the bible and of a storyboard: each is found where it was."""
    show = file.parent
    (show / "refs").mkdir()
    (show / "episodes/refs").mkdir(parents=True)
    picture_file(show / "refs/door.png")
    picture_file(show / "episodes/refs/door.png", quadrants()[::-1])
    text = SERIES.replace("ball: a red ball", "ball: {look: a red ball, ref: refs/door.png}")
    file.write_text(text.replace("[e*.yaml]", "[episodes/*.yaml, {file: ../one.yaml, name: own}]"))
    storyboard = (
        "film: Door\nshots:\n- {id: A, dur: 1s, from: refs/door.png, do: '@ball opens it'}\n"
    )
    (show / "episodes/a.yaml").write_text(storyboard)
    (tmp_path / "one.yaml").write_text(EPISODES["e1"])
    outside = Where(allow_outside=True)
    id = submitted(file, **outside)
    package = cluster.folder / id
    assert {path.name for path in package.iterdir()} == {"job.json", "cluster.yaml"}
    here = {e.name: e.render for e in plan_series(Grounds(file, outside), NOW).episodes}
    performance = open_series(cluster._here(id) / "job.json")
    there = {e.name: e.render for e in plan_series(performance.grounds, NOW).episodes}
    assert here == there == {"a": ("A/1",), "own": ("1A/1", "1B/1")}
    film = performance.grounds.film(performance.grounds.listed()[0])
    placed = performance.grounds.order(performance.grounds.listed()[0]).film
    ref = placed.cast["ball"].origin.placed["refs/door.png"].read_bytes()
    assert ref == (show / "refs/door.png").read_bytes()
    assert film.origin.placed["refs/door.png"].read_bytes() != ref


def test_a_series_is_rendered_by_one_job_and_fetched(
    file: Path, cluster: FakeServer, tmp_path: Path
) -> None:
    store = Where(store=str(tmp_path / "store"))
    id = submitted(file, **store)
    again = jobs.submit_series(file, **store)
    assert again.outcome == "running" and again.job is not None and again.job.id == id
    assert f"{id} waits already" in again.text
    assert cluster.run_series(id).outcome == "complete"
    with pytest.raises(InputError, match="storyflow series fetch"):
        jobs.fetch(id)
    assert not (cluster.folder / id / id).exists()
    got = jobs.fetch_series(file, **store)
    renders = file.parent / "renders/series"
    assert got.films == (renders / "e1/film.mp4", renders / "e2/film.mp4")
    assert got.ledger is None and not got.conflicts
    assert [page.suffix for page in got.dailies] == [".html", ".json"]
    assert read_lock(lock_path(file.parent / "e1.yaml")).shots[0].windows
    # What is made here is the same, and there is nothing left to make.
    plan = plan_series(Grounds(file, store), datetime.now(UTC))
    assert {each.state for each in plan.episodes} == {"done"}
    assert jobs.fetch_series(file, **store).films == ()
    assert jobs.submit_series(file, **store).outcome == "done"


def test_the_next_job_goes_on_from_what_the_store_keeps(file: Path, cluster: FakeServer) -> None:
    """Nothing was fetched, the first job's folder is gone, and one episode is new."""
    assert len(rendered(cluster, file)) == 3
    (file.parent / "e3.yaml").write_text("film: Three\nshots: [{id: 3A, dur: 1s, do: '@ball'}]\n")
    cut: list[str] = []

    def tell(event: SeriesEvent) -> None:
        if isinstance(event, EpisodeTold):
            cut.append(event.episode)

    result = cluster.run_series(submitted(file), tell)
    assert {each.name: each.outcome for each in result.episodes} == {
        "e1": "done", "e2": "done", "e3": "complete",
    }  # fmt: skip
    assert set(cut) == {"e3"}
    assert len(jobs.fetch_series(file).films) == 3


def test_what_a_cancelled_job_has_finished_is_not_made_again(
    file: Path, cluster: FakeServer
) -> None:
    file.write_text(SERIES.replace("{cluster", "{at_once: 1, cluster"))
    id, draining = submitted(file), Draining()
    performance = open_series(cluster._here(id) / "job.json")

    def tell(event: SeriesEvent) -> None:
        if isinstance(event, EpisodeEnded):
            draining.wish()

    ended = asyncio.run(performance.work(tell, draining))
    performance.clear()
    cluster.set(id, "stopped")
    assert [each.outcome for each in ended.episodes] == ["complete", "stopped"]
    made = Made()
    result = cluster.run_series(submitted(file), made)
    assert [each.outcome for each in result.episodes] == ["done", "complete"]
    assert made.segments == [("e2", "2A/1")]


def test_a_broken_episode_is_told_here_by_its_own_name_and_stops_no_other(
    file: Path, cluster: FakeServer
) -> None:
    (file.parent / "e1.yaml").write_text("film: One\nshots: [{do: '@bell rolls'}]\n")
    sent = jobs.submit_series(file)
    ((name, why),) = sent.broken
    assert name == "e1" and f"{file.parent / 'e1.yaml'}:2" in why and sent.job is not None
    result = cluster.run_series(sent.job.id)
    assert {each.name: each.outcome for each in result.episodes} == {
        "e1": "broken",
        "e2": "complete",
    }
    assert result.episodes[0].error == why
    done = jobs.submit_series(file)
    assert done.outcome == "done" and "is broken" in done.text


def test_what_failed_for_good_is_left_until_it_is_retried(file: Path, cluster: FakeServer) -> None:
    file.write_text(SERIES.replace("settings: [", "settings: ['slate.fail={1A/1: 9}', "))
    first = cluster.run_series(submitted(file))
    assert first.episodes[0].outcome == "partial"
    assert jobs.submit_series(file).outcome == "done"
    (data,) = (page for page in jobs.fetch_series(file).dailies if page.suffix == ".json")
    again = f"storyflow series submit {file} --retry"
    assert again in data.read_text()
    (file.parent / "e2.yaml").write_text(EPISODES["e1"].replace("1A", "2A").replace("1B", "2B"))
    tried = Made()
    told = cluster.run_series(submitted(file), tried)
    assert [each.outcome for each in told.episodes] == ["partial", "complete"]
    assert {name for name, _ in tried.segments} <= {"e2"}
    last = cluster.run_series(submitted(file, retry=True))
    assert last.episodes[0].failures


def test_the_ledger_of_a_bucket_goes_from_job_to_job(
    file: Path, cluster: FakeServer, tmp_path: Path
) -> None:
    text = SERIES.replace("{cluster", "{budget: {night: {gpu_hours: 1}}, cluster")
    file.write_text(text)
    where = Where(store="memory://jobs/series")
    rendered(cluster, file, **where)
    got = jobs.fetch_series(file, **where)
    assert got.ledger == Grounds(file, where).ledger
    with Ledger.reading(got.ledger) as ledger:
        (first,) = ledger.runs("Shapes")
    (file.parent / "e3.yaml").write_text("film: Three\nshots: [{id: 3A, dur: 1s, do: '@ball'}]\n")
    rendered(cluster, file, **where)
    jobs.fetch_series(file, **where)
    with Ledger.reading(got.ledger) as ledger:
        runs = ledger.runs("Shapes")
    assert runs[0] == first and len(runs) == 2


def test_runs_of_this_machine_are_not_written_over(file: Path, cluster: FakeServer) -> None:
    where = Where(store="memory://jobs/two")
    grounds = Grounds(file, where)
    with Ledger.writing(grounds.ledger) as ledger:
        ledger.end_run(ledger.begin_run("Shapes", "2026-01-09", "USD"), "complete")
    rendered(cluster, file, **where)
    got = jobs.fetch_series(file, **where)
    assert got.ledger == grounds.ledger.with_name("fetched.sqlite")
    with Ledger.reading(grounds.ledger) as ledger:
        assert len(ledger.runs("Shapes")) == 1


def test_nothing_is_submitted_while_the_window_is_closed(file: Path, cluster: FakeServer) -> None:
    file.write_text(SERIES.replace("{cluster", "{window: {from: 22:00, to: 06:00}, cluster"))
    sent = jobs.submit_series(file, clock=lambda: NOW.replace(hour=12))
    assert sent.outcome == "closed" and "2026-01-10 22:00 UTC" in sent.text
    assert not cluster.jobs
    assert jobs.submit_series(file, clock=lambda: NOW).outcome == "submitted"


def test_words_that_a_lost_head_wrote_are_known_to_the_next(
    file: Path, cluster: FakeServer
) -> None:
    performance = open_series(cluster._here(submitted(file)) / "job.json")
    grounds, store = performance.grounds, performance.store
    lock = lock_path(grounds.listed()[0].file)
    keeper = Keeper(store, grounds, performance.ticket, performance.kept, dict(performance.bases))
    with keeper.listening(lambda event: None) as told:
        lock.write_text(lock.read_text().replace("shots:", "# told\nshots:").replace(
            "seed: ", "seed: 1", 1))  # fmt: skip
        told(EpisodeTold("e1", PromptsWritten(1.0)))
    (kept,) = read_episodes(store, grounds.claim, ["e1", "e2"]).values()
    assert lock_of(kept.lock) == read_lock(lock) != lock_of(kept.base)


@pytest.mark.parametrize("spoil", ["version", "store"])
def test_a_job_on_another_store_or_version_is_refused(
    file: Path, cluster: FakeServer, tmp_path: Path, spoil: str
) -> None:
    folder = cluster._here(submitted(file))
    name = "job.json" if spoil == "version" else "cluster.yaml"
    text = (folder / name).read_text()
    if spoil == "version":
        text = text.replace('"version": "', '"version": "9.')
    else:
        text = text.replace(str(file.parent / ".storyflow/store"), str(tmp_path / "other"))
    (folder / name).write_text(text)
    with pytest.raises(FarmError, match=spoil):
        open_series(folder / "job.json")


def test_a_bundle_stays_in_its_folder(tmp_path: Path) -> None:
    pack({"a/b.yaml": b"x"}, tmp_path / "good.zip")
    unpack(tmp_path / "good.zip", tmp_path / "out")
    assert (tmp_path / "out/a/b.yaml").read_bytes() == b"x"
    pack({"../b.yaml": b"x"}, tmp_path / "bad.zip")
    with pytest.raises(StoreError, match="leads out"):
        unpack(tmp_path / "bad.zip", tmp_path / "out")


def test_the_command_is_quiet_and_ends_well_however_often_it_is_called(
    file: Path, cluster: FakeServer
) -> None:
    def call(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["series", *words])
        return done.exit_code, done.output

    code, said = call("submit", str(file))
    assert code == 0 and "submitted series-shapes-" in said and "storyflow series fetch" in said
    code, said = call("submit", str(file))
    assert code == 0 and "waits already" in said and len(cluster.jobs) == 1
    (id,) = cluster.jobs
    assert cluster.commands[id] == ("python", "-m", "storyflow", "perform-series", "job.json")
    cluster.run_series(id)
    code, said = call("submit", str(file))
    assert code == 0 and "everything is rendered; nothing was submitted" in said
    code, said = call("fetch", str(file))
    assert code == 0 and "renders/series/e1/film.mp4" in said


def test_a_series_of_which_nothing_was_made_says_so(file: Path) -> None:
    with pytest.raises(InputError, match="nothing of a submitted series 'Shapes'"):
        jobs.fetch_series(file)
