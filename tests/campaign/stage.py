"""A campaign's films: small storyboards, the command that renders them, what a folder holds."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import storyflow

from .nodes import ENVIRONMENT, WORKERS
from .processes import PATIENCE
from .runs import Order, Run, start

HOOK = Path(__file__).parent / "hook"
ROOT = Path(storyflow.__file__).parent.parent

STORYBOARDS = {
    "slate": """\
film: Pull the plug
shots:
- {id: 1A, dur: 4s, do: a red circle rolls}
- id: 1B
  beats:
  - {dur: 2s, do: a blue star hops}
  - {dur: 2s, do: it turns left}
- {id: 1C, from: prev, dur: 1s, do: it rests}
""",
    "toybox": """\
film: Pull the plug
shots:
- {id: 1A, dur: 1.5s, do: a red circle rolls}
- {id: 1B, dur: 1s, from: prev, do: it rests}
- {id: 1C, dur: 1s, do: a blue star hops}
""",
}

SETTINGS = {
    "slate": (
        "frame=192x112",
        "windows.trained=49",
        "windows.floor=33",
        "slate.delay=0.1",
        "deliver.preset=veryfast",
    ),
    "toybox": ("forcing.steps=2", "windows.floor=21"),
}


@dataclass(frozen=True)
class Artifact:
    """A committed key: the inode of its folder, which tells who committed it, and its content."""

    inode: int
    blobs: frozenset[str]


@dataclass(frozen=True)
class Outcome:
    """What must be the same after every kill: the film's bytes, the lock's, and every segment's
    key and content by name."""

    film: str
    lock: str
    segments: tuple[tuple[str, str, str], ...]


class Stage:
    """One round's folder: storyboard, lock, store, film, logs, and the trace of all changes.

    `settings` override the pipeline's after those of every film.
    """

    def __init__(
        self, work: Path, name: str, pipeline: str, settings: tuple[str, ...] = ()
    ) -> None:
        self.work, self.folder, self.pipeline = work, work / "rounds" / name, pipeline
        self.settings = (*SETTINGS[pipeline], *settings)
        self.folder.mkdir(parents=True)
        self.storyboard.write_text(STORYBOARDS[pipeline])
        self.runs = 0

    @property
    def storyboard(self) -> Path:
        return self.folder / "film.yaml"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def start(self, address: str, *more: str) -> Run:
        """`storyflow render`, the same command each time; its output goes to run-1.log, ...

        `more` are further words of the command line.
        """
        self.runs += 1
        words = ["render", str(self.storyboard), *more]
        words += ["--pipeline", self.pipeline, "--address", address]
        words += ["--store", str(self.store), "--out", str(self.out)]
        if address != "in-process":
            words += ["--workers", str(WORKERS)]
        for setting in self.settings:
            words += ["--set", setting]
        order = Order(tuple(words), self.folder, self.log(), environment(self.work))
        return start(order, forked=address == "in-process" and self.pipeline == "slate")

    def log(self) -> Path:
        """The log of the last run."""
        return self.folder / f"run-{self.runs}.log"

    def said(self) -> str:
        """The last line of the last log."""
        lines = self.log().read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def finish(self, run: Run) -> int:
        """Wait for a run to end; its exit code. Raises TimeoutError."""
        return run.wait(PATIENCE)

    def trace(self, after: int = 0) -> list[dict[str, Any]]:
        """The changes noted so far, without the first `after`."""
        try:
            lines = (self.folder / "trace.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return []
        # A kill may cut the last line short only where it is written in parts, which it isn't.
        return [json.loads(line) for line in lines[after:]]

    def committed(self) -> dict[str, Artifact]:
        """What the store holds now, by key."""
        found = {}
        for done in self.store.glob("artifacts/*/*/done.json"):
            data = json.loads(done.read_bytes())
            blobs = frozenset(blob["sha256"] for blob in data["blobs"])
            found[done.parent.name] = Artifact(done.parent.stat().st_ino, blobs)
        return found

    def outcome(self) -> Outcome:
        """Raises OSError where the film isn't whole."""
        return outcome_of(self.out, self.storyboard.with_name("film.lock.yaml"))


def outcome_of(out: Path, lock: Path) -> Outcome:
    """What is in a film's folder. Raises OSError where the film isn't whole."""
    manifest = json.loads((out / "film.json").read_bytes())
    segments = tuple(
        (segment["name"], segment["key"], segment["digest"])
        for shot in manifest["shots"]
        for segment in shot["segments"]
    )
    return Outcome(_sha256(out / "film.mp4"), _sha256(lock), segments)


def environment(work: Path) -> dict[str, str]:
    """What the films' processes, and those of their Ray, find in their environment."""
    return {
        **os.environ,
        **ENVIRONMENT,
        "KILL_CAMPAIGN": str(work),
        "PYTHONPATH": f"{HOOK}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": "1",
        "XDG_CACHE_HOME": str(work / "cache"),
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
