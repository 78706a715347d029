"""A submitted film and its words: who writes them where, and what is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from films import Studio
from job_server import ADDRESS, FakeServer
from test_prompts_faithful import Desk, Say, dies
from test_prompts_lock import retelling

from storyflow import jobs
from storyflow.film import prepare
from storyflow.jobs import follow
from storyflow.jobs.identity import plan_id
from storyflow.lockfile import lock_path, read_lock
from storyflow.ordering import order
from storyflow.pipeline import load_profile
from storyflow.prompts.model import EngineDied

TINY = "film: Tiny\nshots:\n- {id: A, dur: 1s, do: waves break}\n"
SERVER = ("prompts.enhancer=http://127.0.0.1:9/v1", "prompts.language.model=served")
VLLM = ("prompts.enhancer=vllm", "prompts.language.model=./model")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    server = FakeServer(tmp_path / "cluster")
    monkeypatch.setattr("storyflow.jobs.on_ray.RayJobs", lambda address: server)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    monkeypatch.setattr(follow, "POLL_SECONDS", 0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    return server


def submit(folder: Path, monkeypatch: pytest.MonkeyPatch, say: Say, **options: object) -> Path:
    """Submit a film on the toybox, with a scripted model; the folder that was sent."""
    monkeypatch.setattr("storyflow.farm.language.ProfileWriters", lambda *_: Desk(say))
    studio = Studio(folder, TINY)
    given = {**studio.options, "address": ADDRESS, "pipeline": "toybox", **options}
    given["settings"] = tuple(given["settings"])  # type: ignore[arg-type]
    job = jobs.submit(studio.file, **given)  # type: ignore[arg-type]
    return folder / "cluster" / job.id


def texts(sent: Path, profile: str) -> list[str]:
    """The prompts in the lock that was sent."""
    (shot,) = read_lock(lock_path(sent / "film/film.yaml")).shots
    return [prompt.text for prompt in shot.prompts_for(profile)]


def test_the_composers_words_are_sent(
    tmp_path: Path, cluster: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = submit(tmp_path, monkeypatch, dies, settings=[])
    assert texts(sent, "composer") == ["Waves break."]
    assert load_profile(sent / "profile/toybox.yaml")[1] == load_profile("toybox")[1]


def test_a_servers_words_are_written_where_its_key_is(
    tmp_path: Path, cluster: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = submit(tmp_path, monkeypatch, retelling, settings=SERVER)
    assert texts(sent, "served") == ["Waves break. The lighting is soft light."]


def test_nothing_is_submitted_when_the_server_is_gone(
    tmp_path: Path, cluster: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineDied):
        submit(tmp_path, monkeypatch, dies, settings=SERVER)
    assert not cluster.jobs


def test_a_model_on_the_cluster_writes_there_or_nothing_is_rendered(
    tmp_path: Path, cluster: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = submit(tmp_path, monkeypatch, dies, settings=VLLM)
    assert texts(sent, "./model") == []
    _, profile = load_profile(sent / "profile/toybox.yaml")
    assert (profile.prompts.on_failure, profile.prompts.profile) == ("stop", "./model")
    assert profile.prompts.language.model == str(tmp_path / "model")


def test_films_whose_words_different_models_will_write_are_different_jobs(
    tmp_path: Path, cluster: FakeServer
) -> None:
    studio = Studio(tmp_path, TINY)
    ids = set()
    for settings in ((), VLLM, (*VLLM, "prompts.language.seed=1")):
        what = order(studio.file, pipeline="toybox", settings=settings)
        ids.add(plan_id(prepare(what).plan, what.profile.deliver, None))
    assert len(ids) == 3
