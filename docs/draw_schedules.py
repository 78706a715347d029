"""Draws docs/schedules.svg: `python docs/draw_schedules.py`. Colours are timesteps."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from storyflow.forcing.schedule import Timetable, make_schedule, make_timetable

CELL_W, CELL_H, GAP = 9, 5, 40
CLEAN, NOISE = (0xF6, 0xF1, 0xE4), (0x1B, 0x3A, 0x57)


def tables() -> list[tuple[str, Timetable]]:
    """The pictures, each a title and the passes of a window of 25 latents."""
    schedule = make_schedule(20, 8.0, "reference")
    noisy = {"history_noise": 20}
    return [
        ("synchronous, after history", make_timetable(schedule, 25, 5, **noisy)),
        (
            "asynchronous (ar_step 5, block 5), fresh",
            make_timetable(schedule, 25, 0, ar_step=5, block=5),
        ),
        (
            "asynchronous, start and end picture",
            make_timetable(schedule, 25, 1, ends=1, ar_step=5, block=5, **noisy),
        ),
    ]


def draw() -> str:
    """The SVG's text."""
    drawn = tables()
    highest = max(table.passes for _, table in drawn)
    widths = [table.timesteps.shape[1] * CELL_W for _, table in drawn]
    width, height = sum(widths) + GAP * (len(drawn) + 1), highest * CELL_H + 80
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    left = GAP
    for (title, table), wide in zip(drawn, widths, strict=True):
        parts.append(f'<text x="{left}" y="22" font-weight="bold">{title}</text>')
        parts.append(f'<text x="{left}" y="38">{table.passes} passes, downwards</text>')
        parts += _cells(table, left, 48)
        foot = 62 + table.passes * CELL_H
        parts.append(f'<text x="{left}" y="{foot}">latent frames, from left to right</text>')
        left += wide + GAP
    return "\n".join([*parts, "</svg>"]) + "\n"


def _cells(table: Timetable, left: int, top: int) -> list[str]:
    """One rectangle for each run of equal timesteps in a row."""
    parts = []
    for row, steps in enumerate(table.timesteps):
        edges = [0, *(np.flatnonzero(np.diff(steps)) + 1), len(steps)]
        for start, stop in pairwise(edges):
            part = steps[start] / 999
            mixed = (round(a + (b - a) * part) for a, b in zip(CLEAN, NOISE, strict=True))
            parts.append(
                f'<rect x="{left + start * CELL_W}" y="{top + row * CELL_H}" '
                f'width="{(stop - start) * CELL_W - 1}" height="{CELL_H}" '
                f'fill="#{"".join(f"{value:02x}" for value in mixed)}"/>'
            )
    return parts


if __name__ == "__main__":
    (Path(__file__).parent / "schedules.svg").write_text(draw(), encoding="utf-8")
