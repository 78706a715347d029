"""What a Ray cluster is made of, as the farm counts it."""

from __future__ import annotations

from storyflow.farm.capacity import Machine

_ACCELERATOR = "accelerator_type:"


def living_machines(avoid: frozenset[str] = frozenset()) -> list[Machine]:
    """What Ray's living nodes have, but for those of these ids."""
    import ray

    return [
        Machine(
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            accelerators=frozenset(
                name.removeprefix(_ACCELERATOR)
                for name in node["Resources"]
                if name.startswith(_ACCELERATOR)
            ),
        )
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in avoid
    ]
