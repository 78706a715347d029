"""The client of Ray's job API: what it sends, what it makes of answers, and its errors in words."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from storyflow.errors import FarmError, InputError
from storyflow.jobs import on_ray
from storyflow.jobs.on_ray import RayJobs
from storyflow.jobs.server import JobExists

JobSubmissionClient = pytest.importorskip("ray.job_submission").JobSubmissionClient


class AuthenticationError(Exception):
    """Ray's, by name."""


class ClientOSError(Exception):
    """aiohttp's, by name."""


def job(phase: str = "RUNNING", **more: object) -> SimpleNamespace:
    fields: dict[str, object] = {
        "submission_id": "film-1", "status": SimpleNamespace(value=phase), "metadata": None,
        "driver_exit_code": None, "message": None, "start_time": 1, "end_time": None,
    }  # fmt: skip
    return SimpleNamespace(**{**fields, **more})


class Client:
    """Stands in for Ray's, at its border; `fail` is raised by every call."""

    def __init__(self) -> None:
        self.sent: dict[str, object] = {}
        self.fail: Exception | None = None
        self.submissions = self.unready = 0
        self.tails: list[list[str | Exception]] = []

    def submit_job(self, **sent: object) -> None:
        self.sent = sent
        self.submissions += 1
        if self.unready:
            self.unready -= 1
            raise RuntimeError("status code 500: No available agent to submit job, try later.")
        self._maybe()

    def get_job_info(self, id: str) -> SimpleNamespace:
        self._maybe()
        return job()

    def list_jobs(self) -> list[SimpleNamespace]:
        self._maybe()
        return [job(), job(submission_id=None)]

    async def tail_job_logs(self, id: str) -> AsyncIterator[str]:
        for piece in self.tails.pop(0):
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def _maybe(self) -> None:
        if self.fail is not None:
            raise self.fail


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", lambda address: client)
    monkeypatch.setattr(on_ray, "RECONNECT_SECONDS", 0)
    return client


def test_a_command_is_sent_with_its_folder_and_every_word_quoted(
    client: Client, tmp_path: Path
) -> None:
    RayJobs("http://h:1").submit("film-1", ("py thon", "-m", "$x"), tmp_path, {"a": "b"}, grace=9)
    assert client.sent == {
        "entrypoint": "'py thon' -m '$x'",
        "submission_id": "film-1",
        "runtime_env": {
            "working_dir": str(tmp_path),
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "9"},
        },
        "metadata": {"a": "b"},
    }


def test_a_folder_that_the_job_api_does_not_take_is_refused_here(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "PACKAGE_BYTES", 4 << 20)
    with (tmp_path / "film.lock.yaml").open("wb") as lock:
        lock.truncate(4 << 20)
    with pytest.raises(InputError, match="are 4 MiB, the job API takes less than 4"):
        RayJobs("http://h:1").submit("film-1", ("python",), tmp_path, {}, grace=9)
    assert not client.sent


def test_only_jobs_that_were_submitted_count(client: Client) -> None:
    (found,) = RayJobs("http://h:1").list()
    assert (found.id, found.phase, found.labels, found.message) == ("film-1", "running", {}, "")


ERRORS = {
    "no token": (AuthenticationError("Authentication failed: Unauthorized: Missing"),
                 FarmError, "a token is needed; set RAY_AUTH_MODE=token"),
    "wrong token": (AuthenticationError("Authentication failed: Forbidden: Invalid token"),
                    FarmError, "the token is wrong"),
    "used id": (RuntimeError("status code 500: ... Job with submission_id f already exists. x"),
                JobExists, "already exists"),
    "no connection": (ConnectionError("Failed to connect to Ray at address: http://h:1."),
                      FarmError, "no Ray job API answers at http://h:1 "),
    "lost connection": (ClientOSError(""), FarmError, "no Ray job API answers at http://h:1 "),
    "anything": (RuntimeError("Traceback\n  long\nValueError: runtime_env"),
                 FarmError, r"failed \(RuntimeError: ValueError: runtime_env\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_errors_come_back_as_ours(case: str, client: Client, tmp_path: Path) -> None:
    client.fail, kind, words = ERRORS[case]
    with pytest.raises(kind, match=words):
        RayJobs("http://h:1").submit("film-1", ("python",), tmp_path, {}, grace=9)


@pytest.mark.parametrize("unready", [2, 999])
def test_a_cluster_that_has_just_been_started_is_asked_again(
    unready: int, client: Client, tmp_path: Path
) -> None:
    client.unready = unready
    server = RayJobs("http://h:1")
    if unready == 2:
        server.submit("film-1", ("python",), tmp_path, {}, grace=9)
        assert client.submissions == 3
        return
    with pytest.raises(FarmError, match="no node of the cluster at http://h:1 takes jobs"):
        server.submit("film-1", ("python",), tmp_path, {}, grace=9)
    assert client.submissions == on_ray.AGENT_TRIES + 1


def test_an_unknown_job_is_none(client: Client) -> None:
    client.fail = RuntimeError("Request failed with status code 404: Job x does not exist.")
    assert RayJobs("http://h:1").find("x") is None


def test_a_lost_log_connection_goes_on_where_it_was(client: Client) -> None:
    lost = RuntimeError("WebSocket connection closed unexpectedly with close code 1006")
    client.tails = [["one\n", "two\n", lost], [lost], ["one\ntwo\nth", "ree\n"]]
    assert "".join(RayJobs("http://h:1").tail("film-1")) == "one\ntwo\nthree\n"


def test_the_given_address_counts_not_the_environments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray's client lets its variables win over what it is given."""
    seen: list[str | None] = []

    class Seeing:
        def __init__(self, address: str) -> None:
            seen.extend([address, os.environ.get("RAY_ADDRESS")])

    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", Seeing)
    monkeypatch.setenv("RAY_ADDRESS", "http://other:1")
    RayJobs("http://h:1")
    assert seen == ["http://h:1", None]
    assert os.environ["RAY_ADDRESS"] == "http://other:1"


def test_the_clients_methods_are_rays_own() -> None:
    for name in ("submit_job", "get_job_info", "list_jobs", "stop_job", "get_job_logs",
                 "tail_job_logs"):  # fmt: skip
        assert callable(getattr(JobSubmissionClient, name))
