"""Films on the full-sequence models, from the storyboard to the cut, with tiny random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models
import tiny_sequences
from films import Rendered, Studio
from media_files import grey, picture_file, quadrants
from tiny_sequences import Weights

import storyflow
from storyflow.errors import StoryboardError

FILMS: dict[Weights, str] = {
    "text": """\
film: Text
shots:
- {id: A, dur: 20f, do: a door rattles}
- {id: B, dur: 9f, do: it opens}
""",
    "image": """\
film: Image
shots:
- {id: A, from: door.png, dur: 20f, do: the door rattles}
- {id: B, from: open.png, fit: pad, dur: 9f, do: it is open}
""",
    "ends": """\
film: Ends
shots:
- {id: A, from: door.png, to: open.png, dur: 17f, do: the door opens}
""",
}
PIPELINES: dict[Weights, str] = {
    "text": "skyreels-v2-t2v-14b-540p",
    "image": "skyreels-v2-i2v-1.3b-540p",
    "ends": "skyreels-v2-i2v-14b-540p",
}


def studio(folder: Path, weights: Weights, text: str | None = None) -> Studio:
    picture_file(folder / "door.png", quadrants())
    picture_file(folder / "open.png", quadrants()[::-1])
    made = Studio(folder, text or FILMS[weights])
    made.options |= {
        "pipeline": PIPELINES[weights],
        "settings": (
            f"model.id={tiny_sequences.folder(weights)}",
            "model.dtype=float32",
            f"frame={tiny_models.WIDTH}x{tiny_models.HEIGHT}",
            "windows={trained: 25, floor: 9}",
            "forcing={steps: 2, guidance: 2.0, shift: 3.0}",
            "deliver={preset: ultrafast, scale: 1}",
        ),
    }
    return made


def whole(made: Rendered) -> Rendered:
    assert made.result.complete, made.result.failures
    return made


@pytest.mark.parametrize("weights", FILMS)
def test_a_film_is_made_twice_the_same(weights: Weights, tmp_path: Path) -> None:
    place = studio(tmp_path, weights)
    made = whole(place.render())
    assert made.names == (("A/1",) if weights == "ends" else ("A/1", "B/1"))
    again = whole(place.render(store=tmp_path / "other"))
    assert again.names == made.names and again.sha256 == made.sha256
    assert whole(place.render()).names == ()


def test_an_edit_renders_what_it_changes(tmp_path: Path) -> None:
    place = studio(tmp_path, "image")
    place.render()
    picture_file(tmp_path / "open.png", grey(90))
    assert whole(place.render()).names == ("B/1",)
    place.edit("the door rattles", "the door falls")
    assert whole(place.render()).names == ("A/1",)
    settings = (*place.options["settings"], "forcing.shift=5")
    assert whole(place.render(settings=settings)).names == ("A/1", "B/1")
    settings = (*place.options["settings"], "engine.offload=none", "windows.floor=5")
    assert whole(place.render(settings=settings)).names == ()


REFUSED = [
    ("text", FILMS["image"], 3, "it can't start from a picture"),
    ("image", FILMS["text"], 3, "it starts from a picture always"),
    ("image", FILMS["ends"], 3, "it can't end on a picture"),
    ("text", "film: Long\nshots:\n- {id: A, dur: 2s, do: on}\n", 3, "at most 25"),
    ("text", FILMS["text"] + "- {id: C, from: prev, dur: 9f, do: on}\n", 5, "can't continue"),
]


@pytest.mark.parametrize(("weights", "text", "line", "what"), REFUSED)
def test_a_shot_that_the_weights_can_not_render_is_refused_at_its_line(
    weights: Weights, text: str, line: int, what: str, tmp_path: Path
) -> None:
    place = studio(tmp_path, weights, text)
    with pytest.raises(StoryboardError) as refused:
        storyflow.plan(place.file, **place.options)
    first = refused.value.problems[0]
    assert what in first.what and first.line == line and first.cure
