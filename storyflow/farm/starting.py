"""How long a farm takes until its first worker can load a model: measured, and remembered by the
store for later estimates.

    starts/NAME.json    the last starts of one farm: an address or, for a Ray of a run's own, a host

It is a hint: what can't be read counts as not measured, what can't be written is left out, and of
two runs that write at once one is remembered.
"""

from __future__ import annotations

import hashlib
import json
import socket
from contextlib import suppress
from statistics import median

from pydantic import BaseModel, ValidationError

from storyflow.cluster import Cluster
from storyflow.errors import StoreError
from storyflow.farm.address import IN_PROCESS
from storyflow.planning.finish import Start
from storyflow.store.store import Store

KEPT = 10
"""Starts that are remembered: their median is steady, and a new machine soon has the majority."""


class _Starts(BaseModel):
    storyflow: int = 1
    starts: list[tuple[float, float]] = []


class Starting:
    """Collects what one run's pools waited for."""

    def __init__(self) -> None:
        self._farm = 0.0
        self._workers: list[float] = []

    def add(self, opening: float, worker: float | None) -> None:
        """One pool: seconds until it could name workers, and until its first one was there."""
        self._farm += opening
        if worker is not None:
            self._workers.append(worker)

    @property
    def start(self) -> Start | None:
        """What it came to; None where no worker was started."""
        if not self._workers:
            return None
        return Start(self._farm, sum(self._workers) / len(self._workers), count=1)


def read_start(store: Store, cluster: Cluster) -> Start | None:
    """How long this farm takes to start, as a rule; None where that was never measured."""
    if cluster.address == IN_PROCESS:
        return Start(0.0, 0.0)
    found = _read(store, _name(cluster))
    if not found:
        return None
    return Start(median(f for f, _ in found), median(w for _, w in found), count=len(found))


def note_start(store: Store, cluster: Cluster, start: Start | None) -> None:
    """Remember how long this farm took to start now."""
    if start is None or cluster.address == IN_PROCESS:
        return
    name = _name(cluster)
    latest = [*_read(store, name), (round(start.farm, 3), round(start.worker, 3))][-KEPT:]
    with suppress(StoreError):
        store.place.put(name, _Starts(starts=latest).model_dump_json().encode())


def _read(store: Store, name: str) -> list[tuple[float, float]]:
    with suppress(StoreError, ValidationError):
        text = store.place.read(name)
        return [] if text is None else _Starts.model_validate_json(text).starts
    return []


def _name(cluster: Cluster) -> str:
    where = socket.gethostname() if cluster.address == "local" else ""
    farm = json.dumps([cluster.address, where])
    return f"starts/{hashlib.sha256(farm.encode()).hexdigest()[:32]}.json"
