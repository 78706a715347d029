"""Ray's job API: the client's calls, its errors made ours.

The client ships with Ray; it speaks HTTP and starts nothing here. It reads RAY_AUTH_MODE and
RAY_AUTH_TOKEN (or ~/.ray/auth_token) by itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from storyflow.errors import FarmError, InputError
from storyflow.jobs.server import JobExists, Phase, ServerJob

T = TypeVar("T")

PACKAGE_BYTES = 100 << 20
"""The job API takes no larger folder."""

RECONNECT_SECONDS = 2.0
"""Between a lost log connection, or a cluster that isn't ready, and the next try."""

AGENT_TRIES = 30
"""How often a cluster is asked whose nodes can't take jobs yet: one that has just been started."""

_STOP_SECONDS = "RAY_JOB_STOP_WAIT_TIME_S"
_ADDRESS_VARIABLES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
_TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
"""They tell of every upload, on stderr, as if something were wrong."""

_ENVIRONMENT = threading.Lock()


class RayJobs:
    """Implements `JobServer`. Raises FarmError where no job API answers."""

    def __init__(self, address: str) -> None:
        self.address = address
        with self._told(), _chosen(address):
            from ray.job_submission import JobSubmissionClient

            for name in _TALKATIVE:
                logging.getLogger(name).setLevel(logging.WARNING)
            self._client: Any = JobSubmissionClient(address)

    def submit(
        self,
        id: str,
        command: Sequence[str],
        folder: Path,
        labels: Mapping[str, str],
        *,
        grace: int,
    ) -> None:
        """Upload the folder, run the command in it on the head."""
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if size >= PACKAGE_BYTES:
            raise InputError(
                f"storyboard, lock and profile of {id} are {size >> 20} MiB, the job API takes "
                f"less than {PACKAGE_BYTES >> 20}",
                cure="divide the film",
            )
        environment = {"working_dir": str(folder), "env_vars": {_STOP_SECONDS: str(grace)}}
        for last in (*(False,) * AGENT_TRIES, True):
            try:
                with self._told():
                    self._client.submit_job(
                        # Ray hands the text to a shell, so every word is quoted.
                        entrypoint=shlex.join(command),
                        submission_id=id,
                        runtime_env=environment,
                        metadata=dict(labels),
                    )
                return
            except _NoAgent as error:
                if last:
                    raise FarmError(
                        f"no node of the cluster at {self.address} takes jobs ({error})",
                        cure="look at the cluster's dashboard, then run the same command again",
                    ) from error
                time.sleep(RECONNECT_SECONDS)

    def find(self, id: str) -> ServerJob | None:
        """Ask for one job."""
        try:
            return _server_job(self._ask(self._client.get_job_info, id))
        except _Unknown:
            return None

    def list(self) -> tuple[ServerJob, ...]:
        """Ask for all jobs; Ray keeps them until its head ends."""
        found = self._ask(self._client.list_jobs)
        return tuple(_server_job(details) for details in found if details.submission_id)

    def stop(self, id: str) -> None:
        """SIGTERM to the command and what it started; SIGKILL after its grace."""
        self._ask(self._client.stop_job, id)

    def log(self, id: str) -> str:
        """Standard output and error, as one text."""
        return cast(str, self._ask(self._client.get_job_logs, id))

    def tail(self, id: str) -> Iterator[str]:
        """Follow the log over a websocket. A lost connection is made again while the job lives."""
        shown = 0
        while True:
            try:
                position = 0
                for piece in self._pieces(id):
                    position += len(piece)
                    if position > shown:
                        yield piece[-(position - shown) :]
                        shown = position
                return
            except FarmError:
                job = self.find(id)
                if job is None or job.phase not in ("pending", "running"):
                    raise
                time.sleep(RECONNECT_SECONDS)

    def _pieces(self, id: str) -> Iterator[str]:
        with asyncio.Runner() as runner:
            pieces = self._client.tail_job_logs(id)
            try:
                while True:
                    with self._told():
                        piece = runner.run(_next(pieces))
                    if piece is None:
                        return
                    yield piece
            finally:
                runner.run(pieces.aclose())

    def _ask(self, call: Callable[..., T], *arguments: object) -> T:
        with self._told():
            return call(*arguments)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turns the client's errors into FarmError, and unknown and used ids into our own."""
        try:
            yield
        except ImportError as error:
            raise FarmError(
                f"Ray's job client can't be loaded ({error})",
                cure="install ray[default]",
            ) from error
        except (FarmError, InputError, _Unknown, _NoAgent, JobExists):
            raise
        except Exception as error:
            raise _translated(error, self.address) from error


class _NoAgent(Exception):
    """No node of the cluster is ready to take jobs."""


class _Unknown(Exception):
    """The server has no such job."""


@contextmanager
def _chosen(address: str) -> Iterator[None]:
    """Ray's variables win over an address that is given; here they don't."""
    with _ENVIRONMENT:
        hidden = {name: os.environ.pop(name, None) for name in _ADDRESS_VARIABLES}
        try:
            yield
        finally:
            os.environ.update({name: value for name, value in hidden.items() if value is not None})


async def _next(pieces: Any) -> str | None:
    return cast("str | None", await anext(pieces, None))


def _server_job(details: Any) -> ServerJob:
    return ServerJob(
        id=details.submission_id,
        phase=cast(Phase, str(details.status.value).lower()),
        labels=dict(details.metadata or {}),
        exit_code=details.driver_exit_code,
        message=details.message or "",
        started=details.start_time,
        ended=details.end_time,
    )


def _translated(error: Exception, address: str) -> Exception:
    text = str(error)
    kind = type(error).__name__
    if kind == "AuthenticationError" or "401" in text or "403" in text:
        return FarmError(
            f"Ray at {address} refuses the request: {_reason(text)}",
            cure="set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to the cluster's token",
        )
    if "already exists" in text:
        return JobExists(text)
    if "No available agent" in text:
        return _NoAgent(_brief(text))
    if "status code 404" in text or "does not exist" in text:
        return _Unknown(text)
    if isinstance(error, OSError) or kind.startswith(("Client", "WSServer")):
        return FarmError(
            f"no Ray job API answers at {address} ({_brief(text) or kind})",
            cure="check that the cluster runs; the address is its dashboard's, http://HEAD:8265",
        )
    return FarmError(
        f"Ray's job API at {address} failed ({kind}: {_brief(text)})",
        cure="look at the cluster's dashboard, then run the same command again",
    )


def _reason(text: str) -> str:
    wrong = "Invalid" in text or "403" in text
    return "the token is wrong" if wrong else "a token is needed"


def _brief(text: str) -> str:
    """The last line of an error that Ray fills pages with."""
    lines = [line.strip() for line in text.splitlines() if line.strip(' ".')]
    brief = lines[-1] if lines else ""
    return brief if len(brief) <= 300 else brief[:299] + "…"
