"""Asking every node of a Ray cluster something, in a small process that holds no CPU and no GPU, so
that busy nodes answer, too."""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, cast

from storyflow.cluster import WorkersSection
from storyflow.farm.capacity import Machine
from storyflow.farm.ray_connection import CONNECTION
from storyflow.farm.ray_errors import brief
from storyflow.farm.ray_machines import machine_of

Q = TypeVar("Q")
A = TypeVar("A")

PATIENCE = 120.0
"""Seconds for all nodes together: a new process, imports from a slow disk, a store that waits."""

ROUNDS = 5
"""How often a clock is read; the quickest answer counts."""

Auth = Literal["token", "disabled", "unknown"]


@dataclass(frozen=True)
class NodeAnswer(Generic[A]):
    """What a node said. `ahead` are the seconds by which its clock is ahead of ours, known within
    `within`; `why` says, in place of the answer, why there is none."""

    node: str
    host: str
    machine: Machine
    object_store: int
    loopback: bool
    answer: A | None
    auth: Auth = "unknown"
    ahead: float = 0.0
    within: float = 0.0
    why: str = ""


class NodeActor:
    """What runs on each node."""

    def __init__(self, look: Callable[[Any], Any]) -> None:
        self._look = look

    def look(self, question: Any) -> Any:
        """The node's answer."""
        return self._look(question)

    def auth(self) -> Auth:
        """Whether this node's processes ask for tokens."""
        return auth_here()

    def clock(self) -> float:
        """Seconds since 1970, by this node's clock."""
        return time.time()


@contextlib.contextmanager
def connected(address: str, workers: WorkersSection) -> Iterator[None]:
    """Be connected to the Ray at an address inside the block. Raises FarmError."""
    CONNECTION.open(address, workers)
    try:
        yield
    finally:
        CONNECTION.close()


def ask_nodes(
    look: Callable[[Q], A], question: Q, patience: float = PATIENCE
) -> tuple[NodeAnswer[A], ...]:
    """Call `look(question)` on every living node of the Ray that this process is connected to.

    `look` must be importable there. A node that fails or says nothing in time is told as such.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"]]
    asked: list[tuple[Any, Any]] = []
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        options = {"num_cpus": 0, "max_restarts": 0, "scheduling_strategy": there}
        actor = ray.remote(**options)(NodeActor).remote(look)
        asked.append((actor, actor.look.remote(question)))
    until = time.monotonic() + patience
    found = []
    for node, (actor, answer) in zip(nodes, asked, strict=True):
        found.append(_answered(node, actor, answer, max(1.0, until - time.monotonic())))
        with contextlib.suppress(Exception):  # it may be dead already
            ray.kill(actor, no_restart=True)
    return tuple(found)


def auth_here() -> Auth:
    """Whether Ray in this process asks for tokens, and shows one."""
    try:
        from ray._private.authentication.authentication_utils import is_token_auth_enabled

        token = is_token_auth_enabled()
    except Exception:
        # It is no public part of Ray.
        return "unknown"
    return "token" if token else "disabled"


def _answered(node: dict[str, Any], actor: Any, answer: Any, patience: float) -> NodeAnswer[Any]:
    import ray

    said: Any = None
    auth: Auth = "unknown"
    ahead = within = 0.0
    why = ""
    try:
        said = ray.get(answer, timeout=patience)
        auth = cast(Auth, ray.get(actor.auth.remote(), timeout=patience))
        ahead, within = _clock(actor, patience)
    except ray.exceptions.GetTimeoutError:
        why = f"no answer within {patience:.0f} s"
    except Exception as error:
        why = brief(error)
    address = str(node.get("NodeManagerAddress", ""))
    return NodeAnswer(
        node=str(node["NodeID"]),
        host=str(node.get("NodeManagerHostname", "")) or address,
        machine=machine_of(node),
        object_store=int(node["Resources"].get("object_store_memory", 0)),
        loopback=_loopback(address),
        answer=None if why else said,
        auth=auth,
        ahead=ahead,
        within=within,
        why=why,
    )


def _clock(actor: Any, patience: float) -> tuple[float, float]:
    """How far a node's clock is ahead: its time against the middle of the call that asked."""
    import ray

    read = []
    for _ in range(ROUNDS):
        asked = time.time()
        there = cast(float, ray.get(actor.clock.remote(), timeout=patience))
        took = time.time() - asked
        read.append((took / 2, there - asked - took / 2))
    within, ahead = min(read)
    return ahead, within


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
