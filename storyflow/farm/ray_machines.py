"""What a Ray cluster is made of, as the farm counts it."""

from __future__ import annotations

from typing import Any

from storyflow.farm.capacity import Machine

_ACCELERATOR = "accelerator_type:"


def living_machines(avoid: frozenset[str] = frozenset()) -> list[Machine]:
    """What Ray's living nodes have, but for those of these ids."""
    import ray

    nodes = ray.nodes()
    return [machine_of(node) for node in nodes if node["Alive"] and node["NodeID"] not in avoid]


def machine_of(node: dict[str, Any]) -> Machine:
    """One of `ray.nodes()` as the farm counts it."""
    resources = node["Resources"]
    return Machine(
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        accelerators=frozenset(
            name.removeprefix(_ACCELERATOR) for name in resources if name.startswith(_ACCELERATOR)
        ),
    )
