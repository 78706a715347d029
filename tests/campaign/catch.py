"""Catching a process in the middle of something. It stops itself right there and can't go on, so
that what the table says about a kill is what was the case, on a machine of any speed."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from .aims import MOMENTS, Aim
from .processes import stopped, waiting
from .runs import Run
from .stage import Stage


@dataclass(frozen=True)
class Caught:
    """A stopped process and what it was about to do, or doing."""

    pid: int
    doing: str


def set_trap(aim: Aim, stage: Stage) -> None:
    """Let the process that comes to the aim's moment first stop itself there."""
    moment = MOMENTS[aim.moment]
    disarm(stage)
    trap = {
        # A process that has read of an earlier trap can't take this one.
        "id": secrets.token_hex(8),
        "role": _role(aim),
        "verb": moment.verb,
        "place": moment.place,
        "nth": aim.nth,
    }
    part = stage.work / "trap.part"
    part.write_text(json.dumps(trap))
    part.replace(_trap(stage))


def disarm(stage: Stage) -> None:
    """Take the trap away."""
    _trap(stage).unlink(missing_ok=True)
    for note in stage.work.glob("sprung-*"):
        note.unlink()


def catch(stage: Stage, run: Run) -> Caught | None:
    """Wait until a process is in the trap; None if the run ended before."""
    sprung = stage.work / f"sprung-{json.loads(_trap(stage).read_text())['id']}.json"
    for _ in waiting():
        over = run.poll() is not None
        if sprung.exists():
            line = json.loads(sprung.read_text())
            pid = int(line["pid"])
            for _ in waiting():
                if stopped(pid):
                    return Caught(pid, f"{line['verb']} {line['place']}/{line['name'][:40]}")
            raise TimeoutError(f"process {pid} does not stop")
        if over:
            return None
    raise TimeoutError(f"neither the trap nor the end of the run came; see {stage.log()}")


def _trap(stage: Stage) -> Path:
    return stage.work / "trap.json"


def _role(aim: Aim) -> str:
    """Which process has the moment: on Ray, workers render and the driver cuts."""
    if aim.place == "in-process":
        return "driver"
    if aim.victim == "driver" and aim.moment == "anywhere":
        return "any"
    place = MOMENTS[aim.moment].place
    return "driver" if place.startswith("out/") or place == "lock" else "worker"
