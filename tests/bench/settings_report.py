"""Tables and plots of bench_settings.py, as Markdown and SVG; no plotting library is needed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

FPS = 24


@dataclass(frozen=True)
class Seen:
    """One segment of one shot. `setting` is empty for the base: the profile, as `--set` left it.

    `frames` counts the shot's frames up to the segment's end. `drift` is how far the mean and the
    spread of the three colours are from the first segment's, root mean square in levels of 255;
    `detail` the mean step between neighbouring pixels, of the first segment's; `seam` the step at
    the segment's first frame by the mean of the eight around it. The first figure's `colour`,
    `shape` and `action`, and `place`, `light` and `camera`, are right (1) or not (0).
    `seconds` are the processor's, of all threads, so that other work on the machine counts little.
    """

    weights: str
    setting: str
    shot: int
    segment: int
    frames: int
    drift: float
    detail: float
    seam: float
    colour: int
    shape: int
    action: int
    place: int
    light: int
    camera: int
    seconds: float


READ = ("colour", "shape", "action", "place", "light", "camera")


def write_report(
    folder: Path,
    rows: Sequence[Seen],
    factors: Mapping[str, Mapping[str, str]],
    machine: Mapping[str, str],
    shots: int,
    segments: int,
) -> None:
    """Write settings.md and settings-<factor>.svg into `folder`.

    `factors` give for each setting's name, as it stands in the rows, what to call it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for row in rows if row.shot < shots and row.segment <= segments]
    told = ", ".join(f"{key} {value}" for key, value in machine.items())
    lines = [f"Measured on: {told}.", ""]
    for name, settings in factors.items():
        chosen = {s: _complete([r for r in rows if r.setting == s], segments) for s in settings}
        chosen = {setting: found for setting, found in chosen.items() if found}
        if len(chosen) < 2:
            continue
        labels = {setting: _label(setting, told) for setting, told in settings.items()}
        lines += [f"**{name}**", "", *_table(chosen, labels), ""]
        picture = folder / f"settings-{name}.svg"
        picture.write_text(_plot(f"{name}: drift", chosen, labels), encoding="utf-8")
        lines += [f"![drift by {name}]({picture.name})", ""]
    (folder / "settings.md").write_text("\n".join(lines), encoding="utf-8")


def _complete(rows: Sequence[Seen], segments: int) -> list[Seen]:
    """Shots that have all their segments, each segment once."""
    by_place = {(row.shot, row.segment): row for row in rows}
    whole = {
        shot for shot, _ in by_place if all((shot, s + 1) in by_place for s in range(segments))
    }
    return [row for (shot, _), row in sorted(by_place.items()) if shot in whole]


def _label(setting: str, told: str) -> str:
    """`steps=8`; what all others are compared with is marked."""
    short = " ".join(x.partition(".")[2] for x in told.split())
    return short if setting else f"{short} (base)"


def _table(chosen: Mapping[str, Sequence[Seen]], labels: Mapping[str, str]) -> list[str]:
    """Means over shots. What a setting changes is a difference paired by shot, with its standard
    error; the base's own row has none."""
    lines = [
        "| setting | shots | drift at the end | paired | seam | paired | right, of 6 | paired "
        "| detail at the end | CPU s per segment |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    base = {measure: measure(chosen.get("", ())) for measure in (_drifts, _seams, _adherence)}
    for setting, rows in chosen.items():
        cells = [labels[setting], str(len({row.shot for row in rows}))]
        for measure, compared in base.items():
            own = measure(rows)
            paired = [own[shot] - compared[shot] for shot in own if shot in compared]
            cells += [f"{np.mean(list(own.values())):.2f}", _difference(paired) if setting else ""]
        last = max(row.segment for row in rows)
        cells += [
            f"{np.mean([row.detail for row in rows if row.segment == last]):.2f}",
            f"{np.mean([row.seconds for row in rows]):.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _drifts(rows: Sequence[Seen]) -> dict[int, float]:
    """Of each shot the drift of its last segment."""
    return {row.shot: row.drift for row in sorted(rows, key=lambda row: row.segment)}


def _seams(rows: Sequence[Seen]) -> dict[int, float]:
    """Of each shot the median of its seams."""
    shots = sorted({row.shot for row in rows if not math.isnan(row.seam)})
    return {
        s: float(np.median([r.seam for r in rows if r.shot == s and not math.isnan(r.seam)]))
        for s in shots
    }


def _adherence(rows: Sequence[Seen]) -> dict[int, float]:
    """Of each shot the mean number of things that are right, of 6, over all its segments."""
    shots = sorted({row.shot for row in rows})
    return {s: float(np.mean([_right(r) for r in rows if r.shot == s])) for s in shots}


def _right(row: Seen) -> int:
    return sum(int(getattr(row, name)) for name in READ)


def _difference(paired: Sequence[float]) -> str:
    if not paired:
        return ""
    error = np.std(paired, ddof=1) / math.sqrt(len(paired)) if len(paired) > 1 else math.nan
    return f"{np.mean(paired):+.2f}" + ("" if math.isnan(error) else f" ± {error:.2f}")


def _ticks(top: float) -> list[float]:
    """Round numbers from 0 up to `top`, at most six."""
    step = next(k * 10.0**e for e in range(-3, 6) for k in (1, 2, 5) if top / (k * 10.0**e) <= 5)
    return [step * k for k in range(int(top / step) + 1)]


COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44", "#8e5ea2", "#e08e0b", "#4b4b4b")


def _plot(title: str, chosen: Mapping[str, Sequence[Seen]], labels: Mapping[str, str]) -> str:
    """Mean drift over seconds of film, a line for each setting, with standard errors."""
    series = {}
    for setting, rows in chosen.items():
        points = []
        for segment in sorted({row.segment for row in rows}):
            here = [row for row in rows if row.segment == segment]
            values = [row.drift for row in here]
            error = (
                float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0
            )
            points.append((here[0].frames / FPS, float(np.mean(values)), error))
        series[labels[setting]] = points
    right = max(x for points in series.values() for x, _, _ in points)
    top = max(max(y + e for points in series.values() for _, y, e in points), 1.0) * 1.1
    width, height, left, bottom, above = 640, 320, 52, 44, 24

    def at(x: float, y: float) -> tuple[float, float]:
        high = height - bottom - above
        return left + x / right * (width - left - 170), above + high * (1 - y / top)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f"<title>{escape(title)}</title>",
    ]
    for value in _ticks(top):
        x, y = at(0, value)
        parts.append(
            f'<line x1="{x:.0f}" y1="{y:.1f}" x2="{at(right, 0)[0]:.0f}" y2="{y:.1f}" '
            'stroke="#ddd"/>'
            f'<text x="{x - 6:.0f}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    for value in _ticks(right):
        x, y = at(value, 0)
        parts.append(f'<text x="{x:.0f}" y="{y + 16:.0f}" text-anchor="middle">{value:g}</text>')
    middle = at(right / 2, 0)[0]
    parts.append(
        f'<text x="{middle:.0f}" y="{height - 6}" text-anchor="middle">seconds of film</text>'
    )
    parts.append(
        f'<text x="{left}" y="14" font-weight="bold">{escape(title)}, levels of 255</text>'
    )
    for number, (label, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [at(x, y) for x, y, _ in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y, error in points:
            (a, low), (_, high) = at(x, y - error), at(x, y + error)
            ends = f'x1="{a:.1f}" y1="{low:.1f}" x2="{a:.1f}" y2="{high:.1f}"'
            parts.append(f'<line {ends} stroke="{colour}"/>')
        parts.append(
            f'<text x="{width - 160}" y="{30 + 18 * number}" fill="{colour}">{escape(label)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"
