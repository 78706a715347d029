"""What must hold after a kill, whatever was killed and whenever."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .nodes import WORKERS
from .stage import Artifact, Outcome, Stage

PER_WORKER = 2
"""Segments that a killed worker may lose: one being rendered, one being stored."""


@dataclass(frozen=True)
class Scene:
    """How things stood right after a kill: what was committed, how many changes had been noted,
    the processes that died, and how many of them were workers."""

    committed: dict[str, Artifact]
    changes: int
    killed: frozenset[int]
    workers: int


@dataclass(frozen=True)
class Loss:
    """What a kill cost. `lost` are the names of segments (and prompts) that the killed processes
    had begun and not committed, `again` those of them that were begun anew. `wrong` says what
    should not be."""

    lost: tuple[str, ...]
    again: tuple[str, ...]
    wrong: tuple[str, ...]


def losses(stage: Stage, scenes: Sequence[Scene]) -> Iterator[Loss]:
    """What each kill of a finished round cost, in their order."""
    trace = stage.trace()
    lost_by = [_lost(trace, scene) for scene in scenes]
    known = {key for lost in lost_by for key in lost}
    for scene, lost in zip(scenes, lost_by, strict=True):
        before, after = trace[: scene.changes], trace[scene.changes :]
        ever = {line["key"] for line in _begun(before)}
        again = {line["key"]: line["job"] for line in _begun(after) if line["key"] in ever}
        wrong = [
            f"{name} was committed, and rendered again"
            for key, name in again.items()
            if key in scene.committed
        ]
        wrong += [
            f"{name} was rendered again, though no kill had lost it"
            for key, name in again.items()
            if key not in scene.committed and key not in known
        ]
        if len(lost) > PER_WORKER * scene.workers:
            wrong.append(f"{scene.workers} killed workers lost {len(lost)} segments")
        anew = sorted(name for key, name in again.items() if key in lost)
        yield Loss(tuple(sorted(lost.values())), tuple(anew), tuple(wrong))


def _lost(trace: Sequence[dict[str, Any]], scene: Scene) -> dict[str, str]:
    """By key: what the killed processes had begun before they died, and not committed."""
    lines = _begun(trace[: scene.changes])
    begun = {line["key"]: line["job"] for line in lines if line["pid"] in scene.killed}
    return {key: name for key, name in begun.items() if key not in scene.committed}


def faults(stage: Stage, scenes: Sequence[Scene], undisturbed: Outcome) -> Iterator[str]:
    """What is wrong with the film, the lock and the store of a finished round."""
    yield from _film(stage, undisturbed)
    yield from _store(stage, scenes, undisturbed)
    yield from _commits(stage, scenes)


def workers_in(place: str, victim: str) -> int:
    """How many render workers a kill ends."""
    return 1 if place == "in-process" or victim in ("worker", "node") else WORKERS


def _begun(lines: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (line for line in lines if line["verb"] == "begin" and not line["stopped"])


def _film(stage: Stage, undisturbed: Outcome) -> Iterator[str]:
    try:
        made = stage.outcome()
    except OSError as error:
        yield f"no film: {error}"
        return
    for name in ("film", "lock", "segments"):
        if getattr(made, name) != getattr(undisturbed, name):
            yield f"the {name} differs"
    left = [path.name for path in stage.out.rglob("*.part")]
    if left:
        yield f"left beside the film: {', '.join(left)}"


def _store(stage: Stage, scenes: Sequence[Scene], undisturbed: Outcome) -> Iterator[str]:
    now = stage.committed()
    for scene in scenes:
        for key, artifact in scene.committed.items():
            if now.get(key) != artifact:
                yield f"{key[:8]} was committed before the kill and is another one now"
    expected = {key for _, key, _ in undisturbed.segments}
    if expected - now.keys():
        yield f"{len(expected - now.keys())} keys of the film are not in the store"
    if (stage.store / "damaged").exists():
        yield "something was set aside as damaged"
    for path in stage.store.glob("blobs/*/*"):
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.name:
            yield f"blob {path.name[:8]} does not match its name"


def _commits(stage: Stage, scenes: Sequence[Scene]) -> Iterator[str]:
    """Every key was committed once: its folder is the one that the first who lived put there, or
    one of those who died."""
    died = {pid: scene for scene in scenes for pid in scene.killed}
    attempts: defaultdict[str, list[int]] = defaultdict(list)
    perhaps: defaultdict[str, set[int]] = defaultdict(set)
    for line in stage.trace():
        if line["place"] != "store/artifacts" or "inode" not in line:
            continue
        # What a killed process was noted to begin it may not have done, and a worker whose driver
        # was killed may still do it.
        scene = died.get(line["pid"])
        if scene is None or line["name"] in scene.committed:
            attempts[line["name"]].append(line["inode"])
        else:
            perhaps[line["name"]].add(line["inode"])
    for key, artifact in stage.committed().items():
        made = attempts.get(key, [artifact.inode])
        if artifact.inode != made[0] and artifact.inode not in perhaps[key]:
            yield f"{key[:8]} was committed more than once"
