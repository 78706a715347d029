"""Stock diffusers against storyflow, in one run: same weights, same noise.

    python tests/bench/bench_forcing.py                     # the CPU rows
    python tests/bench/bench_forcing.py --rows cpu-toybox,operations --json rows.json
    PYTHONPATH=. python tests/bench/bench_forcing.py --gpu  # under nine minutes on an H200

Needs torch, diffusers, transformers, numpy and safetensors, and storyflow's own files. A row that
fails says so and the others go on. Every row tells how far the two outputs are apart.
"""

from __future__ import annotations

import argparse
import time
import traceback
from pathlib import Path

import torch
from figures import PATIENCE, Row, machine, write_json
from forcing_cpu import CPU_ROWS
from forcing_gpu import GPU_ROWS


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", help=f"of {', '.join([*CPU_ROWS, *GPU_ROWS])}")
    parser.add_argument("--gpu", action="store_true", help="the rows that need a GPU")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU rows")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of the CPU rows")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--minutes", type=float, default=7.5, help="start no row after these")
    given = parser.parse_args()

    torch.set_num_threads(given.threads)
    PATIENCE.rounds = given.rounds
    every = {**CPU_ROWS, **GPU_ROWS}
    names = given.rows.split(",") if given.rows else list(GPU_ROWS if given.gpu else CPU_ROWS)
    if unknown := [name for name in names if name not in every]:
        parser.error(f"no row is called {unknown[0]}; there are {', '.join(every)}")
    print(", ".join(f"{key} {value}" for key, value in machine().items()), flush=True)
    began, rows = time.perf_counter(), list[Row]()
    for name in names:
        if (time.perf_counter() - began) / 60 > given.minutes:
            print(f"\n{name}: not started, {given.minutes:g} minutes are over", flush=True)
            continue
        started = time.perf_counter()
        try:
            rows.append(every[name]())
            print(f"\n{rows[-1]}\n  [{time.perf_counter() - started:.0f} s]", flush=True)
        except Exception:  # one row's failure is no reason to lose the others
            print(f"\n{name}: FAILED\n{traceback.format_exc()}", flush=True)
        if given.json:
            write_json(rows, given.json)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
