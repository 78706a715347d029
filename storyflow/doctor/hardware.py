"""Checks of places for workers, and of accelerators against the pipeline's predicted memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from storyflow.doctor.facts import Card, Facts, NodeFacts
from storyflow.doctor.findings import Finding
from storyflow.doctor.wishes import Wishes
from storyflow.farm.capacity import Need, capacity, describe, in_words, needs_of, room
from storyflow.renderer import CardFit

GIB = 1 << 30


def check_places(facts: Facts, wishes: Wishes) -> Iterator[Finding]:
    """Whether the cluster has room for the workers that the cluster file wants."""
    machines = [node.machine for node in facts.nodes if node.machine is not None]
    if not machines:
        yield from _alone(facts, wishes)
        return
    needs = _needs(facts, wishes)
    fitting = sum(capacity(machines, need) for need in needs)
    value = describe(machines)
    if wishes.workers.autoscale and fitting < wishes.workers.count:
        yield Finding(
            "information",
            "workers",
            f"{wishes.workers.count} workers are asked for, there is room for {fitting} now: the "
            "cluster starts machines for the others (workers.autoscale), which are not examined",
            value=value,
        )
        return
    if not fitting:
        yield Finding(
            "error",
            "workers",
            f"no node can hold a worker: one needs {in_words(needs)}",
            value=value,
            cure="change workers.threads, gpus or accelerator in the cluster file",
        )
    elif fitting < wishes.workers.count:
        yield Finding(
            "warning",
            "workers",
            f"{wishes.workers.count} workers are asked for, there is room for {fitting}",
            value=value,
            cure="add nodes, or change workers.count in the cluster file",
        )
    elif wishes.wants_gpu and not any(need.gpus for need in needs):
        yield Finding(
            "warning",
            "gpus",
            "no node has a GPU: on CPUs the model takes days for seconds of film",
            value=value,
            cure="add nodes with GPUs, started with --num-gpus where Ray doesn't find them",
        )


def _alone(facts: Facts, wishes: Wishes) -> Iterator[Finding]:
    """A single machine without Ray."""
    for node in facts.rendering:
        if wishes.wants_gpu and not node.seen.cards:
            yield Finding(
                "warning",
                "gpus",
                "no NVIDIA GPU is seen: on CPUs the model takes days for seconds of film",
                node.name,
                cure="render on a cluster with GPUs (--address), or look at nvidia-smi",
            )


def check_cards(facts: Facts, wishes: Wishes) -> Iterator[Finding]:
    """Accelerators: whether the driver shows those that Ray counts, and their memory against what
    the longest window of the pipeline is predicted to take."""
    for node in _holders(facts, wishes):
        cards, counted = node.seen.cards, _counted(node)
        if cards is None:
            # Without Ray nobody has promised a GPU; other makers' drivers aren't asked.
            if counted and wishes.fit is not None:
                yield Finding(
                    "warning",
                    "gpus",
                    "no NVIDIA driver answers (nvidia-smi): the memory of its GPUs is not known",
                    node.name,
                    f"{counted:g} GPUs that Ray counts",
                    "install the driver, or mount it into the container",
                )
            continue
        if counted > len(cards):
            yield Finding(
                "error",
                "gpus",
                f"Ray counts {counted:g} GPUs, the driver shows fewer",
                node.name,
                str(len(cards)),
                "start Ray there without --num-gpus, or look at the driver (nvidia-smi)",
            )
        yield from _memory(node, cards, wishes)


def _memory(node: NodeFacts, cards: Sequence[Card], wishes: Wishes) -> Iterator[Finding]:
    known = [card for card in cards if card.total]
    if wishes.fit is None or not known:
        return
    part = _part(wishes)
    smallest = min(known, key=lambda card: card.total)
    fit = wishes.fit(int(smallest.total * part))
    if fit.switches is None or fit.switches:
        yield Finding(
            "error",
            "gpu-memory",
            f"the pipeline's longest window does not fit on its {smallest.name}{_of(part)}",
            node.name,
            f"{smallest.total / GIB:.1f} GiB",
            _switch(fit),
        )
        return
    used = [card for card in known if wishes.fit(int(card.free * part)).switches != ()]
    if used:
        card = min(used, key=lambda card: card.free)
        yield Finding(
            "warning",
            "gpu-in-use",
            f"{len(used)} of its {len(known)} GPUs are in use: what is free is too little for "
            "the pipeline's longest window",
            node.name,
            f"{card.free / GIB:.1f} of {card.total / GIB:.1f} GiB free",
            "end what holds them (nvidia-smi shows it), unless it is a film of yours",
        )


def _switch(fit: CardFit) -> str:
    if not fit.switches:
        return (
            f"nothing makes it fit (at least {fit.peak / GIB:.1f} GiB); use larger GPUs "
            "(workers.accelerator in the cluster file) or a smaller pipeline"
        )
    switches = " ".join(f"--set {switch}" for switch in fit.switches)
    return f"it fits with {switches}; or choose larger GPUs with workers.accelerator"


def _holders(facts: Facts, wishes: Wishes) -> Iterator[NodeFacts]:
    """The nodes whose accelerators workers get."""
    needs = _needs(facts, wishes)
    for node in facts.rendering:
        machine = node.machine
        if machine is None or any(n.gpus and room(machine, n) for n in needs):
            yield node


def hosts(facts: Facts, wishes: Wishes) -> tuple[NodeFacts, ...]:
    """The nodes that may get workers; all, where none has room: then they are looked at anyway,
    unless machines are still to be started."""
    needs = _needs(facts, wishes)
    found = tuple(
        node
        for node in facts.rendering
        if node.machine is None or any(room(node.machine, need) for need in needs)
    )
    return found if found or wishes.workers.autoscale else facts.rendering


def _needs(facts: Facts, wishes: Wishes) -> tuple[Need, ...]:
    machines = [node.machine for node in facts.nodes if node.machine is not None]
    return needs_of(wishes.workers, machines, wants_gpu=wishes.wants_gpu)


def _counted(node: NodeFacts) -> float:
    return 0.0 if node.machine is None else node.machine.gpus


def _part(wishes: Wishes) -> float:
    """The part of a card that a worker may use."""
    gpus = wishes.workers.gpus
    return gpus if gpus is not None and 0 < gpus < 1 else 1.0


def _of(part: float) -> str:
    return "" if part == 1.0 else f", of which a worker gets {part:g}"
