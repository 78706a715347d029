"""Films from pictures and clips through the real engine, on random weights of a few thousand
numbers: every mode, both forms of history, both schedules; and what an edit renders again."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import tiny_models
from films import Studio
from media_files import clip_file, counting, grey, picture_file, quadrants

import storyflow

MODES = """\
film: Modes
shots:
- {id: A, from: door.png, dur: 40f, do: the door rattles}
- {id: B, from: door.png, to: open.png, dur: 30f, do: the door opens}
- {id: C, from: clip.mp4, dur: 24f, do: it rolls on}
- id: D
  beats:
  - {dur: 20f, do: it stands}
  - {dur: 12f, do: it falls}
- {id: E, from: C, dur: 8f, do: it stops}
"""
EVERY = ("A/1", "A/2", "B/1", "B/2", "C/1", "C/2", "D/1", "D/2", "E/1")

SETTINGS = (
    f"model.id={tiny_models.folder()}",
    f"frame={tiny_models.WIDTH}x{tiny_models.HEIGHT}",
    "windows={trained: 25, overlap: 9, floor: 9}",
    "forcing={steps: 3, guidance: 2.0, shift: 3.0, history_noise: 20}",
    "deliver={preset: ultrafast, scale: 1}",
)
SCHEDULES = {
    "synchronous, pixels": (),
    "synchronous, latents": ("forcing.history=latents",),
    "asynchronous, pixels": ("forcing.ar_step=1", "forcing.block=3"),
    "asynchronous, latents": ("forcing.ar_step=2", "forcing.block=2", "forcing.history=latents"),
}


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    picture_file(tmp_path / "door.png", quadrants())
    picture_file(tmp_path / "open.png", quadrants()[::-1])
    clip_file(tmp_path / "clip.mp4", counting(30, 80, 80))
    made = Studio(tmp_path, MODES)
    made.options |= {"pipeline": "toybox", "settings": SETTINGS}
    return made


def pictures(path: Path) -> np.ndarray:
    with av.open(str(path)) as film:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)])


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_mode_in_every_schedule(studio: Studio, name: str) -> None:
    settings = (*SETTINGS, *SCHEDULES[name])
    made = studio.render(settings=settings)
    assert made.result.complete, made.result.failures
    assert made.names == EVERY
    assert len(pictures(made.result.film)) == 40 + 30 + 24 + 32 + 8
    again = studio.render(settings=settings, store=studio.folder / "other")
    assert again.names == EVERY and again.sha256 == made.sha256, "the same film from nothing"


def test_an_edit_of_a_file_renders_what_reads_it(studio: Studio) -> None:
    studio.render()
    picture_file(studio.folder / "open.png", grey(90))
    assert studio.render().names == ("B/2",)
    clip_file(studio.folder / "clip.mp4", counting(31, 80, 80))
    assert studio.render().names == ("C/1", "C/2", "E/1")
    studio.edit("from: clip.mp4,", "from: clip.mp4, fit: pad,")
    assert studio.render().names == ("C/1", "C/2", "E/1")
    (studio.folder / "door.png").rename(studio.folder / "gate.png")
    studio.edit("door.png", "gate.png")
    assert studio.render().names == ()
    picture_file(studio.folder / "gate.png", grey(60))
    assert studio.render().names == ("A/1", "A/2", "B/1", "B/2")


def test_the_plan_counts_the_passes_of_an_asynchronous_schedule(studio: Studio) -> None:
    plain = storyflow.quote(studio.file, **studio.options)
    slow = {**studio.options, "settings": (*SETTINGS, "forcing.ar_step=2", "forcing.block=2")}
    told = storyflow.quote(studio.file, **slow)
    assert told.totals.flops > 1.5 * plain.totals.flops
    assert any("forcing.ar_step: the asynchronous schedule takes" in n for n in told.notices)
    assert not any("ar_step" in n for n in plain.notices)
