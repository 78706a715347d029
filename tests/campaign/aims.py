"""What a campaign kills, and when: all aims, and the seeded order they are taken in."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Place = Literal["in-process", "local", "cluster"]
"""Where a film is rendered: in its own process, on a Ray of its own, on a Ray of three nodes."""

Victim = Literal["worker", "driver", "node", "machine"]
"""A render worker; the process that was started; a Ray node with all its processes; all of it."""


@dataclass(frozen=True)
class Moment:
    """A moment at which a process stops itself: right before a change to the round's files, or
    between two pictures that it makes (see `hook/sitecustomize.py`)."""

    verb: str
    place: str


MOMENTS: dict[str, Moment] = {
    "loading": Moment("put", "store/tmp"),
    "rendering": Moment("render", "store/tmp"),
    "encoding": Moment("encode", "store/tmp"),
    "copying": Moment("put", "store/tmp"),
    "before blob": Moment("put", "store/blobs"),
    "before commit": Moment("put", "store/artifacts"),
    "after commit": Moment("sync", "store/artifacts"),
    "indexing": Moment("put", "store/recipes"),
    "anywhere": Moment("any", "any"),
    "pinning": Moment("put", "lock"),
    "before master": Moment("put", "out/shots"),
    "cutting": Moment("cut", "out/film"),
    "before film": Moment("put", "out/film"),
    "before manifest": Moment("put", "out/manifest"),
}
"""Every moment by its name in the table. `loading` is a worker's first change; `rendering` comes
once in a segment, `encoding` with each of its chunks, `cutting` with each picture of the film."""

RENDERING = ("rendering", "encoding")
COMMITTING = ("copying", "before blob", "before commit", "after commit", "indexing")
CUTTING = ("before master", "cutting", "before film", "before manifest")


@dataclass(frozen=True)
class Aim:
    """One kill. `nth` counts the moments of this kind, from 1, in the process that has them."""

    number: int
    pipeline: str
    place: Place
    victim: Victim
    moment: str
    nth: int


_Row = tuple[str, Place, Victim, str]


def _rows() -> tuple[tuple[_Row, ...], ...]:
    table: tuple[tuple[int, str, Place, Victim, tuple[str, ...]], ...] = (
        (12, "slate", "in-process", "driver", (*RENDERING, *COMMITTING)),
        (8, "slate", "in-process", "driver", ("pinning", *CUTTING)),
        (32, "slate", "in-process", "driver", ("anywhere",)),
        (4, "slate", "cluster", "worker", RENDERING),
        (2, "slate", "cluster", "worker", ("loading", *COMMITTING)),
        (4, "slate", "cluster", "worker", ("anywhere",)),
        (1, "slate", "cluster", "driver", (*RENDERING, *COMMITTING, "anywhere")),
        (1, "slate", "cluster", "driver", ("cutting", "before film")),
        (2, "slate", "cluster", "node", RENDERING),
        (1, "slate", "cluster", "node", ("copying", "before commit")),
        (1, "slate", "cluster", "machine", ("encoding",)),
        (1, "slate", "local", "driver", ("encoding",)),
        (1, "toybox", "in-process", "driver", ("rendering",)),
        (1, "toybox", "cluster", "worker", ("encoding",)),
    )
    rows = [
        (pipeline, place, victim, moment)
        for times, pipeline, place, victim, moments in table
        for moment in moments
        for _ in range(times)
    ]
    workers = [row for row in rows if row[:3] == ("slate", "cluster", "worker")]
    random.Random(0).shuffle(workers)
    pairs = [tuple(pair) for pair in zip(workers[::2], workers[1::2], strict=True)]
    return (*pairs, *((row,) for row in rows if row not in workers))


ROUNDS = _rows()
"""One cycle of a campaign, 200 kills: in some rounds two workers are killed, one after the other,
in one film."""

_HIGHEST = {"loading": 1, "anywhere": 30, "pinning": 2, "before film": 1, "before manifest": 2}
_HIGHEST |= {"encoding": 5, "cutting": 80, "before master": 3}
"""What `nth` is drawn from, in a process that shares the film with another."""


def aims(seed: int, number: int) -> tuple[Aim, ...]:
    """The kills of one round, `number` counted from 1: the same for a seed on any machine."""
    cycle, index = divmod(number - 1, len(ROUNDS))
    order = list(ROUNDS)
    random.Random(f"{seed}/{cycle}").shuffle(order)
    draw = random.Random(f"{seed}/{number}/nth")
    return tuple(
        Aim(number, pipeline, place, victim, moment, draw.randint(1, _highest(place, moment, many)))
        for many in (len(order[index]) > 1,)
        for pipeline, place, victim, moment in order[index]
    )


def _highest(place: Place, moment: str, many: bool) -> int:
    highest = _HIGHEST.get(moment, 4) * (2 if place == "in-process" else 1)
    return max(1, highest // 2) if many else highest
