"""Catching a process in the middle of something: it is stopped, looked at again, and only then
killed, so that what the table says about a kill is what was the case."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .aims import MOMENTS, Aim, Change, Writing
from .processes import GLANCE, go_on, parent_of, state_of, stop, waiting, written
from .runs import Run
from .stage import Stage

_HEADER = 4096
"""Bytes below which a film file holds no pictures yet."""


@dataclass(frozen=True)
class Caught:
    """A stopped process and what it was about to do, or doing."""

    pid: int
    doing: str


def catch(aim: Aim, stage: Stage, run: Run) -> Caught | None:
    """Wait for the aim's moment; None if the run ended before it came."""
    moment = MOMENTS[aim.moment]
    if isinstance(moment, Writing):
        return _at_writing(moment, aim.nth, stage, run)
    return _at_change(moment, aim, stage, run)


def set_trap(aim: Aim, stage: Stage) -> None:
    """Before the run: a process stops by itself right before a change."""
    moment = MOMENTS[aim.moment]
    disarm(stage)
    if not isinstance(moment, Change):
        return
    text = json.dumps(
        {
            "id": f"{aim.number}/{aim.nth}",
            "role": _role(aim),
            "verb": moment.verb,
            "place": moment.place,
            "nth": aim.nth,
        }
    )
    part = stage.work / "trap.part"
    part.write_text(text)
    part.replace(stage.work / "trap.json")


def disarm(stage: Stage) -> None:
    """Take the trap away."""
    for name in ("trap.json", "sprung.json"):
        (stage.work / name).unlink(missing_ok=True)


def _role(aim: Aim) -> str:
    """Which process has the moment: on Ray, workers render and the driver cuts."""
    if aim.place == "in-process":
        return "driver"
    if aim.victim == "driver" and aim.moment == "anywhere":
        return "any"
    place = getattr(MOMENTS[aim.moment], "place", "")
    return "driver" if place.startswith("out/") or place == "lock" else "worker"


def _at_change(moment: Change, aim: Aim, stage: Stage, run: Run) -> Caught | None:
    sprung = stage.work / "sprung.json"
    for _ in waiting(glance=10 * GLANCE):
        if sprung.exists():
            line = json.loads(sprung.read_text())
            pid = int(line["pid"])
            for _ in waiting():
                if state_of(pid) == "T":
                    return Caught(pid, f"{line['verb']} {line['place']}/{line['name'][:24]}")
        if run.poll() is not None:
            return None
    raise TimeoutError(f"neither {moment} nor the end of the run came; see {stage.log()}")


def _at_writing(moment: Writing, nth: int, stage: Stage, run: Run) -> Caught | None:
    seen: list[Path] = []
    for _ in waiting(glance=GLANCE):
        if run.poll() is not None:
            return None
        for pid, path in _written_now(moment, stage, run.pid):
            if path not in seen:
                seen.append(path)
            if seen.index(path) + 1 < nth or not _holds(moment, pid, path):
                continue
            if stop(pid):
                if _holds(moment, pid, path):
                    count = written(pid, path) or 0
                    return Caught(pid, f"{path.relative_to(stage.folder)} at {count} bytes")
                go_on(pid)
    raise TimeoutError(f"neither {moment} nor the end of the run came; see {stage.log()}")


def _written_now(moment: Writing, stage: Stage, driver: int) -> Iterator[tuple[int, Path]]:
    """Processes and the files of this kind that they may be writing."""
    if moment.where == "segment":
        for folder in stage.store.glob("tmp/*-job-*"):
            yield int(folder.name.partition("-")[0]), folder / "frames.mov"
    else:
        for path in stage.out.glob(".film.mp4.part"):
            yield driver, path


def _holds(moment: Writing, pid: int, path: Path) -> bool:
    if parent_of(pid) == 0:
        return False  # a killed worker's folder
    count = written(pid, path)
    if moment.encoded:
        return count is not None and count > _HEADER
    # A file that is whole is closed, so its size tells, too.
    return path.parent.is_dir() and not count and not (path.exists() and path.stat().st_size)
