"""What a cut costs: `python tests/bench/bench_cut.py [--shots 3 60 600] [--frames 24]`.

Films of so many shots, drawn and not rendered, are cut to film.mp4 and joined to it by plain ffmpeg
(concat, encoded again with the same settings and threads), in turn. Then the preview: every shot
encoded for it, and once more with everything unchanged. Each is a process of its own, so that its
peak of memory is its own; CPU time counts where the machine has other things to do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storyflow.cutting.assemble import assemble
from storyflow.cutting.coding import KEYFRAMES, THREADS
from storyflow.cutting.pictures import Footage
from storyflow.cutting.preview import write_preview
from storyflow.pipeline import DeliverSection
from storyflow.store.clip import ClipWriter
from storyflow.store.hashing import frame_hashes
from storyflow.timing import Size, parse_size

FPS = Fraction(24)
DIFFERENT = 12
"""Shots that are drawn; longer films repeat them."""


@dataclass(frozen=True)
class Cost:
    """What one process took: seconds on the wall and of CPU, and MiB at its peak."""

    wall: float
    cpu: float
    peak: float


def drawn(frames: int, seed: int, size: Size) -> NDArray[np.uint8]:
    """Moving gradients under fine grain, uint8 [n, height, width, 3]: about as hard to encode as
    rendered footage."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size.height, 0 : size.width].astype(np.float32)
    grain = rng.normal(0, 1.5, (size.height + 64, size.width + 64, 3)).astype(np.float32)
    made = np.empty((frames, size.height, size.width, 3), np.uint8)
    for n in range(frames):
        waves = [
            128 + 80 * np.sin((x + 3 * n) / 60 + seed),
            128 + 80 * np.cos((y + 2 * n) / 50),
            128 + 70 * np.sin((x + y - 2 * n) / 80),
        ]
        down, across = rng.integers(0, 64, 2)
        moved = grain[down : down + size.height, across : across + size.width]
        made[n] = (np.stack(waves, -1) + moved).clip(0, 255)
    return made


def draw_masters(folder: Path, count: int, frames: int, size: Size) -> None:
    """Masters 0.mov and on, with the hashes of their frames beside them."""
    for number in range(count):
        pictures = drawn(frames, number, size)
        with ClipWriter(folder / f"{number}.mov", size.width, size.height, FPS) as writer:
            writer.write(pictures)
        (folder / f"{number}.json").write_text(json.dumps(frame_hashes(pictures)))


def entries_of(folder: Path, shots: int) -> list[Footage]:
    """Whole masters, in turn."""
    made = []
    for shot in range(shots):
        master = folder / f"{shot % DIFFERENT}.mov"
        hashes = tuple(json.loads(master.with_suffix(".json").read_text()))
        made.append(Footage(str(shot), master, 0, len(hashes), hashes))
    return made


def work(what: str, folder: Path, shots: int, preset: str, size: Size) -> None:
    """One job, in this process."""
    if what == "ffmpeg":
        plain(folder, shots, preset)
        return
    deliver = DeliverSection.model_validate({"preset": preset})
    make = write_preview if what == "preview" else assemble
    make(entries_of(folder, shots), folder / f"{what}.mp4", fps=FPS, size=size, deliver=deliver)


def plain(folder: Path, shots: int, preset: str) -> None:
    """What people do without storyflow, with the colours done right."""
    import imageio_ffmpeg

    listed = folder / "list.txt"
    names = (folder / f"{shot % DIFFERENT}.mov" for shot in range(shots))
    listed.write_text("".join(f"file '{name}'\n" for name in names))
    colours = (
        "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,"
        "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
    )
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-nostdin", "-loglevel", "error",
        "-threads", str(THREADS), "-f", "concat", "-safe", "0", "-i", str(listed),
        "-vf", colours, "-c:v", "libx264", "-preset", preset, "-crf", "18",
        "-g", str(KEYFRAMES), "-threads", str(THREADS), "-x264-params", "mbtree=0",
        "-movflags", "+faststart", str(folder / "ffmpeg.mp4"),
    ]  # fmt: skip
    os.execv(command[0], command)  # in place of this process, so that its peak can be read


def measured(what: str, folder: Path, shots: int, preset: str, size: Size) -> Cost:
    """The same in a process of its own."""
    arguments = [what, str(folder), str(shots), preset, str(size)]
    begun, peak = time.perf_counter(), 0.0
    child = subprocess.Popen([sys.executable, __file__, "--job", *arguments])
    # Not the resource usage's peak, which counts what this process held when it forked.
    while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
        peak = max(peak, peak_of(child.pid))
        time.sleep(0.05)
    wall = time.perf_counter() - begun
    child.returncode = os.waitstatus_to_exitcode(ended[1])
    if child.returncode:
        raise SystemExit(f"{what} failed")
    return Cost(wall, ended[2].ru_utime + ended[2].ru_stime, peak)


def peak_of(pid: int) -> float:
    """The most memory that a process ever held since its program began, in MiB."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def median(costs: Sequence[Cost]) -> Cost:
    """The median of each figure, the largest peak."""
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        max(cost.peak for cost in costs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, nargs="+", default=[3, 60, 600])
    parser.add_argument("--frames", type=int, default=24, help="per shot")
    parser.add_argument("--size", default="960x544")
    parser.add_argument("--preset", default="medium")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=["film", "ffmpeg", "preview"])
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    given = parser.parse_args()
    size, only = parse_size(given.size), given.only or ["film", "ffmpeg", "preview"]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    found: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_masters(folder, min(DIFFERENT, max(given.shots)), given.frames, size)
        for shots in given.shots:
            frames = shots * given.frames
            print(f"{shots} shots, {frames} frames of {size}, {given.preset}")
            parts = [part for part in ("film", "ffmpeg") if part in only]
            costs: dict[str, list[Cost]] = {part: [] for part in parts}
            for _ in range(given.rounds):
                for part in parts:
                    costs[part].append(measured(part, folder, shots, given.preset, size))
            rows = {part: median(each) for part, each in costs.items()}
            if "preview" in only:
                job = ("preview", folder, shots, given.preset, size)
                rows["preview, all encoded"] = measured(*job)
                rows["preview, unchanged"] = median([measured(*job) for _ in range(given.rounds)])
                for piece in (folder / "shots" / "preview").iterdir():
                    piece.unlink()
            rows["(an empty process)"] = median(
                [measured("nothing", folder, 0, given.preset, size) for _ in range(3)]
            )
            for what, cost in rows.items():
                print(
                    f"  {what:22} {frames / cost.wall:8.1f} frames a second, "
                    f"{1000 * cost.cpu / frames:7.2f} ms of CPU a frame, {cost.cpu:8.2f} s of CPU, "
                    f"{cost.peak:5.0f} MiB"
                )
            found[str(shots)] = {what: asdict(cost) for what, cost in rows.items()}
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--job"]:
        job, place, count, effort, extent = sys.argv[2:]
        if job != "nothing":
            work(job, Path(place), int(count), effort, parse_size(extent))
    else:
        main()
