"""How long planning takes: `python tests/bench/bench_plan.py`.

Prints seconds to read, resolve and plan films of 10,000 segments, and of 1,000 for the ratio.
"""

from __future__ import annotations

import platform
import time

import storyflow
from storyflow.kinds import kind_of
from storyflow.lock import Lock
from storyflow.pipeline import load_profile
from storyflow.planning.planner import make_plan
from storyflow.storyboard.resolve import resolve


def film(scenes: int, beats: int) -> dict[str, object]:
    """Ten shots a scene; two beats of 8 and 6 seconds are five segments on the 97 + 80k lattice."""
    actions = ("@hero climbs stair {}", "he turns at door {}, startled")

    def shot(number: int) -> dict[str, object]:
        lines = [{"dur": f"{8 - 2 * b}s", "do": actions[b].format(number)} for b in range(beats)]
        return {"id": f"S{number}", "size": "MS", "beats": lines}

    return {
        "film": "Long",
        "cast": {"hero": {"look": "a man of sixty, navy coat"}},
        "scenes": [
            {
                "scene": f"INT. ROOM {number}",
                "light": "warm lamp light",
                "shots": [shot(10 * number + k) for k in range(10)],
            }
            for number in range(scenes)
        ],
    }


def measure(title: str, data: dict[str, object]) -> float:
    name, profile = load_profile("toybox")
    kind = kind_of(profile)
    began = time.perf_counter()
    read = storyflow.parse(data)
    parsed = time.perf_counter()
    resolved = resolve(read)
    known = time.perf_counter()
    plan = make_plan(resolved, Lock(), profile, name, kind)
    planned = time.perf_counter()
    print(
        f"{title:28} {len(plan.segments):6} segments: parse {parsed - began:.2f} s, "
        f"resolve {known - parsed:.2f} s, plan {planned - known:.2f} s"
    )
    return planned - known


if __name__ == "__main__":
    print(f"Python {platform.python_version()}, {platform.machine()}")
    small = measure("200 shots of two beats", film(20, 2))
    large = measure("2,000 shots of two beats", film(200, 2))
    shots = [{"id": f"S{n}", "dur": "34s", "do": f"a man climbs stair {n}"} for n in range(1000)]
    measure("1,000 shots of 34 s", {"film": "Shots", "shots": shots})
    one = {"film": "One", "shots": [{"do": "a man walks", "dur": "9:15:33"}]}
    measure("one shot of nine hours", one)
    print(f"ten times the segments take {large / small:.1f} times as long to plan")
