"""On which terms a film is rendered, besides where and how."""

from __future__ import annotations

from dataclasses import dataclass, field

from storyflow.budget import Budget, Purse
from storyflow.draining import Draining
from storyflow.poison import Poison

POLL_SECONDS = 0.5
"""How often busy workers are asked for their progress."""


@dataclass(frozen=True)
class Terms:
    """`budget` is what may be used, of which so many GPU-seconds are `used` already, `poison` what
    failed for good before, `draining` the wish to stop at the next border; busy workers are asked
    every `poll` seconds how far they are. `purse` is what the film may use together with others,
    among which it counts `weight`."""

    budget: Budget = Budget()  # noqa: RUF009 - frozen
    poison: Poison = field(default_factory=Poison)
    draining: Draining = field(default_factory=Draining)
    used: float = 0.0
    poll: float = POLL_SECONDS
    purse: Purse = field(default_factory=Purse)
    weight: float = 1.0
