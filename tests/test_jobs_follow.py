"""Following a job on a cluster in memory: states, exit codes, names, and silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from films import Studio
from job_server import FakeServer
from test_jobs_submit import cluster, studio, submit
from typer.testing import CliRunner

from storyflow import jobs
from storyflow.cli import app
from storyflow.errors import FarmError, InputError
from storyflow.jobs import follow

__all__ = ["cluster", "studio"]

LOG = "Job entrypoint command failed with exit code 5, last available logs:\nstarting\nno disk\n"
ENDINGS = {
    "succeeded": (0, "", ("complete", 0, "")),
    "failed 1": (1, LOG, ("failed", 1, "no disk")),
    "failed 3": (3, "", ("partial", 3, "no reason is known")),
    "failed 4": (4, LOG, ("failed", 4, "no disk")),
    "failed 5": (5, LOG, ("failed", 5, "no disk")),
    "failed 127": (127, "sh: python: not found", ("failed", 5, "sh: python: not found")),
    "failed by SIGKILL": (-9, LOG, ("failed", 5, "no disk")),
    "failed by SIGTERM": (-15, LOG, ("cancelled", 143, "no disk")),
    "failed unknown": (None, "", ("failed", 5, "no reason is known")),
    "stopped": (None, "", ("cancelled", 143, "stopped by a signal or by `storyflow cancel`")),
}


@pytest.mark.parametrize("case", ENDINGS)
def test_a_job_ends_as_a_render_would(case: str, studio: Studio, cluster: FakeServer) -> None:
    code, message, expected = ENDINGS[case]
    job = submit(studio, out=None)
    cluster.set(job.id, case.split()[0], code, message)  # type: ignore[arg-type]
    now = jobs.wait(job)
    assert (now.state, now.exit_code, now.message) == expected
    assert not now.live and now.ended is not None
    ran = CliRunner().invoke(app, ["wait", str(studio.file)])
    assert ran.exit_code == expected[1]


def test_a_job_is_found_by_file_name_and_id(
    studio: Studio, cluster: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(studio, out=None)
    for asked in (studio.file, str(studio.file), "film", "Film", job.id):
        found = jobs.find_job(asked)
        assert (found.id, found.storyboard, found.folder) == (
            job.id, studio.file, Path("renders/film"),
        )  # fmt: skip
    with pytest.raises(InputError, match="no job 'swan'"):
        jobs.find_job("swan", address=job.address)
    with pytest.raises(InputError, match="no storyboard"):
        jobs.find_job("swan.yaml")


def test_the_newest_of_a_films_jobs_is_meant(studio: Studio, cluster: FakeServer) -> None:
    first = submit(studio, out=None)
    cluster.set(first.id, "failed", 5)
    second = submit(studio, out=None)
    assert jobs.find_job("film").id == second.id
    assert jobs.find_job(first.id).id == first.id
    assert [s.job.id for s in jobs.list_jobs()] == [second.id, first.id]


def test_elsewhere_a_job_is_found_by_the_address_alone(
    studio: Studio, cluster: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(studio)
    monkeypatch.chdir(cluster.folder)
    found = jobs.find_job("film", address=job.address)
    assert (found.id, found.store, found.storyboard) == (job.id, job.store, None)
    assert [s.job.id for s in jobs.list_jobs(job.address)] == [job.id]
    with pytest.raises(InputError, match="address"):
        jobs.list_jobs()


def test_waiting_tells_each_change_once_and_outlasts_silence(
    studio: Studio, cluster: FakeServer
) -> None:
    job = submit(studio)
    told: list[str] = []
    phases = iter(["pending", "running", "running", "succeeded"])
    find = cluster.find

    def turning(id: str) -> object:
        found = find(id)
        if (phase := next(phases, None)) is not None:
            cluster.set(id, phase, 0)  # type: ignore[arg-type]
        return found

    cluster.find = turning  # type: ignore[method-assign, assignment]
    now = jobs.wait(job, told=lambda status: told.append(status.state))
    assert (now.state, told) == ("complete", ["waiting", "running", "complete"])
    cluster.silent = follow.PATIENCE
    assert follow.until_ended(cluster, job.id).phase == "succeeded"
    cluster.silent = follow.PATIENCE + 1
    with pytest.raises(FarmError, match="no answer"):
        follow.until_ended(cluster, job.id)


def test_a_cluster_that_forgot_the_job_is_told(studio: Studio, cluster: FakeServer) -> None:
    job = submit(studio)
    cluster.jobs.clear()
    with pytest.raises(FarmError, match="forgotten"):
        follow.until_ended(cluster, job.id)
    for verb in (jobs.log, jobs.cancel, lambda job: list(jobs.tail(job))):
        with pytest.raises(InputError, match="no longer knows"):
            verb(job)
    with pytest.raises(InputError, match="submit the film again"):
        jobs.status(job)


def test_cancelling_stops_what_lives_and_leaves_the_rest(
    studio: Studio, cluster: FakeServer
) -> None:
    job = submit(studio)
    assert jobs.cancel(job).state == "cancelled"
    assert jobs.cancel(job).exit_code == 143
    assert cluster.stopped == [job.id]


def test_the_commands_follow_a_film_without_its_address(
    studio: Studio, cluster: FakeServer
) -> None:
    run = CliRunner()
    base = ["submit", str(studio.file), "-p", "slate", "--set", "frame=96x64", "--store", "store"]
    made = run.invoke(app, [*base, "--address", "http://head:8265"])
    assert made.exit_code == 0 and "submitted film-" in made.output
    id = next(iter(cluster.jobs))
    again = run.invoke(app, [*base, "--address", "http://head:8265"])
    assert again.exit_code == 0 and f"{id} is waiting already" in again.output
    assert id in run.invoke(app, ["status"]).output
    assert f'"id": "{id}"' in run.invoke(app, ["status", "film", "--json"]).output
    assert run.invoke(app, ["logs", "film"]).output == f"log of {id}\n"
    assert run.invoke(app, ["logs", "film", "-f"]).output == f"logof{id}"
    assert run.invoke(app, ["cancel", "film"]).output == f"{id}: cancelled\n"
    assert run.invoke(app, ["wait", "film"]).exit_code == 143
    cluster.set(id, "failed", 3, "1C is missing")
    ended = run.invoke(app, ["wait", "film"])
    assert ended.exit_code == 3 and f"{id}: partial: 1C is missing" in ended.output
    assert "1C is missing" in run.invoke(app, ["status"]).output
