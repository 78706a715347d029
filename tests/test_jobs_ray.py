"""Films as jobs on a separately started Ray: its real job API, with and without tokens."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from films import SMALL, Studio
from media_files import picture_file
from other_node import other_node
from ray_head import Head, ray_head
from test_series_plan import series_in

from storyflow import jobs
from storyflow.errors import InputError
from storyflow.series.orders import Where

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TOKEN = "0123456789abcdef" * 3
FILM = """\
film: Door
shots:
- {id: A, dur: 1s, from: door.png, do: a door opens}
- {id: B, dur: 1s, do: a red circle rolls}
"""


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with ray_head(RAY_AUTH_MODE="disabled") as head:
        yield head


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.chdir(tmp_path)
    picture_file(tmp_path / "door.png")
    return Studio(tmp_path, FILM)


def submit(studio: Studio, head: Head, **options: object) -> jobs.JobHandle:
    options = {**studio.options, "address": head.jobs, "workers": 1, **options}
    return jobs.submit(studio.file, **options)  # type: ignore[arg-type]


def test_a_film_is_submitted_followed_cancelled_submitted_again_and_fetched(
    studio: Studio, head: Head, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    here = studio.render(out=tmp_path / "here", store=tmp_path / "other")
    studio.render(shots=["A"])
    slow = (*SMALL, "slate.delay=600")
    first = submit(studio, head, settings=slow, grace=1)
    assert first.submitted and submit(studio, head, settings=slow).submitted is False
    said = ""
    for piece in jobs.tail(first):
        said += piece
        if "worker-1 ready" in said:
            break
    assert "reuse  A/1" in said
    assert jobs.status(first).state == "running"
    with pytest.raises(InputError, match="--replace"):
        submit(studio, head, settings=(*slow, "deliver.crf=20"))
    assert jobs.cancel(first).state == "cancelled"
    assert jobs.wait(first).exit_code == 143
    with pytest.raises(InputError, match="made no film"):
        jobs.fetch(first)
    second = submit(studio, head)
    assert (second.submitted, second.plan, second.attempt) == (True, first.plan, 2)
    ended = jobs.wait(second)
    assert (ended.state, ended.exit_code) == ("complete", 0), jobs.log(second)
    assert {status.job.id for status in jobs.list_jobs(head.jobs)} == {first.id, second.id}
    assert submit(studio, head).id == second.id
    got = jobs.fetch(studio.file, out=studio.folder / "out")
    assert got.complete and got.film is not None and got.lock is not None
    assert got.film.read_bytes() == (tmp_path / "here/film.mp4").read_bytes()
    assert here.result.complete
    # Where it was rendered, nothing of it stays.
    assert f"{second.id}/out" in jobs.log(second)
    assert "Uploading package" not in capfd.readouterr().err


def test_a_job_that_fails_ends_with_a_renders_exit_code(studio: Studio, head: Head) -> None:
    """A partial film is fetched all the same."""
    job = submit(studio, head, settings=(*SMALL, "slate.fail={B/1: -1}"), name="partial")
    ended = jobs.wait(job)
    assert (ended.state, ended.exit_code) == ("partial", 3), jobs.log(job)
    got = jobs.fetch(job)
    assert not got.complete and got.film is not None and got.film.name == "film.partial.mp4"


def test_a_series_is_one_job_whose_films_are_fetched(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", head.jobs)
    file, where = series_in(tmp_path), Where(store=str(tmp_path / "store"), workers=1)
    sent = jobs.submit_series(file, **where)
    again = jobs.submit_series(file, **where)
    assert sent.job is not None and again.outcome == "running"
    assert again.job is not None and again.job.id == sent.job.id
    ended = jobs.wait(sent.job)
    assert (ended.state, ended.exit_code) == ("complete", 0), jobs.log(sent.job)
    assert "e1: render 1A/1 on worker-1" in jobs.log(sent.job)
    films = jobs.fetch_series(file, **where).films
    assert films == tuple(tmp_path / f"renders/series/{name}/film.mp4" for name in ("e1", "e2"))
    assert jobs.submit_series(file, **where).outcome == "done"


def test_a_worker_on_a_node_with_another_folder_of_that_name_is_refused(
    studio: Studio, head: Head, tmp_path: Path
) -> None:
    """The second node has its own mount of the store's path, as a laptop has its own disk."""
    store = tmp_path / "store"
    store.mkdir()
    with other_node(head, store, "another"):
        cluster = tmp_path / "cluster.yaml"
        cluster.write_text("workers: {count: 1, accelerator: OTHER}\n")
        job = submit(studio, head, cluster=cluster, workers=None, name="elsewhere")
        ended = jobs.wait(job)
        assert (ended.state, ended.exit_code) == ("failed", 5), jobs.log(job)
        assert "is another store than where the film is rendered from" in ended.message
        assert "worker-1 ready" not in jobs.log(job)


def test_a_cluster_with_tokens_wants_one_and_renders(studio: Studio, tmp_path: Path) -> None:
    """By the commands, in processes of their own: Ray reads its token once per process."""
    settings = [text for setting in SMALL for text in ("--set", setting)]
    with ray_head(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN) as head:

        def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "storyflow", *words],
                env={**os.environ, "HOME": str(tmp_path), **environment},
                capture_output=True,
                text=True,
            )

        right = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
        command = ("submit", "film.yaml", "--address", head.jobs, "-p", "slate", *settings,
                   "--store", "store", "--workers", "1", "--wait")  # fmt: skip
        without = run(*command, RAY_AUTH_MODE="disabled")
        assert without.returncode == 5 and "a token is needed" in without.stderr
        wrong = run("status", "--address", head.jobs, **{**right, "RAY_AUTH_TOKEN": TOKEN[::-1]})
        assert wrong.returncode == 5 and "the token is wrong" in wrong.stderr
        made = run(*command, **right)
        assert made.returncode == 0, made.stdout + made.stderr
        assert "render A/1 on " in made.stdout and made.stderr == ""
        fetched = run("fetch", "film", **right)
        assert fetched.returncode == 0 and (tmp_path / "renders/film/film.mp4").is_file()
    # The cluster is gone; what it made is not.
    shutil.rmtree(tmp_path / "renders/film/film.mp4", ignore_errors=True)
    (tmp_path / "renders/film/film.mp4").unlink()
    assert run("fetch", "film", **right).returncode == 0
    assert (tmp_path / "renders/film/film.mp4").is_file()
