"""Where the episodes of a call stand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from storyflow.budget import Purse
from storyflow.film import Order, Production
from storyflow.series.ledger import Outcome
from storyflow.series.plan import Prepared
from storyflow.series.told import EpisodeOutcome, EpisodeResult, worst


@dataclass(eq=False)
class Standing:
    """What is known of an episode while a call goes on.

    `purse` has what it uses, `prompts` the GPU-seconds of that which went into its prompts. `over`
    is set once the call is done with it.
    """

    prepared: Prepared
    purse: Purse
    result: EpisodeResult | None = None
    began: str = ""
    prompts: float = 0.0
    reused: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """The episode's."""
        return self.prepared.listed.name

    @property
    def order(self) -> Order:
        """What to render; only of one that isn't broken."""
        assert self.prepared.order is not None
        return self.prepared.order

    @property
    def made(self) -> Production:
        """Its plan; only of one that isn't broken."""
        assert self.prepared.made is not None
        return self.prepared.made

    def end(self, result: EpisodeResult) -> None:
        """The call is done with it, and lets go of its plan."""
        self.result = result
        self.prepared = replace(self.prepared, order=None, made=None)
        self.over.set()


def outcome_of(standing: Iterable[Standing]) -> Outcome:
    """What the episodes come to, all together."""
    endings: set[EpisodeOutcome] = {s.result.outcome for s in standing if s.result is not None}
    return worst(endings)
