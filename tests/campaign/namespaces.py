"""A film over machines that only a network joins: `python -m tests.campaign.namespaces --work DIR`.

Four network namespaces on a switch: an S3 server, a Ray head that also runs the film's own process,
and two nodes that render. In the middle of a segment one node's cable is pulled, for a while or for
good. The film must be equal in every byte to one that was rendered in one process, and every key
stored once. Needs the right to make network namespaces (root); without it the first line says so,
and the exit code is 2. Otherwise 0 if every film came out equal, 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ..s3_server import ENVIRONMENT as S3
from .bucket import BUCKET
from .network import Network, Refused
from .nodes import ENVIRONMENT as RAY
from .processes import segment_of, waiting
from .stage import ROOT, Outcome, outcome_of

STORE, HEAD, NODES = "store", "head", ("east", "west")
PORTS = {"ray": 6379, "store": 9000}
AGENTS = {
    "dashboard-agent-grpc": 7001,
    "metrics-export": 7002,
    "dashboard-agent-listen": 7003,
    "runtime-env-agent": 7004,
    "node-manager": 7005,
    "object-manager": 7006,
}
"""Each machine has its own ports, so all use the same."""

STORE_BYTES = 80 << 20

HEALTH = {
    # A node that does not answer is given up after 15 seconds, so that a cut of a few seconds is
    # only a delay and a longer one the loss of a machine.
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
    # Here the machines' addresses are their own.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
}

SETTINGS = {
    "slate": (
        "frame=192x112",
        "windows.trained=49",
        "windows.floor=33",
        "slate.delay=4",
        "deliver.preset=veryfast",
    ),
    "toybox": ("forcing.steps=4", "windows.floor=21"),
}

SERIES = """\
series: By network
bible: {{pipeline: {pipeline}, settings: {settings}, cast: {{star: a blue star}}}}
episodes: [film.yaml]
rules: {{cluster: cluster.yaml, out: out}}
"""
FILM = """\
film: Pull the cable
shots:
- {id: 1A, dur: 2s, do: a red circle rolls}
- id: 1B
  beats:
  - {dur: 1.5s, do: '@star hops'}
  - {dur: 1.5s, do: it turns left}
- {id: 1C, from: prev, dur: 1s, do: it rests}
- {id: 1D, dur: 2s, do: '@star sleeps'}
- {id: 1E, from: prev, dur: 1s, do: it wakes}
"""

ATTEMPTS = 4

PATIENCE = 600
"""Seconds after which something counts as hanging."""


@dataclass(frozen=True)
class Cut:
    """How long the cable is out, in seconds; for good without a number.

    After a moment nothing was lost but time, after half a minute the node counts as dead.
    """

    name: str
    seconds: float | None


CUTS = (Cut("a moment", 5.0), Cut("half a minute", 30.0), Cut("for good", None))


@dataclass(frozen=True)
class Told:
    """One film: what was being rendered where when the cable was pulled, and what came of it."""

    cut: str
    doing: str
    lost: int
    seconds: float
    keys: int
    wrong: tuple[str, ...]


class Machines:
    """Ray and S3 server in a network of their own. `close` takes all of it away."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.network = Network((STORE, HEAD, *NODES))
        self._folder = tempfile.TemporaryDirectory(prefix="sf", ignore_cleanup_errors=True)
        self._bucket: subprocess.Popen[bytes] | None = None
        try:
            self._serve()
            self._ray(HEAD, "--head", "--num-cpus=0", f"--port={PORTS['ray']}",
                      "--include-dashboard=false", f"--temp-dir={self._folder.name}")  # fmt: skip
            for name in NODES:
                self.join(name)
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """HOST:PORT of the Ray."""
        return f"{self.network.address(HEAD)}:{PORTS['ray']}"

    def join(self, name: str) -> None:
        """Start a node's Ray and wait until it is up."""
        self._ray(name, f"--address={self.address}", "--num-cpus=1")

    def environment(self, name: str) -> dict[str, str]:
        """What a machine's processes find in theirs; each has a cache of its own."""
        kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        return {
            **kept,
            **RAY,
            **HEALTH,
            **S3,
            "AWS_ENDPOINT_URL": f"http://{self.network.address(STORE)}:{PORTS['store']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "XDG_CACHE_HOME": str(self.work / f"cache-{name}"),
        }

    def rendering(self, name: str) -> str:
        """The segment that a worker on this machine has in hand, empty if none."""
        found = (segment_of(pid) for pid in self.network.processes(name))
        return next(filter(None, found), "")

    def stored(self) -> list[str]:
        """End the S3 server; the paths of all that it took, once for each time."""
        assert self._bucket is not None and self._bucket.stdin is not None
        self._bucket.stdin.close()
        self._bucket.wait(60)
        self._bucket = None
        return list(json.loads((self.work / "stored.json").read_text()))

    def close(self) -> None:
        """End everything."""
        self.network.close()
        self._folder.cleanup()

    def _serve(self) -> None:
        words = [sys.executable, "-m", "tests.campaign.bucket", self.network.address(STORE)]
        words += [str(PORTS["store"]), str(self.work / "stored.json")]
        log = self.work / "store.log"
        log.unlink(missing_ok=True)
        self._bucket = self.network.start(STORE, words, log, self.environment(STORE))
        _until(log, "up", self._bucket)

    def _ray(self, name: str, *words: str) -> None:
        log = self.work / f"{name}.log"
        log.unlink(missing_ok=True)
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *words]
        command += [f"--node-ip-address={self.network.address(name)}", "--disable-usage-stats"]
        command += [
            "--min-worker-port=0",
            "--max-worker-port=0",
            f"--object-store-memory={80 << 20}",
        ]
        command += [f"--{agent}-port={port}" for agent, port in AGENTS.items()]
        for attempt in range(1, ATTEMPTS + 1):
            process = self.network.start(name, command, log, self.environment(name))
            try:
                return _until(log, "Ray runtime started", process)
            except RuntimeError:
                # Ray gives a node half a minute to start, which a busy machine may exceed.
                if attempt == ATTEMPTS:
                    raise
                self.network.end(name)
                log.unlink()


def _until(log: Path, words: str, process: subprocess.Popen[bytes]) -> None:
    for _ in waiting(PATIENCE):
        if log.exists() and words in log.read_text(errors="replace"):
            return
        if process.poll() is not None:
            break
    raise RuntimeError(f"what should be up is not:\n{log.read_text(errors='replace')[-2000:]}")


class Film:
    """One episode of a series in a folder of its own, rendered by a process of its own."""

    def __init__(self, folder: Path, pipeline: str, cluster: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        settings = json.dumps(SETTINGS[pipeline])
        (folder / "film.yaml").write_text(FILM)
        (folder / "cluster.yaml").write_text(cluster)
        (folder / "series.yaml").write_text(SERIES.format(pipeline=pipeline, settings=settings))

    @property
    def command(self) -> list[str]:
        """What renders it."""
        series = str(self.folder / "series.yaml")
        return [sys.executable, "-m", "storyflow", "series", "render", series]

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def outcome(self) -> Outcome:
        """Raises OSError where the film isn't whole."""
        return outcome_of(self.folder / "out/film", self.folder / "film.lock.yaml")


def undisturbed(work: Path, pipeline: str) -> Outcome:
    """The same episode in one process, on this machine's disk."""
    film = Film(work / "undisturbed", pipeline, "address: in-process\nstore: store\n")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(work / "cache")}
    with film.log.open("wb") as log:
        done = subprocess.run(
            film.command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    if done.returncode:
        raise RuntimeError(f"the undisturbed film ended with {done.returncode}: see {film.log}")
    return film.outcome()


def play(work: Path, pipeline: str, cut: Cut, expected: Outcome) -> Told:
    """One film, and one cable."""
    machines = Machines(work)
    try:
        film = Film(
            work / "film",
            pipeline,
            f"address: {machines.address}\nstore: s3://{BUCKET}/store\nworkers: {{count: 2}}\n",
        )
        run = machines.network.start(HEAD, film.command, film.log, machines.environment(HEAD))
        doing = _caught(machines, run)
        began = time.monotonic()
        if doing:
            machines.network.cut(NODES[0])
            if cut.seconds is not None:
                _wait(run, cut.seconds)
                machines.network.mend(NODES[0])
        code = run.wait(PATIENCE)
        seconds = time.monotonic() - began
        stored = machines.stored()
        return _judged(film, cut, doing, seconds, code, stored, expected)
    finally:
        machines.close()


def _caught(machines: Machines, run: subprocess.Popen[bytes]) -> str:
    """Wait until the first node has a segment in hand, and one is stored."""
    for _ in waiting(PATIENCE):
        doing = machines.rendering(NODES[0])
        if doing or run.poll() is not None:
            return doing
        time.sleep(0.05)
    return ""


def _wait(run: subprocess.Popen[bytes], seconds: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        run.wait(seconds)


def _judged(
    film: Film,
    cut: Cut,
    doing: str,
    seconds: float,
    code: int,
    stored: list[str],
    expected: Outcome,
) -> Told:
    said = film.log.read_text(errors="replace")
    wrong = [] if code == 0 else [f"ended with {code}: {said.strip().splitlines()[-1:]}"]
    if not doing:
        wrong.append("the node was never seen to render")
    if code == 0:
        made = film.outcome()
        wrong += [
            f"the {name} differs"
            for name in ("film", "lock", "segments")
            if getattr(made, name) != getattr(expected, name)
        ]
    done = Counter(Path(path).parent.name for path in stored if path.endswith("/done.json"))
    wrong += [f"{key} was stored {times} times" for key, times in done.items() if times > 1]
    wrong += [f"{key} was not stored" for _, key, _ in expected.segments if key not in done]
    return Told(cut.name, doing, said.count(" lost"), seconds, len(done), tuple(wrong))


def main() -> int:
    """Play every cut so many times."""
    words = argparse.ArgumentParser(prog="python -m tests.campaign.namespaces", description=__doc__)
    words.add_argument("--work", type=Path, required=True, help="folder for films and logs")
    words.add_argument("--rounds", type=int, default=1, help="of each cut [1]")
    words.add_argument("--pipeline", choices=[*SETTINGS], default="slate")
    words.add_argument("--only", default="", help="only cuts with this text in their name")
    given = words.parse_args()
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    console = Console()
    try:
        Network(()).close()
    except Refused as refused:
        line = f"network namespaces can't be made here ({refused}); run it as root"
        console.print(line, soft_wrap=True)
        return 2
    expected = undisturbed(work, given.pipeline)
    wrong = 0
    for number in range(given.rounds):
        for cut in CUTS:
            if given.only not in cut.name:
                continue
            told = play(work, given.pipeline, cut, expected)
            wrong += bool(told.wrong)
            outcome = "; ".join(told.wrong) or "equal"
            console.print(
                f"{number + 1} {given.pipeline}, {told.cut}, while {told.doing} was rendered: "
                f"{told.lost} workers lost, {told.keys} keys stored, whole after "
                f"{told.seconds:.1f} s, {outcome}",
                highlight=False,
                soft_wrap=True,
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
