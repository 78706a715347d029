"""What each sampler setting does to long shots: the evidence for pipelines/toybox.yaml.

    python tests/bench/bench_settings.py --out /tmp/settings --shots 12 --segments 6
    python tests/bench/bench_settings.py --out /tmp/settings --factors overlap,steps
    python tests/bench/bench_settings.py --out /tmp/settings --set forcing.history=pixels
    python tests/bench/bench_settings.py --out /tmp/settings --report docs

Long shots of the toybox's exam questions, one prompt all along, are rendered with the profile's
settings (or with what `--set` makes of them) and with one of them changed at a time; shot n has the
same prompt and seeds everywhere. What is measured is read back from the pixels
(storyflow/toybox/measure.py). Every finished shot is appended to shots.csv in the folder, so the
command goes on where it was stopped; rows of other weights or settings are kept and passed over.
`--report` writes tables and plots of what is there.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
from figures import machine
from numpy.typing import NDArray
from settings_report import Seen, write_report

from storyflow.kinds import kind_of
from storyflow.pipeline import load_profile
from storyflow.renderer import ModelKind
from storyflow.toybox import measure
from storyflow.toybox.exam import Question, question
from storyflow.toybox.studio import Studio
from storyflow.toybox.world import HEIGHT, WIDTH

Clip = NDArray[np.uint8]
Overrides = tuple[str, ...]

FACTORS: dict[str, tuple[Overrides, ...]] = {
    "history": (("forcing.history=pixels",), ("forcing.history=latents",)),
    "overlap": tuple((f"windows.overlap={frames}",) for frames in (9, 17, 37)),
    "history-noise": tuple((f"forcing.history_noise={part}",) for part in (0, 20, 50)),
    "schedule": (
        ("forcing.ar_step=0",),
        ("forcing.ar_step=2", "forcing.block=5"),
        ("forcing.ar_step=5", "forcing.block=5"),
    ),
    "steps": tuple((f"forcing.steps={count}",) for count in (4, 8, 12, 20, 30, 50)),
    "guidance": tuple((f"forcing.guidance={scale}",) for scale in (1, 2, 3, 4, 6, 9)),
    "guided-part": (
        ("forcing.guidance_to=1.0",),
        ("forcing.guidance_to=0.5",),
        ("forcing.guidance_from=0.2", "forcing.guidance_to=0.8"),
    ),
    "step-cache": tuple((f"forcing.step_cache={limit}",) for limit in (0, 0.05, 0.1, 0.2)),
    "quantize": tuple((f"model.quantize={kind}",) for kind in ("none", "int8", "fp8")),
    "vae": tuple((f"model.vae_dtype={kind}",) for kind in ("float32", "bfloat16")),
    "together": (
        ("forcing.history=pixels", "forcing.steps=20"),
        ("forcing.history=latents", "forcing.steps=12"),
    ),
}
"""What is changed, one factor at a time. The solver `consistency` is not here: it is for weights
distilled to few steps, and the toybox's are not. `together` is what the others led to."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of shots.csv")
    parser.add_argument("--shots", type=int, default=12)
    parser.add_argument("--segments", type=int, default=6)
    parser.add_argument("--factors", default=",".join(FACTORS), help="by default all of them")
    parser.add_argument("--profile", default="toybox")
    parser.add_argument("--set", action="append", default=[], help="of the profile, for all runs")
    parser.add_argument("--report", type=Path, help="folder for a table and plots; renders nothing")
    given = parser.parse_args()
    names = given.factors.split(",")
    if unknown := [name for name in names if name not in FACTORS]:
        parser.error(f"no factor is called {unknown[0]}; there are {', '.join(FACTORS)}")
    base: Overrides = tuple(given.set)
    place = given.out / "shots.csv"
    given.out.mkdir(parents=True, exist_ok=True)
    if given.report is None:
        render(given.profile, base, names, place, given.shots, given.segments)
        return
    weights = marked(kind(given.profile, base), base)
    rows = [row for row in read(place) if row.weights == weights]
    factors = {
        name: {named(given.profile, base, o): " ".join(o) for o in FACTORS[name]} for name in names
    }
    write_report(given.report, rows, factors, machine(), given.shots, given.segments)


def render(
    profile: str, base: Overrides, factors: list[str], place: Path, shots: int, segments: int
) -> None:
    """Render what is not in the file yet, shot by shot, so that early rows are already paired."""
    settings = {"": Overrides()}
    for factor in factors:
        settings.update({named(profile, base, o): o for o in FACTORS[factor]})
    weights = marked(kind(profile, base), base)
    rows = [row for row in read(place) if row.weights == weights]
    done = {(row.setting, row.shot) for row in rows if row.segment >= segments}
    asked = [question(number) for number in range(shots)]
    for setting, overrides in settings.items():
        missing = [n for n in range(shots) if (setting, n) not in done]
        if not missing:
            continue
        studio = Studio(kind(profile, base + overrides))
        for number in missing:
            began = time.perf_counter()
            found = shot(studio, asked[number], segments)
            append(place, [Seen(weights, setting, number, *values) for values in found])
            took = time.perf_counter() - began
            print(f"{setting or 'as it is':40} shot {number:2}  {took:6.1f} s", flush=True)
        studio.close()


def kind(profile: str, overrides: Overrides) -> ModelKind:
    return kind_of(load_profile(profile, overrides)[1])


def named(profile: str, base: Overrides, overrides: Overrides) -> str:
    """The setting's name: empty where it changes nothing of what the profile says."""
    plain, changed = (load_profile(profile, base + o)[1] for o in ((), overrides))
    return "" if plain == changed else " ".join(overrides)


def marked(model: ModelKind, base: Overrides) -> str:
    """Which weights and which common settings: rows of others are not compared."""
    told = repr((model.identity, base, model.pixel_fields))
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def shot(studio: Studio, asked: Question, segments: int) -> list[tuple[object, ...]]:
    """Render a chain of segments and read each of them: the fields of `Seen` from `segment` on."""
    found: list[tuple[object, ...]] = []
    film: Clip = np.zeros((0, HEIGHT, WIDTH, 3), np.uint8)
    made = studio.segments([asked.prompt] * segments, asked.seed)
    for number in range(1, segments + 1):
        began = time.process_time()
        clip = next(made)
        seconds = time.process_time() - began
        seam = seam_ratio(film, clip) if number > 1 else float("nan")
        film = np.concatenate([film, clip])
        first = film[: studio.window]
        answers = read_clip(asked, clip)
        values = (drift(first, clip), detail(clip) / max(detail(first), 1e-6), seam)
        found.append((number, len(film), *values, *answers, seconds))
    return found


def read_clip(asked: Question, clip: Clip) -> tuple[int, ...]:
    """Colour, shape and action of the first figure, place, light and camera: right or not."""
    seen, scene = measure.read(clip), asked.scene
    figure = scene.figures[0]
    own = seen.of(figure.colour)
    right = (
        own is not None,
        own is not None and own.shape == figure.shape,
        own is not None and own.action == scene.actions(0)[0],
        seen.place == scene.place,
        seen.light == scene.light,
        seen.camera == scene.camera,
    )
    return tuple(int(x) for x in right)


def drift(first: Clip, clip: Clip) -> float:
    """See `Seen`."""
    return float(np.sqrt(np.mean((_colours(clip) - _colours(first)) ** 2)))


def _colours(clip: Clip) -> NDArray[np.float64]:
    pixels = clip.reshape(-1, 3).astype(np.float64)
    return np.concatenate([pixels.mean(axis=0), pixels.std(axis=0)])


def detail(clip: Clip) -> float:
    """Mean step between neighbouring pixels, across and down."""
    pixels = clip[::4].astype(np.int16)
    return float(np.abs(np.diff(pixels, axis=1)).mean() + np.abs(np.diff(pixels, axis=2)).mean())


def seam_ratio(before: Clip, after: Clip) -> float:
    """The step between two segments by the mean of the four steps on each side, one left out."""
    around = np.concatenate([before[-6:], after[:6]]).astype(np.int16)
    steps = np.abs(np.diff(around, axis=0)).mean(axis=(1, 2, 3))
    beside = np.concatenate([steps[:4], steps[6:10]]).mean()
    return float(steps[5] / max(beside, 1e-6))


def read(place: Path) -> Iterator[Seen]:
    """The rows of the file, none where there is no file; a row cut short is passed over."""
    if not place.exists():
        return
    types = {
        field.name: {"str": str, "int": int, "float": float}[field.type] for field in fields(Seen)
    }  # type: ignore[index]
    with place.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if all(row.get(name) not in (None, "") or name == "setting" for name in types):
                yield Seen(**{name: types[name](row[name]) for name in types})


def append(place: Path, rows: list[Seen]) -> None:
    """Add a shot's rows at once."""
    fresh = not place.exists()
    with place.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=[field.name for field in fields(Seen)])
        if fresh:
            writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


if __name__ == "__main__":
    main()
