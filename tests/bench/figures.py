"""What a bench found: rows of figures, printed as text and written as JSON."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One number, what it is and its unit; `target` is what it should be, in words."""

    what: str
    value: float
    unit: str = ""
    target: str = ""

    def __str__(self) -> str:
        number = f"{self.value:,.0f}" if abs(self.value) >= 1000 else f"{self.value:.4g}"
        wanted = f"   (target {self.target})" if self.target else ""
        return f"  {self.what:58} {number:>12} {self.unit}{wanted}"


@dataclass(frozen=True)
class Row:
    """One measurement: its name, what was done, and what came out."""

    name: str
    about: str
    figures: tuple[Figure, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.name}: {self.about}", *map(str, self.figures)])


@dataclass
class Patience:
    """How many timed rounds CPU rows take; the command line may change it."""

    rounds: int = 5


PATIENCE = Patience()


def interleaved(
    parts: Sequence[tuple[str, Callable[[], Any]]], rounds: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """Median seconds of each part and what it gave last; one warm-up, then all in turn.

    In turn, so that what else the machine does falls on all of them alike.
    """
    results = {name: run() for name, run in parts}
    seconds: dict[str, list[float]] = {name: [] for name, _ in parts}
    for _ in range(rounds):
        for name, run in parts:
            began = time.perf_counter()
            results[name] = run()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(taken) for name, taken in seconds.items()}, results


def machine() -> dict[str, str]:
    """Where and with what a bench ran."""
    import diffusers
    import torch

    if torch.cuda.is_available():
        device = torch.cuda.get_device_name(0)
    else:
        capability = torch.backends.cpu.get_cpu_capability()
        device = f"{platform.machine()} {capability}, {torch.get_num_threads()} threads"
    found = {
        "device": device,
        "torch": str(torch.__version__),
        "diffusers": diffusers.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    try:
        asked = ["git", "rev-parse", "--short", "HEAD"]
        place = Path(__file__).parent
        told = subprocess.run(asked, cwd=place, capture_output=True, text=True, check=True)
        found["commit"] = told.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        found["commit"] = "unknown"
    return found


def write_json(rows: Sequence[Row], place: Path) -> None:
    """All rows and the machine, replacing `place`."""
    data = {"machine": machine(), "rows": [asdict(row) for row in rows]}
    place.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
