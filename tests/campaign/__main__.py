"""The long campaign: `python -m tests.campaign --kills 200 --seed 1 --work DIR`.

Started again with the same seed and folder, it goes on where it was. Exit code 0 if every film came
out equal, 1 otherwise.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from .aims import Aim, aims
from .play import Theatre
from .stage import ROOT
from .table import Table, line, listing, summary


def main() -> int:
    """Play rounds until enough kills stand in the table, then print it."""
    words = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    words.add_argument("--kills", type=int, default=200, help="kills in the end [200]")
    words.add_argument("--seed", type=int, default=1, help="decides every aim [1]")
    words.add_argument("--work", type=Path, required=True, help="folder of the table and the films")
    words.add_argument("--only", default="", help="only aims whose line holds this text")
    words.add_argument("--list", action="store_true", help="print every kill at the end")
    given = words.parse_args()
    for ending in (signal.SIGINT, signal.SIGTERM):
        # In the background of a shell SIGINT is ignored, and a process that ends at once would
        # leave its cluster behind.
        signal.signal(ending, signal.default_int_handler)
    given.work.mkdir(parents=True, exist_ok=True)
    console = Console()
    table = Table(given.work / "kills.sqlite", given.seed)
    theatre = Theatre(given.work)
    version = _version()
    try:
        played = {row.aim.number for row in table.rows()}
        kills = sum(row.is_kill for row in table.rows())
        number = 0
        while kills < given.kills:
            number += 1
            what = aims(given.seed, number)
            if number in played or not any(given.only in _words(aim) for aim in what):
                continue
            rows = theatre.play(what)
            table.add(rows, version)
            kills += sum(row.is_kill for row in rows)
            for row in rows:
                console.print(line(row), highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from here")
    finally:
        theatre.close()
        found = table.rows()
        table.close()
    if given.list:
        console.print(listing(found))
    console.print(summary(found))
    return 1 if any(row.wrong for row in found) else 0


def _words(aim: Aim) -> str:
    return f"{aim.pipeline} {aim.place}, {aim.victim}, {aim.moment}"


def _version() -> str:
    words = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(words, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
