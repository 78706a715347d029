"""Figures for Prometheus: a text file for node_exporter's collector, or an address to ask."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, Histogram, start_http_server
from prometheus_client.exposition import generate_latest

from storyflow.metrics.figures import (
    BUCKETS,
    HELP,
    IDLE_GPUS,
    QUEUE_DEPTH,
    SEGMENT_SECONDS,
    SEGMENTS,
    STATES,
    STORE_BYTES,
    Figures,
)


class Board:
    """The metrics of one process or file, by film; any thread may set them."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._segments = Gauge(SEGMENTS, HELP[SEGMENTS], ("film", "state"), registry=registry)
        self._seconds = Histogram(
            SEGMENT_SECONDS, HELP[SEGMENT_SECONDS], ("film",), registry=registry, buckets=BUCKETS
        )
        self._queue = Gauge(QUEUE_DEPTH, HELP[QUEUE_DEPTH], ("film",), registry=registry)
        self._idle = Gauge(IDLE_GPUS, HELP[IDLE_GPUS], ("film",), registry=registry)
        self._bytes = Gauge(STORE_BYTES, HELP[STORE_BYTES], ("store",), registry=registry)

    def show(self, film: str, figures: Figures) -> None:
        """Set a film's figures."""
        for state in STATES:
            self._segments.labels(film, state).set(figures.segments[state])
        self._queue.labels(film).set(figures.queue)
        self._idle.labels(film).set(figures.idle_gpus)

    def took(self, film: str, seconds: float) -> None:
        """A segment was rendered."""
        self._seconds.labels(film).observe(seconds)

    def stored(self, store: str, size: int) -> None:
        """So many bytes are in a store."""
        self._bytes.labels(store).set(size)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)


class TextFile:
    """Implements `Exporter`: FOLDER/storyflow-FILM.prom, replaced whole at each `publish`."""

    def __init__(self, folder: Path, film: str, store: str) -> None:
        self._film, self._store = film, store
        name = re.sub(r"[^\w-]+", "-", film.lower()).strip("-")[:80] or "film"
        self.path = folder / f"storyflow-{name}.prom"
        self._board = Board()
        folder.mkdir(parents=True, exist_ok=True)

    def show(self, figures: Figures) -> None:
        self._board.show(self._film, figures)

    def took(self, seconds: float) -> None:
        self._board.took(self._film, seconds)

    def stored(self, size: int) -> None:
        self._board.stored(self._store, size)

    def publish(self) -> None:
        # The collector reads *.prom, and may come at any moment.
        aside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            aside.write_bytes(self._board.text())
            aside.replace(self.path)
        finally:
            aside.unlink(missing_ok=True)

    def close(self) -> None:
        """The file stays, with the last figures."""


class Endpoint:
    """Implements `Exporter`: http://HOST:PORT/metrics, of all films that this process renders.

    Raises OSError where the address is taken.
    """

    def __init__(self, host: str, port: int, film: str, store: str) -> None:
        self._film, self._store = film, store
        self._served = _join(host, port)

    @property
    def port(self) -> int:
        """The port that is listened on, where any was asked for."""
        return int(self._served.server.server_port)

    def show(self, figures: Figures) -> None:
        self._served.board.show(self._film, figures)

    def took(self, seconds: float) -> None:
        self._served.board.took(self._film, seconds)

    def stored(self, size: int) -> None:
        self._served.board.stored(self._store, size)

    def publish(self) -> None:
        """Whoever asks gets what is known then."""

    def close(self) -> None:
        _leave(self._served)


class _Served:
    def __init__(self, place: tuple[str, int]) -> None:
        self.place, self.board, self.users = place, Board(), 0
        self.server: Any
        self.server, self.thread = start_http_server(place[1], place[0], self.board.registry)


_SERVED: dict[tuple[str, int], _Served] = {}
_LOCK = threading.Lock()


def _join(host: str, port: int) -> _Served:
    with _LOCK:
        served = _SERVED.get((host, port)) or _Served((host, port))
        _SERVED[(host, port)] = served
        served.users += 1
        return served


def _leave(served: _Served) -> None:
    with _LOCK:
        served.users -= 1
        if not served.users:
            del _SERVED[served.place]
            served.server.shutdown()
            served.server.server_close()
