"""An engine that pretends, for actors: it answers, refuses, dies and leaves children as scripted.

`model` in its settings is a folder: what each start did is noted there, and what the next is to do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from storyflow.errors import ModelError
from storyflow.prompts.engines.settings import EngineSettings
from storyflow.prompts.model import Answer, Question, Refusal

PATIENCE = 120.0
"""Seconds that an answer may take to arrive on a busy machine."""


class FakeEngine:
    """Dies after as many answers as the file `die` says, once for each of its lines, when the file
    `received` has as many lines as there were answers. Hangs likewise by the file `hang`."""

    def __init__(self, settings: EngineSettings) -> None:
        self._folder = Path(settings.model)
        self._child: subprocess.Popen[bytes] | None = None

    def setup(self) -> None:
        if (self._folder / "broken").exists():
            raise ModelError("no weights in this folder", cure="name another")
        child = "import time; time.sleep(3600)"
        self._child = subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
        self._note("started", f"{os.getpid()} {self._child.pid}")

    def answers(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer | Refusal]]:
        script = self._folder / "die"
        lines = script.read_text().split() if script.exists() else []
        left = int(lines[0]) if lines else None
        pauses = self._folder / "hang"
        lives = pauses.read_text().split() if pauses.exists() else []
        good = int(lives[0]) if lives else None
        for place in reversed(range(len(questions))):
            if left == 0:
                script.write_text("\n".join(lines[1:]))
                self._wait_until_received()
                os.kill(os.getpid(), signal.SIGKILL)
            if good == 0:
                pauses.write_text("\n".join(lives[1:]))
                self._wait_until_received()
                self._note("hanging", str(os.getpid()))
                threading.Event().wait()
            good = None if good is None else good - 1
            question = questions[place]
            self._note("asked", question.user)
            clip = question.clip
            seen = "" if clip is None else f" {clip.frames.shape} {int(clip.frames[0, 0, 0, 0])}"
            said = f"{question.user}!{seen}"
            yield place, Refusal("no") if question.user == "refuse" else Answer(said, True)
            left = None if left is None else left - 1

    def _wait_until_received(self) -> None:
        """What was answered is on its way for a while, and lost with the process that sends it."""
        end = time.monotonic() + PATIENCE
        while len(noted(self._folder, "received")) < len(noted(self._folder, "asked")):
            if time.monotonic() > end:
                return
            time.sleep(0.05)

    def close(self) -> None:
        self._note("closed", str(os.getpid()))

    def _note(self, name: str, line: str) -> None:
        with (self._folder / name).open("a") as file:
            file.write(line + "\n")


def noted(folder: Path, name: str) -> list[str]:
    """What the engines of a folder did."""
    file = folder / name
    return file.read_text().splitlines() if file.exists() else []
