"""The accelerators of this machine as NVIDIA's driver sees them; torch and CUDA are not loaded.

A process that holds no GPU sees none through CUDA; the driver's own tool always tells all.
"""

from __future__ import annotations

import subprocess

from storyflow.doctor.facts import Card

MIB = 1 << 20

_QUERY = (
    "nvidia-smi",
    "--query-gpu=name,memory.total,memory.free",
    "--format=csv,noheader,nounits",
)

PATIENCE = 30.0
"""Seconds for the driver's answer: waking a sleeping card takes some."""


def cards_here() -> tuple[Card, ...] | None:
    """All cards, whether in use or not; None where no driver answers."""
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return read_cards(done.stdout)


def read_cards(text: str) -> tuple[Card, ...]:
    """One line per card: `NVIDIA H100, 81559, 81079`, in MiB. A card that hides its memory (some
    virtual ones say `[N/A]`) has 0."""
    found = []
    for line in text.splitlines():
        name, *sizes = (part.strip() for part in line.rsplit(",", 2))
        if len(sizes) == 2:
            total, free = (int(size) * MIB if size.isdigit() else 0 for size in sizes)
            found.append(Card(name, total, free))
    return tuple(found)
