"""Leases: one holder at a time of a name in a store, where the store has no lock of its own.

    claims/NAME/000003/lease.json     who holds it, and a count that the holder raises every 10 s

The highest number is the holder. Who wants the name creates the next number, exclusively, once the
holder has let go or has shown no life for 60 s: that is, its object was the same for so long by the
watcher's own clock that only ever counts up. No two machines' clocks are compared, and a clock that
is set anew changes nothing. A holder on this very machine whose process is gone needs no waiting.

A holder that could not write for a minute may find that another one took over: `lost` tells.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from storyflow.errors import StoreError
from storyflow.store.place import Place


@dataclass(frozen=True)
class Pace:
    """Seconds: between signs of life, without one until a holder is dead, between two looks."""

    beat: float = 10.0
    expiry: float = 60.0
    look: float = 2.0


PACE = Pace()
"""Where nothing else is said."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease. `machine` tells apart machines and containers, `process` the process."""

    token: str
    host: str
    machine: str
    process: str
    beat: int = 0
    released: bool = False

    @property
    def text(self) -> str:
        """`process 123 on studio-1`."""
        return f"process {self.process.partition(' ')[0]} on {self.host}"

    def is_dead_here(self) -> bool:
        """Whether it ran on this machine and is gone; False where that can't be known."""
        if not self.machine or self.machine != _machine():
            return False
        return _process(int(self.process.partition(" ")[0])) != self.process


class Held(Exception):
    """Somebody else holds the lease and shows signs of life."""

    def __init__(self, holder: Holder | None) -> None:
        super().__init__(holder.text if holder is not None else "somebody")


class Lease:
    """A held lease, which shows life in a thread of its own until it is released."""

    def __init__(self, place: Place, name: str, number: int, me: Holder, pace: Pace) -> None:
        self._place, self._name, self._number, self._me = place, name, number, me
        self._pace = pace
        self._over = threading.Event()
        self._told = threading.Lock()
        self._on_loss: list[Callable[[], None]] = []
        self.lost = False
        self._written = _now()
        self._thread = threading.Thread(target=self._live, name=f"lease {name}", daemon=True)
        self._thread.start()

    @property
    def sure(self) -> bool:
        """Whether nobody can have taken over: life was shown lately. A stopped process is unsure.

        What can't be taken back, such as deleting, is done only while this holds.
        """
        return not self.lost and _now() - self._written < self._pace.expiry / 2

    def on_loss(self, call: Callable[[], None]) -> None:
        """Call this, from another thread, when somebody takes over."""
        with self._told:
            self._on_loss.append(call)
            if not self.lost:
                return
        call()

    def release(self) -> None:
        """Let go; the next one need not wait. A store that can't be reached is no error here."""
        self._over.set()
        self._thread.join()
        if not self.lost:
            with suppress(StoreError):
                self._write(replace(self._me, released=True))

    def _live(self) -> None:
        while not self._over.wait(self._pace.beat):
            self._me = replace(self._me, beat=self._me.beat + 1)
            try:
                if _highest(self._place, self._name) != self._number:
                    break
                self._write(self._me)
            except StoreError:
                continue  # the run meets the same error, and tells it
        else:
            return
        with self._told:
            self.lost = True
            calls = list(self._on_loss)
        for call in calls:
            call()

    def _write(self, holder: Holder) -> None:
        before = _now()
        self._place.put(_object(self._name, self._number), _dump(holder))
        self._written = before


class Attempt:
    """Getting a lease, step by step, so that whoever waits can do it in its own way."""

    def __init__(
        self,
        place: Place,
        name: str,
        pace: Pace | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._place, self._name = place, name
        self._pace, self._clock = pace or PACE, clock or _now
        self._seen: tuple[int, bytes] | None = None
        self._since = 0.0

    def step(self) -> Lease | None:
        """The lease, or None: look again in `pace.look` seconds. Raises Held, StoreError."""
        top = _highest(self._place, self._name)
        if top is None:
            return self._take(0)
        data = self._place.read(_object(self._name, top))
        if data is None:
            return None
        holder = _parse(data)
        if holder is not None and (holder.released or holder.is_dead_here()):
            return self._take(top + 1)
        if self._seen != (top, data):
            alive = self._seen is not None and self._seen[0] == top
            self._seen, self._since = (top, data), self._clock()
            if alive:
                raise Held(holder)
        elif self._clock() - self._since >= self._pace.expiry:
            return self._take(top + 1)
        return None

    def _take(self, number: int) -> Lease | None:
        self._seen = None
        me = Holder(secrets.token_hex(8), socket.gethostname(), _machine(), _process(os.getpid()))
        if not self._place.put_new(_object(self._name, number), _dump(me)):
            return None
        numbers = _numbers(self._place, self._name)
        if max(numbers, default=number) != number:
            # Who saw fewer objects took a lower number: the highest holds.
            self._place.delete([_object(self._name, number)])
            return None
        self._place.delete([_object(self._name, old) for old in numbers if old < number])
        return Lease(self._place, self._name, number, me, self._pace)


@contextmanager
def leased(place: Place, name: str, pace: Pace | None = None) -> Iterator[Lease]:
    """Hold a lease for the block, waiting for a dead holder. Raises Held, StoreError."""
    pace = pace or PACE
    attempt = Attempt(place, name, pace)
    while (lease := attempt.step()) is None:
        time.sleep(pace.look)
    try:
        yield lease
    finally:
        lease.release()


def wait_until_free(place: Place, name: str, pace: Pace | None = None) -> int:
    """Wait while somebody alive holds the lease; how often it was held so far. Raises StoreError.

    Two equal answers mean that nobody held it in between.
    """
    pace = pace or PACE
    attempt = Attempt(place, name, pace)
    while (top := _highest(place, name)) is not None:
        if _is_released(place, name, top):
            return top + 1
        with suppress(Held):
            lease = attempt.step()
            if lease is not None:  # a dead holder's: the next to come need not wait for it
                lease.release()
                continue
        time.sleep(pace.look)
    return 0


def holding(place: Place, name: str) -> str | None:
    """Who holds the lease, where it is held and its holder isn't known to be dead; nothing is
    waited for. Raises StoreError."""
    top = _highest(place, name)
    data = None if top is None else place.read(_object(name, top))
    holder = None if data is None else _parse(data)
    if holder is None or holder.released or holder.is_dead_here():
        return None
    return holder.text


def _is_released(place: Place, name: str, number: int) -> bool:
    data = place.read(_object(name, number))
    holder = None if data is None else _parse(data)
    return holder is not None and holder.released


def _now() -> float:
    """Seconds on a clock that only counts up, also while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _object(name: str, number: int) -> str:
    return f"claims/{name}/{number:06}/lease.json"


def _numbers(place: Place, name: str) -> list[int]:
    found = (text.split("/")[-2] for text in place.names(f"claims/{name}/"))
    return [int(part) for part in found if part.isdigit()]


def _highest(place: Place, name: str) -> int | None:
    return max(_numbers(place, name), default=None)


def _dump(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _parse(data: bytes) -> Holder | None:
    try:
        return Holder(**json.loads(data))
    except (ValueError, TypeError):
        return None


def _machine() -> str:
    """This boot of this machine, and its process numbering; empty where that can't be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _process(number: int) -> str:
    """The process's number and start, so that another one of the same number is told apart."""
    try:
        stat = Path("/proc", str(number), "stat").read_text()
    except OSError:
        return f"{number} "
    # What follows the name in brackets: the state first, the start twentieth (see proc(5)).
    state, *rest = stat.rpartition(")")[2].split()
    return f"{number} {rest[18]}" if state not in "ZX" else f"{number} "
