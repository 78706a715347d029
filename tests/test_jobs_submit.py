"""Submitting, on a cluster in memory: one film is one job, whatever is submitted how often."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from films import SMALL, Studio
from job_server import ADDRESS, FakeServer
from media_files import picture_file

import storyflow
from storyflow import jobs
from storyflow.cluster import Cluster, load_cluster
from storyflow.cutlist import cut_path, read_cut
from storyflow.doctor.findings import Diagnosis, Finding
from storyflow.errors import BudgetError, FarmError, InputError, StoryboardError
from storyflow.film import prepare
from storyflow.jobs import follow, references
from storyflow.jobs.perform import open_job
from storyflow.jobs.server import ServerJob
from storyflow.jobs.ticket import Ticket, read_ticket
from storyflow.lockfile import lock_path, read_lock
from storyflow.pipeline import Profile, load_profile
from storyflow.store.store import Store

TINY = "film: Tiny\nshots:\n- {id: A, dur: 1s, do: a}\n"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    server = FakeServer(tmp_path / "cluster")
    monkeypatch.setattr("storyflow.jobs.on_ray.RayJobs", lambda address: server)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    monkeypatch.setattr(follow, "POLL_SECONDS", 0)
    monkeypatch.chdir(tmp_path)
    return server


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    studio = Studio(tmp_path, TINY)
    studio.options["address"] = ADDRESS
    return studio


def submit(studio: Studio, **options: object) -> jobs.JobHandle:
    return jobs.submit(studio.file, **{**studio.options, **options})  # type: ignore[arg-type]


def test_a_film_is_sent_and_waits_for_the_cluster(studio: Studio, cluster: FakeServer) -> None:
    job = submit(studio)
    assert job.submitted and (job.film, job.attempt) == ("film", 1)
    assert job.id == f"film-{job.plan}-1"
    assert cluster.commands[job.id] == ("python", "-m", "storyflow", "perform", "job.json")
    assert cluster.graces[job.id] == 30
    state = jobs.status(job)
    assert (state.state, state.exit_code, state.title) == ("waiting", None, "Tiny")
    assert state.origin == str(studio.file) and "@" in state.sender


def test_what_is_sent_is_small_and_whole(studio: Studio, cluster: FakeServer) -> None:
    job = submit(studio, settings=(*SMALL, "slate.steps=9"), shots=["A"], workers=3,
                 max_gpu_hours=2.0, one_class=True)  # fmt: skip
    folder = cluster.folder / job.id
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {"job.json", "cluster.yaml", "profile/slate.yaml", "film/film.yaml",
                     "film/film.lock.yaml"}  # fmt: skip
    assert (folder / "film/film.yaml").read_bytes() == studio.file.read_bytes()
    _, sent = load_profile(folder / "profile/slate.yaml")
    assert sent == load_profile("slate", (*SMALL, "slate.steps=9"))[1]
    where = storyflow.cluster.load_cluster(folder / "cluster.yaml")
    assert (where.address, where.workers.count) == ("auto", 3)
    assert where.store == str((studio.folder / "store").absolute())
    ticket = read_ticket(folder / "job.json", Ticket)
    assert (ticket.shots, ticket.max_gpu_hours, ticket.one_class) == (("A",), 2.0, True)


@pytest.mark.parametrize("name", ["toybox", "slate", "skyreels-v2-df-1.3b-540p"])
def test_a_profile_is_sent_as_it_is(name: str, tmp_path: Path) -> None:
    from storyflow.jobs.ticket import yaml_text

    profile = load_profile(name)[1]
    file = tmp_path / "sent.yaml"
    file.write_text(yaml_text(profile))
    assert load_profile(file)[1] == profile


def test_the_lock_is_pinned_here_and_sent(studio: Studio, cluster: FakeServer) -> None:
    job = submit(studio)
    here = read_lock(lock_path(studio.file))
    assert [shot.id for shot in here.shots] == ["A"] and here.shots[0].takes
    assert read_lock(cluster.folder / job.id / "film/film.lock.yaml") == here


def test_the_cut_list_is_sent_and_followed_there(studio: Studio, cluster: FakeServer) -> None:
    cut = 'storyflow: 1\nfilm: Tiny\nfps: "24"\ncut:\n- {shot: A, in: 3, out: 9}\n'
    cut_path(studio.file).write_text(cut)
    job = submit(studio)
    sent = read_cut(cut_path(cluster.folder / job.id / "film/film.yaml"))
    assert sent == read_cut(cut_path(studio.file))
    there = prepare(open_job(cluster.folder / job.id / "job.json").order()).plan
    assert there.frames == 6
    without = submit(studio, edit=False, name="uncut")
    assert without.plan != job.plan
    assert not cut_path(cluster.folder / without.id / "film/film.yaml").exists()


STANDS = {"pending": None, "running": None}


@pytest.mark.parametrize("phase", STANDS)
def test_a_living_attempt_is_found_not_made_again(
    studio: Studio, cluster: FakeServer, phase: str
) -> None:
    first = submit(studio)
    cluster.set(first.id, phase)  # type: ignore[arg-type]
    again = submit(studio)
    assert again == replace(first, submitted=False)
    assert len(cluster.jobs) == 1


@pytest.mark.parametrize(("phase", "code"), [("failed", 5), ("failed", 3), ("stopped", None)])
def test_an_attempt_that_did_not_end_well_is_followed_by_the_next(
    studio: Studio, cluster: FakeServer, phase: str, code: int | None
) -> None:
    first = submit(studio)
    cluster.set(first.id, phase, code)  # type: ignore[arg-type]
    second = submit(studio)
    assert second.submitted and second.attempt == 2 and second.plan == first.plan


def test_a_complete_film_is_not_made_again_as_long_as_the_store_has_it(
    studio: Studio, cluster: FakeServer
) -> None:
    first = submit(studio)
    result = cluster.run(first.id)
    assert result is not None and result.complete
    assert submit(studio) == replace(first, submitted=False)
    # A cluster that was made anew has forgotten it; the store hasn't.
    cluster.jobs.clear()
    assert submit(studio) == replace(first, submitted=False)
    assert jobs.status(first).state == "complete"
    # Its film collected: it is made again, under an id that neither side has used.
    Store(first.store).discard(f"film-{first.id}")
    assert submit(studio).submitted


def test_a_partial_film_is_tried_again(studio: Studio, cluster: FakeServer) -> None:
    first = submit(studio, settings=(*SMALL, "slate.fail={A/1: -1}"))
    result = cluster.run(first.id)
    assert result is not None and result.exit_code == 3
    state = jobs.status(first)
    assert (state.state, state.exit_code) == ("partial", 3)
    cluster.jobs.clear()
    second = submit(studio)
    assert (second.submitted, second.attempt) == (True, 2)


def test_two_who_submit_at_once_get_one_job(
    studio: Studio, cluster: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other's arrives between the look and the submission."""
    listed = cluster.list
    other: list[jobs.JobHandle] = []

    def list_then_race() -> tuple[ServerJob, ...]:
        found = listed()
        monkeypatch.setattr(cluster, "list", listed)
        other.append(submit(studio))
        return found

    monkeypatch.setattr(cluster, "list", list_then_race)
    mine = submit(studio)
    assert mine == replace(other[0], submitted=False)
    assert len(cluster.jobs) == 1


def test_an_id_that_nobody_can_have_ends_in_words(studio: Studio, cluster: FakeServer) -> None:
    job = submit(studio)
    cluster.jobs.clear()
    cluster.taken.add(job.id)
    with pytest.raises(FarmError, match="--name"):
        submit(studio)


def test_a_changed_storyboard_waits_for_a_word(studio: Studio, cluster: FakeServer) -> None:
    first = submit(studio)
    studio.edit("do: a}", "do: b}")
    with pytest.raises(InputError) as refused:
        submit(studio)
    assert first.id in str(refused.value) and "--replace" in str(refused.value)
    assert "--name" in str(refused.value) and not cluster.stopped
    second = submit(studio, replace_running=True)
    assert cluster.stopped == [first.id] and cluster.jobs[first.id].phase == "stopped"
    assert second.submitted and second.plan != first.plan and second.attempt == 1


def test_a_changed_storyboard_follows_an_ended_job_without_a_word(
    studio: Studio, cluster: FakeServer
) -> None:
    first = submit(studio)
    cluster.set(first.id, "stopped")
    studio.edit("do: a}", "do: b}")
    assert submit(studio).submitted and not cluster.stopped


def test_another_name_is_another_film(studio: Studio, cluster: FakeServer) -> None:
    submit(studio)
    studio.edit("do: a}", "do: b}")
    other = submit(studio, name="Second version", out=studio.folder / "second")
    assert other.submitted and other.film == "second-version" and not cluster.stopped


def test_references_go_by_hash_through_the_store(studio: Studio, cluster: FakeServer) -> None:
    (studio.folder / "refs").mkdir()
    picture = picture_file(studio.folder / "refs/door.png")
    studio.write("film: F\ncast:\n  k: {look: a man, ref: refs/door.png}\nshots:\n"
                 "- {id: A, dur: 1s, from: refs/door.png, to: ./refs/door.png, do: '@k waits'}\n"
                 "- {id: B, dur: 1s, from: A, do: b}\n")  # fmt: skip
    job = submit(studio)
    ticket = json.loads((cluster.folder / job.id / "job.json").read_text())
    assert [r["text"] for r in ticket["references"]] == ["refs/door.png", "./refs/door.png"]
    (sha256,) = {r["sha256"] for r in ticket["references"]}
    store = Store(job.store)
    stored = store.find(f"file-{sha256}")
    assert stored is not None and stored.kind == "file"
    assert store.path(stored, "content").read_bytes() == picture.read_bytes()
    sent = sum(p.stat().st_size for p in (cluster.folder / job.id).rglob("*") if p.is_file())
    assert sent < 8000 < picture.stat().st_size + 8000


def test_a_file_that_changes_while_it_is_sent_is_told(
    studio: Studio, cluster: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = picture_file(studio.folder / "door.png")
    studio.write("film: F\nshots:\n- {id: A, from: door.png, dur: 1s, do: a}\n")
    named = references.named

    def changing(film: storyflow.Film) -> object:
        with picture.open("ab") as file:
            file.write(b"more")
        return named(film)

    monkeypatch.setattr(references, "named", changing)
    with pytest.raises(InputError, match="changed while it was put into the store"):
        submit(studio)
    assert not cluster.jobs


def test_a_film_that_can_not_be_planned_is_refused_here(
    studio: Studio, cluster: FakeServer
) -> None:
    studio.write("film: F\nshots:\n- {id: A, from: missing.png, do: a}\n")
    with pytest.raises(StoryboardError):
        submit(studio)
    studio.write(TINY)
    with pytest.raises(InputError, match="no shot 'Z'"):
        submit(studio, shots=["Z"])
    assert not cluster.jobs


def test_a_film_that_would_take_too_much_is_refused_here(
    studio: Studio, cluster: FakeServer
) -> None:
    priced = Cluster(price=3600.0)
    studio.render(address=None, cluster=Cluster(address="in-process"), settings=(*SMALL,
                  "slate.delay=0.2"))  # fmt: skip
    studio.edit("do: a}", "do: b}")
    with pytest.raises(BudgetError, match="limit"):
        submit(studio, cluster=priced, max_cost=0.0)
    assert not cluster.jobs


def test_a_film_made_in_python_is_sent_too(studio: Studio, cluster: FakeServer) -> None:
    film = storyflow.Film(film="Made here", shots=[{"do": "a swan", "dur": "1s"}])
    job = jobs.submit(film, **studio.options)
    assert job.film == "made-here" and job.storyboard is None
    result = cluster.run(job.id)
    assert result is not None and result.complete
    assert jobs.fetch(job).complete
    assert read_lock(studio.folder / "out/film.lock.yaml").shots[0].windows


ADDRESSES = {
    "the option": ({"address": "http://a:1/"}, None, "http://a:1"),
    "before the cluster file": ({"address": "http://a:1", "cluster": Cluster(jobs="http://b:2")},
                                None, "http://a:1"),
    "the cluster file": ({"cluster": Cluster(jobs="http://b:2")}, "http://c:3", "http://b:2"),
    "the environment": ({}, "https://c:3", "https://c:3"),
}  # fmt: skip


@pytest.mark.parametrize("case", ADDRESSES)
def test_the_address_comes_from(
    case: str, studio: Studio, cluster: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, environment, expected = ADDRESSES[case]
    del studio.options["address"]
    if environment is not None:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", environment)
    assert submit(studio, **options).address == expected


@pytest.mark.parametrize(
    ("address", "words"),
    [(None, "its address is not known"), ("ray://head:10001", "not the URL"), ("auto", "8265")],
)
def test_no_address_and_another_kind_are_told(
    address: str | None, words: str, studio: Studio, cluster: FakeServer
) -> None:
    with pytest.raises(InputError, match=f"(?i){words}"):
        submit(studio, address=address)


def test_a_job_has_its_priority(studio: Studio, cluster: FakeServer) -> None:
    job = submit(studio, workers=2, priority=3)
    sent = load_cluster(cluster.folder / job.id / "cluster.yaml")
    assert (sent.workers.count, sent.workers.weight) == (2, 3.0)
    assert not submit(studio, priority=5).submitted  # the same film, however urgent


@pytest.mark.parametrize("priority", [0, -1, 2000])
def test_a_priority_outside_of_its_range_is_refused(
    priority: float, studio: Studio, cluster: FakeServer
) -> None:
    with pytest.raises(storyflow.ProfileError, match=r"workers\.weight"):
        submit(studio, priority=priority)
    with pytest.raises(storyflow.ProfileError, match=r"workers\.weight"):
        storyflow.plan(studio.file, priority=priority)


@pytest.mark.parametrize("doctor", [True, False])
def test_a_job_examines_its_cluster_once_unless_told_not_to(
    studio: Studio, cluster: FakeServer, monkeypatch: pytest.MonkeyPatch, doctor: bool
) -> None:
    """What may go wrong is told; what will ends the job before anything is loaded."""
    full = Finding("error", "disk", "no room on /mnt/store", "gpu-7", "0.1 GB", "free some space")
    slow = Finding("warning", "store-slow", "the store answers slowly", "gpu-8")
    visits: list[str] = []

    def examine(where: Cluster, store: str, profiles: list[Profile]) -> tuple[Diagnosis, ...]:
        visits.append(store)
        return (Diagnosis(where.address, "slate", store, (), (full, slow)),)

    monkeypatch.setattr("storyflow.jobs.perform.examine_before", examine)
    job = submit(studio, doctor=doctor)
    performance = open_job(cluster.folder / job.id / "job.json")
    told: list[str] = []
    if not doctor:
        performance.examine(told.append)
        assert not visits and not told
        return
    with pytest.raises(FarmError, match=r"^gpu-7: no room on /mnt/store, got 0.1 GB; free some"):
        performance.examine(told.append)
    assert told == [str(slow)] and visits == [str((studio.folder / "store").absolute())]


def test_an_episode_is_not_submitted_without_its_series(
    studio: Studio, cluster: FakeServer
) -> None:
    with pytest.raises(InputError, match="storyflow series submit"):
        submit(studio, series="series.yaml")
