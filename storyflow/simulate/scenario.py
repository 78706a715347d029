"""What is simulated: films, GPUs and misfortunes, all drawn from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class FilmLoad:
    """A film that comes at `arrives` seconds: segments in shots of `shortest` to `longest`.

    `planned` are the segments of each shot where a plan tells them: then nothing is drawn.
    """

    segments: int
    arrives: float = 0.0
    weight: float = 1.0
    shortest: int = 1
    longest: int = 18
    planned: tuple[int, ...] = ()

    def shots(self, dice: random.Random) -> tuple[int, ...]:
        """Segments of each shot."""
        if self.planned:
            return self.planned
        shots: list[int] = []
        left = self.segments
        while left:
            shots.append(min(left, dice.randint(self.shortest, self.longest)))
            left -= shots[-1]
        return tuple(shots)


@dataclass(frozen=True)
class Scenario:
    """A farm for an hour, a night or a week.

    `speeds` has one entry per GPU. A segment takes `seconds` at speed 1, more or less by `spread`
    (a part of it), and is stored in `storing` more while the GPU goes on. `fails` is the chance
    that a worker dies in an attempt; a GPU is taken away after `lasts` seconds on average (0 is
    never) and comes back after `away`. Loading a model takes `loading`. Of the films that have
    come, the first `at_once` that aren't done are rendered, 0 is all. The farm meets its `bound`
    when the makespan is at most so many times the lower bound.
    """

    name: str
    about: str
    films: tuple[FilmLoad, ...]
    speeds: tuple[float, ...]
    bound: float
    seconds: float = 200.0
    spread: float = 0.3
    storing: float = 0.0
    loading: float = 45.0
    fails: float = 0.0
    lasts: float = 0.0
    away: float = 300.0
    at_once: int = 0
    seed: int = 1

    @cached_property
    def shots(self) -> tuple[tuple[tuple[float, ...], ...], ...]:
        """Seconds of every segment of every shot of every film, at speed 1."""
        dice = random.Random(self.seed)
        low, high = self.seconds * (1 - self.spread), self.seconds * (1 + self.spread)
        return tuple(
            tuple(
                tuple(dice.uniform(low, high) for _ in range(count)) for count in film.shots(dice)
            )
            for film in self.films
        )

    @property
    def segments(self) -> int:
        """Of all films."""
        return sum(film.segments for film in self.films)


def scenarios(seed: int = 1) -> tuple[Scenario, ...]:
    """The ones that `storyflow bench farm` runs."""
    night = (FilmLoad(3000),)
    return (
        Scenario(
            "even",
            "64 equal GPUs, one film of 3,000 segments, times unknown and +-30 %",
            night,
            (1.0,) * 64,
            1.03,
            seed=seed,
        ),
        Scenario(
            "chain",
            "64 GPUs, one film whose longest shot decides: 40 shots of 18 segments",
            (FilmLoad(720, shortest=18),),
            (1.0,) * 64,
            1.03,
            storing=5.0,
            seed=seed,
        ),
        Scenario(
            "speeds",
            "24 GPUs of speed 1, 24 of 0.6 and 16 of 2",
            night,
            (1.0,) * 24 + (0.6,) * 24 + (2.0,) * 16,
            1.05,
            seed=seed,
        ),
        Scenario(
            "deaths",
            "every hundredth attempt kills its worker",
            night,
            (1.0,) * 64,
            1.05,
            fails=0.01,
            seed=seed,
        ),
        Scenario(
            "spot",
            "spot GPUs: each is taken away every two hours on average, for five minutes",
            night,
            (1.0,) * 64,
            1.05,
            lasts=7200.0,
            seed=seed,
        ),
        Scenario(
            "films",
            "three films that come one after the other, weights 1, 2 and 4",
            (FilmLoad(1500), FilmLoad(900, 1200.0, 2.0), FilmLoad(600, 2400.0, 4.0)),
            (1.0,) * 64,
            1.05,
            seed=seed,
        ),
    )
