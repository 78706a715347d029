"""A cluster in memory: keeps jobs as Ray's job server does, and renders them when it is told to."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from storyflow.draining import Draining
from storyflow.errors import FarmError, StoryflowError
from storyflow.events import Result
from storyflow.jobs.perform import open_job
from storyflow.jobs.series.performing import open_series
from storyflow.jobs.server import JobExists, Phase, ServerJob
from storyflow.series.told import SeriesResult, Tell

ADDRESS = "http://head:8265"


class FakeServer:
    """Implements `JobServer`. Nothing runs until `run`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs: dict[str, ServerJob] = {}
        self.commands: dict[str, tuple[str, ...]] = {}
        self.graces: dict[str, int] = {}
        self.stopped: list[str] = []
        self.silent = 0
        self.taken: set[str] = set()

    def submit(
        self,
        id: str,
        command: Sequence[str],
        folder: Path,
        labels: Mapping[str, str],
        *,
        grace: int,
    ) -> None:
        if id in self.jobs or id in self.taken:
            raise JobExists(id)
        shutil.rmtree(self.folder / id, ignore_errors=True)
        shutil.copytree(folder, self.folder / id)
        self.commands[id] = tuple(command)
        self.graces[id] = grace
        self.jobs[id] = ServerJob(id, "pending", dict(labels), started=1000 + len(self.jobs))

    def find(self, id: str) -> ServerJob | None:
        if self.silent:
            self.silent -= 1
            raise FarmError("no answer")
        return self.jobs.get(id)

    def list(self) -> tuple[ServerJob, ...]:
        return (*self.jobs.values(), ServerJob("raysubmit_other", "running"))

    def stop(self, id: str) -> None:
        self.stopped.append(id)
        self.set(id, "stopped")

    def log(self, id: str) -> str:
        return f"log of {id}\n"

    def tail(self, id: str) -> Iterator[str]:
        yield from self.log(id).split()

    def set(self, id: str, phase: Phase, code: int | None = None, message: str = "") -> None:
        """Let the cluster say this of a job from now on."""
        job = replace(self.jobs[id], phase=phase, exit_code=code, message=message, ended=5000)
        self.jobs[id] = job

    def run(self, id: str) -> Result | None:
        """Render a job in this process as its command would; None where it was refused."""
        folder = self._here(id)
        try:
            performance = open_job(folder / "job.json")
        except StoryflowError as error:
            self.set(id, "failed", error.exit_code, f"failed, last logs:\n{error}")
            return None
        result = performance.start().result()
        performance.publish(result)
        self.set(id, "failed" if result.exit_code else "succeeded", result.exit_code)
        return result

    def run_series(self, id: str, tell: Tell = lambda event: None) -> SeriesResult:
        """The same for the job of a series, whose folder then goes."""
        performance = open_series(self._here(id) / "job.json")
        result = asyncio.run(performance.work(tell, Draining()))
        performance.clear()
        self.set(id, "failed" if result.exit_code else "succeeded", result.exit_code)
        return result

    def _here(self, id: str) -> Path:
        folder = self.folder / id
        cluster = folder / "cluster.yaml"
        cluster.write_text(cluster.read_text().replace("address: auto", "address: in-process"))
        return folder
