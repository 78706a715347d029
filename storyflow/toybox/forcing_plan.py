"""How long the transformer learns, and on what: the plan of training stage `forcing`.

Single latents teach colour, shape, place, light and words at a small part of a film's price;
windows teach motion, the camera and to continue from history, with single latents among them so
that shapes are not forgotten; then the rate goes down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from storyflow.toybox.windows import LONG, NAMES, STILLS


class Shape(NamedTuple):
    """Windows of so many latent frames, so many in a batch, with their share of a phase's steps.

    The shift bends noise levels towards more noise, as the sampler's does: what moves, and how, is
    settled where a picture is still all noise.
    """

    frames: int
    batch: int
    share: float
    shift: float


@dataclass(frozen=True)
class Phase:
    """`steps` on windows of `shapes`; `portions` name the parts of the data, twice what is used
    twice as often.

    The rate goes from `rate` to `end`. Where figures are, errors count up to `figures` times, the
    less noise the more: where all is noise, a figure can't be told yet, and asking for it there
    would teach to paint too many. The blocks' matrices, which Muon moves, learn `matrices` times as
    fast as the rest.
    """

    steps: int
    shapes: tuple[Shape, ...]
    portions: tuple[str, ...]
    rate: float
    end: float
    figures: float = 4.0
    matrices: float = 3.0


PICTURES = Phase(1500, (Shape(1, 64, 1.0, 3.0),), (STILLS.name,), 1e-3, 1e-3)
FILMS = Phase(
    6000,
    (
        Shape(1, 64, 0.17, 3.0),
        Shape(7, 9, 0.21, 5.0),
        Shape(13, 5, 0.21, 5.0),
        Shape(25, 3, 0.41, 5.0),
    ),
    # Most shots begin from nothing, and few windows do.
    (*NAMES, LONG.name),
    1e-3,
    1e-3,
)
CALM = replace(FILMS, steps=2000, end=0.0)
"""The rate goes down here: at the full rate the losses stop falling far above what they reach in
the end. A training that is to go on longer starts again before it."""


@dataclass(frozen=True)
class ForcingPlan:
    """The phases, and what they share; `auxiliary` is how much that task's error counts, `own` in
    what share of the batches of windows histories are the transformer's own."""

    phases: tuple[Phase, ...] = (PICTURES, FILMS, CALM)
    warm: int = 200
    average: float = 0.998
    auxiliary: float = 0.3
    own: float = 0.5
    seed: int = 2

    @property
    def steps(self) -> int:
        """All steps."""
        return sum(phase.steps for phase in self.phases)

    def longer(self, times: int) -> ForcingPlan:
        """The same with so many times the steps in every phase."""
        phases = tuple(replace(phase, steps=phase.steps * times) for phase in self.phases)
        return replace(self, phases=phases)

    def further(self, steps: int) -> ForcingPlan:
        """The same with so many more steps of its last phase but one: where a finished training
        goes on, at the full rate again."""
        *before, films, calm = self.phases
        return replace(self, phases=(*before, replace(films, steps=films.steps + steps), calm))

    def resumed(self) -> ForcingPlan:
        """As many steps as follow the first phase, in one that calms all along: where trained
        weights start a work folder. They unlearn while the rate is full."""
        steps = sum(phase.steps for phase in self.phases[1:])
        return replace(self, phases=(replace(self.phases[-1], steps=steps),))

    def at(self, step: int) -> tuple[Phase, float]:
        """The phase of a step and the rate there."""
        first = 0
        for phase in self.phases:
            if step < first + phase.steps:
                part = (step - first) / phase.steps
                warm = min(1.0, (step + 1) / self.warm)
                return phase, warm * (phase.rate + part * (phase.end - phase.rate))
            first += phase.steps
        raise IndexError(f"step {step} of a plan of {self.steps}")
