"""What one machine of a cluster tells about itself, and what it is asked: plain frozen values.

They travel between processes, so everything here is made of numbers, texts and tuples. Sizes are
bytes, times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from storyflow.farm.capacity import Machine
from storyflow.store.nonce import Nonce
from storyflow.store.place import CacheLimit

HERE = "this machine"
"""The name of the process that asks."""

AuthMode = Literal["token", "disabled", "unknown"]


@dataclass(frozen=True)
class ModelAsked:
    """A model that a worker loads: its name as in the profile.

    `use` says what for. Of a renderer the folder's parts are checked, of others that it is there.
    """

    name: str
    use: Literal["renderer", "lora", "language model"]
    revision: str | None = None


@dataclass(frozen=True)
class Question:
    """What each machine is asked.

    `nonce` is what was left in the store by the asking process; None where that failed.
    """

    store: str
    cache: CacheLimit
    nonce: Nonce | None = None
    models: tuple[ModelAsked, ...] = ()


@dataclass(frozen=True)
class Versions:
    """Of what must be alike; empty where it is not installed."""

    python: str
    ray: str = ""
    storyflow: str = ""
    torch: str = ""


@dataclass(frozen=True)
class Card:
    """An accelerator as its driver sees it."""

    name: str
    total: int
    free: int


@dataclass(frozen=True)
class Disk:
    """A folder that is written to, and the disk it is on. `fault` says why it can't be written."""

    use: Literal["store", "cache", "temporary files"]
    path: str
    free: int
    total: int
    fault: str = ""


StoreState = Literal["ok", "unreachable", "other", "unwritable"]


@dataclass(frozen=True)
class StoreFact:
    """How the store looks from a machine; `why` and `cure` where it isn't ok."""

    state: StoreState
    why: str = ""
    cure: str = ""
    seconds: float = 0.0


ModelState = Literal["here", "hub", "missing", "unreachable"]


@dataclass(frozen=True)
class ModelFact:
    """Whether a model is on the machine, can be fetched from the hub, or neither."""

    asked: ModelAsked
    state: ModelState
    why: str = ""


@dataclass(frozen=True)
class Seen:
    """What `probe` found on a machine. `shared_memory` is what /dev/shm holds at most, 0 where
    there is none; `cards` is None where no driver answers."""

    host: str
    versions: Versions
    cards: tuple[Card, ...] | None
    disks: tuple[Disk, ...]
    store: StoreFact
    models: tuple[ModelFact, ...] = ()
    shared_memory: int = 0


@dataclass(frozen=True)
class NodeFacts:
    """A machine: what the cluster says of it, what it says itself, and how its clock runs.

    `machine` is what Ray places by, None where there is no Ray; `object_store` is the size of Ray's
    object store, None likewise. `ahead` says by how much its clock is ahead of the asking one's,
    `within` how exactly that is known. `loopback` tells of an address that nobody else reaches.
    """

    name: str
    seen: Seen
    machine: Machine | None = None
    object_store: int | None = None
    auth: AuthMode = "unknown"
    ahead: float = 0.0
    within: float = 0.0
    loopback: bool = True


@dataclass(frozen=True)
class Silent:
    """A node that could not be examined, and why."""

    name: str
    host: str
    why: str


@dataclass(frozen=True)
class Facts:
    """A cluster: the asking machine, its nodes, and those that did not answer.

    Without Ray, or with a Ray of a run's own, there are no nodes but `here`. `reached` is False
    where the cluster let nobody in.
    """

    here: NodeFacts
    nodes: tuple[NodeFacts, ...] = ()
    silent: tuple[Silent, ...] = ()
    reached: bool = True

    @property
    def all(self) -> tuple[NodeFacts, ...]:
        """The asking machine and the nodes."""
        return (self.here, *self.nodes)

    @property
    def rendering(self) -> tuple[NodeFacts, ...]:
        """Where workers are placed."""
        alone = self.reached and not self.silent
        return self.nodes or ((self.here,) if alone else ())

    def of_models(self, asked: frozenset[ModelAsked]) -> Facts:
        """The same cluster, with what is known of these models only."""

        def seen(node: NodeFacts) -> NodeFacts:
            models = tuple(fact for fact in node.seen.models if fact.asked in asked)
            return replace(node, seen=replace(node.seen, models=models))

        return replace(self, here=seen(self.here), nodes=tuple(map(seen, self.nodes)))
