"""How many workers fit on which machines: plain arithmetic, tested without any machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from storyflow.cluster import WorkersSection


@dataclass(frozen=True)
class Machine:
    """What one machine of a cluster has, in use or not."""

    cpus: float
    gpus: float = 0.0
    accelerators: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Need:
    """What one worker holds."""

    cpus: int
    gpus: float = 0.0
    accelerator: str | None = None

    def __str__(self) -> str:
        """`4 CPUs and 1 GPU of type H100`."""
        parts = [_count(self.cpus, "CPU")]
        if self.gpus:
            kind = f" of type {self.accelerator}" if self.accelerator else ""
            parts.append(_count(self.gpus, "GPU") + kind)
        elif self.accelerator:
            parts.append(f"a machine with {self.accelerator}")
        return " and ".join(parts)


def needs_of(
    workers: WorkersSection, machines: Sequence[Machine], *, wants_gpu: bool
) -> tuple[Need, ...]:
    """What one worker is to hold: what the cluster file says or, silent, a GPU if it helps.

    One for each type of accelerator that will do, the best first.
    """
    gpus = workers.gpus
    if gpus is None:
        gpus = 1.0 if wants_gpu and any(machine.gpus >= 1 for machine in machines) else 0.0
    return tuple(Need(workers.threads, gpus, t) for t in workers.accelerators or (None,))


def places(
    machines: Sequence[Machine], needs: Sequence[Need], wanted: int | None = None
) -> tuple[Need, ...]:
    """What each of so many workers (or of all that fit) is to hold, so that each has room."""
    found = [need for need in needs for _ in range(capacity(machines, need))]
    return tuple(found[:wanted])


def offers(
    machines: Sequence[Machine], needs: Sequence[Need], workers: WorkersSection
) -> tuple[Need, ...]:
    """What each worker may hold that there is room for or, where machines come when they are asked
    for, will be: up to `workers.count`, of the best type."""
    found = places(machines, needs)
    missing = workers.count - len(found) if workers.autoscale else 0
    return found + (needs[0],) * max(missing, 0)


def in_words(needs: Sequence[Need]) -> str:
    """`1 CPU and 1 GPU of type H200, or 1 CPU and 1 GPU of type H100`."""
    return ", or ".join(map(str, needs))


def room(machine: Machine, need: Need) -> int:
    """Workers that fit on an empty machine."""
    if need.accelerator is not None and need.accelerator not in machine.accelerators:
        return 0
    fitting = int(machine.cpus // need.cpus)
    if need.gpus >= 1:
        return min(fitting, int(machine.gpus // need.gpus))
    if need.gpus > 0:
        # A fraction stays on one device: 0.4 of a GPU fits twice on each.
        return min(fitting, int(machine.gpus) * int(1 / need.gpus + 1e-9))
    return fitting


def capacity(machines: Sequence[Machine], need: Need) -> int:
    """Workers that fit on an empty cluster."""
    return sum(room(machine, need) for machine in machines)


def describe(machines: Sequence[Machine]) -> str:
    """`2 machines with 64 CPUs and 8 GPUs (H100), 1 machine with 4 CPUs`."""
    if not machines:
        return "no machine"
    counted = Counter(_shown(machine) for machine in machines)
    return ", ".join(f"{_count(count, 'machine')} with {what}" for what, count in counted.items())


def _shown(machine: Machine) -> str:
    text = _count(machine.cpus, "CPU")
    if machine.gpus:
        text += " and " + _count(machine.gpus, "GPU")
    if machine.accelerators:
        text += f" ({', '.join(sorted(machine.accelerators))})"
    return text


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}{'' if number == 1 else 's'}"
