"""Figures of a series for Prometheus: those of its films, and of the workers that these share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from storyflow.cluster import Cluster
from storyflow.events import (
    Event,
    Notice,
    SegmentDone,
    SegmentStarted,
    ShotFailed,
    WorkerLost,
    WorkerReady,
    WorkerReleased,
)
from storyflow.metrics.figures import Crew
from storyflow.metrics.measured import Emit, measured
from storyflow.series.told import SeriesNotice, Tell


class Metered:
    """Shows each film as `SERIES: EPISODE`, and under the series' own title how many of the workers
    have nothing to do: that is nothing of a single film's."""

    def __init__(self, cluster: Cluster, title: str, store: str, tell: Tell) -> None:
        self._cluster, self._title, self._store, self._tell = cluster, title, store, tell
        self._note: Emit | None = None

    @contextmanager
    def crew(self) -> Iterator[None]:
        """Show the workers and the store for the block."""

        def told(event: Event) -> None:
            if isinstance(event, Notice):
                self._tell(SeriesNotice(event.text))

        crew = Crew(self._cluster.workers.gpus or 1.0)
        with measured(self._cluster, self._title, self._store, told, counting=crew) as note:
            self._note = None if note is told else note
            try:
                yield
            finally:
                self._note = None

    @contextmanager
    def film(self, episode: str, emit: Emit) -> Iterator[Emit]:
        """Show a film for the block. Yields an `emit` that listens."""
        label = f"{self._title}: {episode}"
        with measured(self._cluster, label, self._store, emit, sized=False) as count:

            def told(event: Event) -> None:
                if self._note is not None and not isinstance(event, Notice):
                    self._note(_of(episode, event))
                idle = isinstance(event, WorkerReady | WorkerReleased)
                (emit if idle else count)(event)

            yield told


def _of(episode: str, event: Event) -> Event:
    """The event, with its segment told apart from another film's of the same name."""
    match event:
        case SegmentStarted(segment=name):
            return replace(event, segment=f"{episode} {name}")
        case SegmentDone(segment=name):
            # Its seconds are the film's.
            return replace(event, segment=f"{episode} {name}", reused=True)
        case ShotFailed(segment=name) | WorkerLost(segment=str(name)):
            return replace(event, segment=f"{episode} {name}")
        case _:
            return event
