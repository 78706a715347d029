"""What is counted, and under which names; plain arithmetic over a run's events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from storyflow.events import (
    Event,
    Planned,
    SegmentDone,
    SegmentStarted,
    ShotFailed,
    WorkerLost,
    WorkerReady,
    WorkerReleased,
)

State = Literal["done", "running", "failed", "reused"]
STATES: tuple[State, ...] = ("done", "running", "failed", "reused")

SEGMENTS = "storyflow_segments"
SEGMENT_SECONDS = "storyflow_segment_seconds"
QUEUE_DEPTH = "storyflow_queue_depth"
IDLE_GPUS = "storyflow_idle_gpus"
STORE_BYTES = "storyflow_store_bytes"

HELP = {
    SEGMENTS: "Segments of the film that is being rendered, by state.",
    SEGMENT_SECONDS: "Seconds that a worker took to render a segment.",
    QUEUE_DEPTH: "Segments that are still to be begun.",
    IDLE_GPUS: "GPUs (workers, where there are none) that are held to render and have nothing to.",
    STORE_BYTES: "Bytes of content in the store.",
}

BUCKETS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)
"""Upper bounds of the histogram of seconds: from a toy on a laptop to 14B at 720P."""


@dataclass(frozen=True)
class Figures:
    """How a run stands. `segments` has every state; done ones were rendered by this run."""

    segments: Mapping[State, int]
    queue: int = 0
    idle_gpus: float = 0.0


NOTHING = Figures(dict.fromkeys(STATES, 0))


class Counting:
    """Counts one run's events. A render worker holds `gpus`; one that stores what it rendered is
    busy. Those that encode prompts are not counted: they go before the others come."""

    def __init__(self, gpus: float = 1.0) -> None:
        self._gpus = gpus
        self._planned = self._done = self._reused = self._failed = self._blocked = 0
        self._running: dict[str, str] = {}
        self._workers: set[str] = set()

    def note(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case Planned(segments=segments):
                self._planned = segments
            case WorkerReady(worker=worker, renders=True):
                self._workers.add(worker)
            case WorkerReleased(worker=worker) | WorkerLost(worker=worker):
                self._workers.discard(worker)
                self._running = {s: w for s, w in self._running.items() if w != worker}
            case SegmentStarted(segment=segment, worker=worker):
                self._running[segment] = worker
            case SegmentDone(segment=segment, reused=reused):
                self._running.pop(segment, None)
                self._reused += reused
                self._done += not reused
            case ShotFailed(segment=segment, blocked=blocked):
                self._running.pop(segment, None)
                self._failed += 1
                self._blocked += blocked

    def end(self) -> None:
        """The run is over: nothing runs, nobody waits."""
        self._running.clear()
        self._workers.clear()
        self._planned = 0

    @property
    def figures(self) -> Figures:
        """How it stands now."""
        decided = self._done + self._reused + self._failed + self._blocked
        idle = len(self._workers.difference(self._running.values()))
        return Figures(
            segments={
                "done": self._done,
                "running": len(self._running),
                "failed": self._failed,
                "reused": self._reused,
            },
            queue=max(0, self._planned - decided - len(self._running)),
            idle_gpus=idle * self._gpus,
        )


class Crew(Counting):
    """Counts the workers that several films share; the films' own figures have the segments."""

    @property
    def figures(self) -> Figures:
        """The workers that have nothing to do."""
        return replace(super().figures, segments=NOTHING.segments, queue=0)
