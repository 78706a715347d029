"""Edited films, whole line: what transitions and titles render, and what the film then shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from films import SMALL, Studio

import storyflow
from storyflow.cutting.manifest import Manifest, read_manifest
from storyflow.errors import StoryboardError
from storyflow.store.clip import iter_clip

STORYBOARDS = Path(__file__).parent.parent / "storyboards"

TWO = """\
film: Two
shots:
- {id: A, dur: 97f, do: a door}
- {id: B, dur: 4s, do: a hall}
"""


def manifest(studio: Studio) -> Manifest:
    return read_manifest(studio.folder / "out" / "film.json")


def keys(made: Manifest) -> dict[str, str | None]:
    return {segment.name: segment.key for shot in made.shots for segment in shot.segments}


def frames_of(path: Path | None) -> list[np.ndarray]:
    assert path is not None
    return list(iter_clip(path))


@pytest.mark.parametrize("kind", ["dissolve", "wipe left"])
def test_mixing_two_rendered_shots_renders_at_most_a_segment_on_either_side(
    tmp_path: Path, kind: str
) -> None:
    studio = Studio(tmp_path, TWO)
    assert studio.render().names == ("A/1", "B/1")
    before = keys(manifest(studio))
    studio.edit("id: B,", f"id: B, in: {kind} 1s,")
    made = studio.render()
    # A has no frame after its cut-out, B gives up its first twelve for the transition.
    assert made.names == ("A/2", "B/2")
    after = manifest(studio)
    assert {name: keys(after)[name] for name in before} == before
    assert after.frames == 193 and len(frames_of(made.result.film)) == 193
    a, b = after.shots
    assert (a.cut, b.cut) == ((0, 97), (12, 108))
    assert a.into is None and b.out is None
    assert a.out is not None and a.out == b.into
    assert (a.out.kind, a.out.way, a.out.frames) == (
        kind.split()[0], "left" if "left" in kind else None, (85, 109)
    )  # fmt: skip
    studio.edit(f"in: {kind} 1s,", f"in: {kind} 25f,")
    assert studio.render().names == (), "an odd frame more is in the surplus"
    assert manifest(studio).shots[1].into.frames == (85, 110)  # type: ignore[union-attr]


def test_handles_hold_a_dissolve_already(tmp_path: Path) -> None:
    studio = Studio(tmp_path, TWO.replace("film: Two", "film: Two\nhandles: 12f"))
    studio.render()
    before, cut = keys(manifest(studio)), manifest(studio).shots[1].cut
    studio.edit("id: B,", "id: B, in: dissolve 1s,")
    made = studio.render()
    assert made.names == ()
    assert keys(manifest(studio)) == before and manifest(studio).shots[1].cut == cut


EDITS = {
    "a fade in": ("id: A,", "id: A, in: fade black 1s,"),
    "a fade out": ("id: B,", "id: B, out: fade white 1s,"),
    "a title": ("id: A,", "id: A, title: DAWN,"),
    "a lower third": ("id: A,", "id: A, title: {text: Ada, as: lower third, dur: 2s},"),
    "a card": ("id: B,", "id: B, title: {text: Later, as: card, ground: white, dur: 1s},"),
}


def test_fades_and_titles_are_cut_without_rendering(tmp_path: Path) -> None:
    studio = Studio(tmp_path, TWO)
    first = studio.render()
    text, plain = studio.file.read_text(), manifest(studio)
    films = {first.sha256}
    digests = {plain.film and plain.film.frames_sha256}
    for name, edit in EDITS.items():
        studio.write(text)
        studio.edit(*edit)
        made = studio.render()
        assert made.names == (), name
        after = manifest(studio)
        assert keys(after) == keys(plain), name
        films.add(made.sha256)
        digests.add(after.film and after.film.frames_sha256)
    assert len(films) == len(digests) == 1 + len(EDITS), "each of them makes another film"
    studio.write(text)
    assert studio.render().sha256 == first.sha256


def test_film_json_says_which_frames_titles_and_fades_change(tmp_path: Path) -> None:
    title = 'title: [{text: "Ada\\nKeeper", as: lower third, at: 1s, dur: 2s}, {text: X, at: 3s}],'
    studio = Studio(tmp_path, TWO)
    studio.edit("id: B,", f"id: B, in: 'fade #204060 1s', out: fade 12f, {title}")
    studio.render()
    shot = manifest(studio).shots[1]
    assert shot.into is not None and shot.out is not None
    assert (shot.into.kind, shot.into.color, shot.into.frames) == ("fade", "#204060", (97, 121))
    assert (shot.out.color, shot.out.frames) == ("black", (181, 193))
    told = [(title.text, title.style, title.frames) for title in shot.titles]
    assert told == [("Ada\nKeeper", "lower-third", (121, 169)), ("X", "center", (169, 193))]


def test_the_delivered_film_shows_what_was_asked_for(tmp_path: Path) -> None:
    studio = Studio(tmp_path, TWO)
    studio.edit("id: A,", "id: A, in: fade white 12f,")
    studio.edit("id: B,", "id: B, out: fade black 12f, title: {text: X, as: card, dur: 1s},")
    shown = frames_of(studio.render().result.film)
    assert shown[0].min() > 250 and shown[-1].max() < 6
    assert np.median(shown[97]) < 12 and np.median(shown[140]) > 15, "a card hides the picture"


def test_a_picture_shot_stands_still_while_it_is_dissolved_into(tmp_path: Path) -> None:
    text = TWO.replace("do: a hall", "from: refs/door.png, in: dissolve 1s, do: a hall")
    shutil.copytree(STORYBOARDS / "refs", tmp_path / "refs")
    studio = Studio(tmp_path, text)
    made = studio.render()
    shot = manifest(studio).shots[1]
    assert shot.cut == (0, 96) and shot.into is not None and shot.into.frames == (85, 109)
    assert len(frames_of(made.result.film)) == 193


def test_a_film_that_lacks_a_shot_keeps_its_length_and_its_transitions(tmp_path: Path) -> None:
    studio = Studio(tmp_path, TWO)
    studio.edit("id: B,", "id: B, in: dissolve 1s, out: fade 12f, title: {text: X, at: 1s},")
    settings = (*SMALL, 'slate.fail={"B/1": -1}')
    made = studio.render(settings=settings)
    assert made.result.exit_code == 3 and not made.result.complete
    shown = frames_of(made.result.film)
    assert len(shown) == 193
    card, mixed = shown[140].astype(int), shown[97].astype(int)
    assert np.abs(card - shown[120]).mean() < 1, "the card stands still, without the title"
    assert np.abs(mixed - card).mean() > 2 and np.abs(mixed - shown[60]).mean() > 2
    assert shown[-1].max() < 8


@pytest.mark.parametrize(
    ("edit", "line", "message"),
    [
        (("id: B,", "id: B, in: dissolve 5s,"), 4, "a dissolve of 5s does not fit into shot B"),
        (("id: B,", "id: B, title: 海,"), 4, "the title's font has no 海"),
        (("id: A,", f"id: A, title: {'long ' * 200},"), 3, "the title does not fit"),
    ],
    ids=["long", "glyph", "text"],
)
def test_what_can_not_be_cut_is_refused_with_its_line_before_rendering(
    tmp_path: Path, edit: tuple[str, str], line: int, message: str
) -> None:
    studio = Studio(tmp_path, TWO)
    studio.edit(*edit)
    problems = storyflow.check(studio.file, **studio.options)
    found = [p for p in problems if p.level == "error"]
    assert {p.line for p in found} == {line} and message in found[-1].what
    with pytest.raises(StoryboardError, match=rf"film\.yaml:{line}"):
        studio.render()
    assert not (tmp_path / "out").exists() and not (tmp_path / "store").exists()


def test_the_edited_film_that_is_shipped_is_cut_as_it_says(tmp_path: Path) -> None:
    studio = Studio(tmp_path, (STORYBOARDS / "three-evenings.yaml").read_text())
    made = studio.render()
    assert made.result.complete and len(frames_of(made.result.film)) == 38 * 24
    shots = {shot.id: shot for shot in manifest(studio).shots}
    joints = {id: shot.into.kind for id, shot in shots.items() if shot.into is not None}
    assert joints == {
        "1A": "fade", "1C": "dissolve", "2A": "fade", "2C": "dissolve", "3A": "wipe",
        "3D": "dissolve",
    }  # fmt: skip
    assert len(shots) == 12 and sum(len(shot.titles) for shot in shots.values()) == 5
