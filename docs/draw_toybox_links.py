"""Draws docs/toybox-links.svg from docs/toybox-links.csv: `python docs/draw_toybox_links.py`.

Losses of the toybox's links, end to end. Steps stand on the x axis, in thousands.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pandas as pd

DOCS = Path(__file__).parent
WIDE, HIGH, LEFT, TOP, GAP = 820, 210, 56, 56, 64
MEAN = 5
COLOURS = {1: "#8a4f9e", 7: "#1f77b4", 13: "#2e8b57", 25: "#d2691e"}
PANELS = {"velocity": (0.2, 0.6), "auxiliary": (0.1, 0.6)}
"""The column, and the losses at the bottom and the top of its panel."""
TITLES = {"velocity": "velocity", "auxiliary": "auxiliary task: what the tokens show"}


def draw() -> str:
    """The SVG's text."""
    rows = pd.read_csv(DOCS / "toybox-links.csv")
    ends = [0, *rows.groupby("link").step.max().cumsum()]
    rows["at"] = rows.step + rows.link.map(dict(zip(rows.link.unique(), ends, strict=False)))
    height = TOP + len(PANELS) * (HIGH + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDE + 24} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{LEFT + WIDE + 24}" height="{height}" fill="white"/>',
        *_key(),
    ]
    for number, (column, (low, high)) in enumerate(PANELS.items()):
        top = TOP + number * (HIGH + GAP)
        scale = WIDE / ends[-1]
        parts.append(f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{TITLES[column]}</text>')
        parts += _grid(top, low, high)
        for link, (first, last) in zip(rows.link.unique(), pairwise(ends), strict=True):
            x = LEFT + last * scale
            parts.append(_line(x, top, x, top + HIGH, "#bbb"))
            middle = LEFT + (first + last) / 2 * scale
            parts.append(_text(middle, top + HIGH + 34, f"link {link}"))
        for thousand in range(0, ends[-1] // 1000 + 1, 2):
            parts.append(_text(LEFT + thousand * 1000 * scale, top + HIGH + 16, str(thousand)))
        for (_, latents), some in rows.groupby(["link", "latents"]):
            weighted = (some[column] * some.batches).rolling(MEAN, min_periods=1).sum()
            mean = weighted / some.batches.rolling(MEAN, min_periods=1).sum()
            points = " ".join(
                f"{LEFT + at * scale:.1f},"
                f"{top + HIGH * (high - min(max(loss, low), high)) / (high - low):.1f}"
                for at, loss in zip(some["at"], mean, strict=True)
            )
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{COLOURS[latents]}" '
                'stroke-width="1.6"/>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _key() -> list[str]:
    parts, x = [], LEFT
    for latents, colour in COLOURS.items():
        name = "single pictures" if latents == 1 else f"windows of {latents} latents"
        parts.append(f'<rect x="{x}" y="10" width="18" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 24}" y="16">{name}</text>')
        x += 180
    return parts


def _grid(top: int, low: float, high: float) -> list[str]:
    parts = []
    for tenth in range(round(low * 10), round(high * 10) + 1):
        y = top + HIGH * (high - tenth / 10) / (high - low)
        if top <= y <= top + HIGH:
            parts.append(_line(LEFT, y, LEFT + WIDE, y, "#ddd"))
            parts.append(_text(LEFT - 18, y + 4, f"{tenth / 10}"))
    return parts


def _line(x: float, y: float, x2: float, y2: float, colour: str) -> str:
    return f'<path d="M{x:.1f} {y:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, words: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{words}</text>'


if __name__ == "__main__":
    (DOCS / "toybox-links.svg").write_text(draw(), encoding="utf-8")
