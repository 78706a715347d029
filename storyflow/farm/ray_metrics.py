"""Figures of a run on a Ray that runs already: Ray's own metrics show them, as `ray_storyflow_…`.

Ray adds labels of its own (node, session, worker), so ours are few.
"""

from __future__ import annotations

import sys
from typing import Any

from storyflow.metrics.figures import (
    BUCKETS,
    HELP,
    IDLE_GPUS,
    QUEUE_DEPTH,
    SEGMENT_SECONDS,
    SEGMENTS,
    STORE_BYTES,
    Figures,
)


class RayMetrics:
    """Implements `Exporter`. Before this process is connected to Ray nothing is shown."""

    def __init__(self, film: str, store: str) -> None:
        self._film, self._store = {"film": film}, {"store": store}
        self._made: dict[str, Any] = {}

    def show(self, figures: Figures) -> None:
        if not self._ready():
            return
        for state, number in figures.segments.items():
            self._made[SEGMENTS].set(number, {**self._film, "state": state})
        self._made[QUEUE_DEPTH].set(figures.queue, self._film)
        self._made[IDLE_GPUS].set(figures.idle_gpus, self._film)

    def took(self, seconds: float) -> None:
        if self._ready():
            self._made[SEGMENT_SECONDS].observe(seconds, self._film)

    def stored(self, size: int) -> None:
        if self._ready():
            self._made[STORE_BYTES].set(size, self._store)

    def publish(self) -> None:
        """Ray collects by itself."""

    def close(self) -> None:
        """Ray forgets what this process showed when it ends."""

    def _ready(self) -> bool:
        # Never the first to import Ray: a run may need it later, with other settings.
        ray: Any = sys.modules.get("ray")
        if ray is None or not ray.is_initialized():
            return False
        if not self._made:
            from ray.util.metrics import Gauge, Histogram

            for name, tags in (
                (SEGMENTS, ("film", "state")),
                (QUEUE_DEPTH, ("film",)),
                (IDLE_GPUS, ("film",)),
                (STORE_BYTES, ("store",)),
            ):
                self._made[name] = Gauge(name, HELP[name], tag_keys=tags)
            self._made[SEGMENT_SECONDS] = Histogram(
                SEGMENT_SECONDS, HELP[SEGMENT_SECONDS], boundaries=[*BUCKETS], tag_keys=("film",)
            )
        return True
