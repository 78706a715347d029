"""Listens to a run and shows how it stands, beside the run: in a thread, and never in its way."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from storyflow.cluster import Cluster
from storyflow.errors import StoreError
from storyflow.events import Event, Notice, SegmentDone
from storyflow.farm.address import IN_PROCESS
from storyflow.metrics.figures import Counting, Figures
from storyflow.store.store import Store

Emit = Callable[[Event], None]

PERIOD = 5.0
"""Seconds between two writings of a file."""

STORE_PERIOD = 900.0
"""Seconds between two looks at the store's size: in a bucket a list of all content is asked for."""

GOODBYE = 10.0
"""Seconds that a run's end waits for the last figures to be written."""


class Exporter(Protocol):
    """Where figures are shown. What it raises ends it, not the film."""

    def show(self, figures: Figures) -> None:
        """Take how the run stands; called often, does not wait."""

    def took(self, seconds: float) -> None:
        """Take a segment's rendering time; likewise."""

    def stored(self, size: int) -> None:
        """Take the store's size, in bytes."""

    def publish(self) -> None:
        """Write what was taken; may wait."""

    def close(self) -> None:
        """The run is over."""


@contextmanager
def measured(
    cluster: Cluster,
    film: str,
    store: str,
    emit: Emit,
    *,
    counting: Counting | None = None,
    sized: bool = True,
) -> Iterator[Emit]:
    """Show a film's figures as the cluster file says, while it is rendered into `store`. Yields an
    `emit` that listens.

    Without anything to show them to it is `emit` itself. `sized` shows the store's size, too.
    """
    exporters = exporters_of(cluster, film, store, emit)
    if not exporters:
        yield emit
        return
    counting = counting or Counting(cluster.workers.gpus or 1.0)
    open_store = partial(Store, store, cluster.cache.limit) if sized else None
    meter = Meter(exporters, counting, open_store, emit)
    try:
        yield meter.told
    finally:
        meter.close()


def exporters_of(cluster: Cluster, film: str, store: str, emit: Emit) -> list[Exporter]:
    """Those of the cluster file, and Ray's own on a Ray that runs already.

    One that can't be had is told by `emit` and left out.
    """
    where, found = cluster.metrics, list[Exporter]()
    store = re.sub(r"//[^/@]*@", "//", store)  # it may hold a password
    if cluster.address not in ("local", IN_PROCESS):
        from storyflow.farm.ray_metrics import RayMetrics

        found.append(RayMetrics(film, store))
    try:
        if where.folder is not None:
            from storyflow.metrics.prometheus import TextFile

            found.append(TextFile(Path(where.folder).expanduser(), film, store))
        if where.listen is not None:
            from storyflow.metrics.prometheus import Endpoint

            host, _, port = where.listen.rpartition(":")
            found.append(Endpoint(host.strip("[]"), int(port), film, store))
    except OSError as error:
        emit(Notice(f"the run's metrics can't be shown: {error}"))
    return found


class Meter:
    """Counts a run's events, and has a thread publish them."""

    def __init__(
        self,
        exporters: list[Exporter],
        counting: Counting,
        open_store: Callable[[], Store] | None,
        emit: Emit,
    ) -> None:
        self._exporters, self._counting = exporters, counting
        self._open_store, self._emit = open_store, emit
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._publish, name="metrics", daemon=True)
        self._thread.start()

    def told(self, event: Event) -> None:
        """Take in an event, and pass it on."""
        self._counting.note(event)
        if isinstance(event, SegmentDone) and not event.reused:
            self._each(lambda exporter: exporter.took(event.seconds))
        figures = self._counting.figures
        self._each(lambda exporter: exporter.show(figures))
        self._emit(event)

    def close(self) -> None:
        """Show the end, and wait a moment for it to be written."""
        self._counting.end()
        figures = self._counting.figures
        self._each(lambda exporter: exporter.show(figures))
        self._over.set()
        self._thread.join(GOODBYE)
        self._each(lambda exporter: exporter.close())

    def _publish(self) -> None:
        measure = 0.0
        over = False
        while not over:
            over = self._over.wait(PERIOD if measure else 0.0)
            if over or time.monotonic() >= measure:
                measure = time.monotonic() + STORE_PERIOD
                self._measure()
            self._each(lambda exporter: exporter.publish())

    def _measure(self) -> None:
        if self._open_store is None:
            return
        try:
            size = store_size(self._open_store())
        except StoreError:
            return  # the run meets the same error, and tells it
        self._each(lambda exporter: exporter.stored(size))

    def _each(self, do: Callable[[Exporter], None]) -> None:
        for exporter in tuple(self._exporters):
            try:
                do(exporter)
            except Exception as error:
                if exporter in self._exporters:
                    self._exporters.remove(exporter)
                    self._emit(Notice(f"the run's metrics are no longer shown: {error}"))


def store_size(store: Store) -> int:
    """Bytes of all content in a store; each object is listed, none is read. Raises StoreError."""
    return sum(blob.size for blob in store.place.list("blobs/")) if store.there else 0
