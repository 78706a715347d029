"""What a job is called: stable where the film is the same, another where it is another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from films import SMALL, Studio

import storyflow
from storyflow import ordering
from storyflow.errors import InputError
from storyflow.film import prepare
from storyflow.jobs.identity import film_name, job_id, plan_id, slug

SLUGS = {
    "swan": "swan",
    "The Keeper": "the-keeper",
    "  first--light_2 ": "first-light-2",
    "Élan": "elan",
    "!!!": "",
}


@pytest.mark.parametrize("text", SLUGS)
def test_names_are_small_letters_digits_and_hyphens(text: str) -> None:
    assert slug(text) == SLUGS[text]


@pytest.mark.parametrize("text", ["лебедь", "hattyú 天鵝", "x" * 90, "a" * 39 + "-" + "b" * 9])
def test_what_a_name_can_not_hold_leaves_its_hash(text: str) -> None:
    made = slug(text)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", made) and len(made) <= 40
    assert made != slug(text + "z") and made == slug(text)


def test_a_film_is_called_by_name_or_file_or_title(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    film = storyflow.load(studio.file)
    made = storyflow.Film(film="My Title", shots=[{"do": "a swan"}])
    assert film_name(film, "Other") == "other"
    assert film_name(film) == "film"
    assert film_name(made) == "my-title"
    with pytest.raises(InputError, match="no letter or digit"):
        film_name(film, "?")


def test_an_id_is_film_plan_and_attempt() -> None:
    assert job_id("swan", "0123456789ab", 3) == "swan-0123456789ab-3"


def named(studio: Studio, **options: object) -> str:
    what = ordering.order(studio.file, **{**studio.options, **options})
    return plan_id(prepare(what).plan, what.profile.deliver, what.shots)


SAME = {
    "a comment": ("film: Three shots", "# a remark\nfilm: Three shots"),
    "a note": ("do: it rests}", "do: it rests, note: nice}"),
    "quotes": ("do: it rests", 'do: "it rests"'),
}
ANOTHER = {
    "a prompt": ("it rests", "it flies"),
    "a duration": ("dur: 2s", "dur: 1.5s"),
    "the film's title": ("film: Three shots", "film: Two shots"),
    "what the film is about": ("film: Three shots", "film: Three shots\nabout: A circle."),
    "a seed": ("id: 1A,", "id: 1A, seed: 7,"),
    "a title": ("do: it rests", "title: The End, do: it rests"),
    "a card": ("do: it rests", "title: {text: The End, as: card}, do: it rests"),
    "a fade": ("do: a red circle rolls}", "do: a red circle rolls, out: fade 1s}"),
}


@pytest.mark.parametrize("case", SAME)
def test_what_changes_no_frame_changes_no_plan(tmp_path: Path, case: str) -> None:
    studio = Studio(tmp_path)
    before = named(studio)
    studio.edit(*SAME[case])
    assert named(studio) == before
    assert re.fullmatch(r"[0-9a-f]{12}", before)


@pytest.mark.parametrize("case", ANOTHER)
def test_what_changes_the_film_changes_the_plan(tmp_path: Path, case: str) -> None:
    studio = Studio(tmp_path)
    before = named(studio)
    studio.edit(*ANOTHER[case])
    assert named(studio) != before


def test_settings_count_only_where_they_change_the_film(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    plain = named(studio)
    assert named(studio, settings=(*SMALL, "deliver.crf=30")) != plain
    assert named(studio, settings=("frame=128x64", *SMALL[1:])) != plain
    assert named(studio, shots=["1A"]) != plain
    assert named(studio, settings=(*SMALL, "slate.delay=3")) == plain
    assert named(studio, workers=7, store=tmp_path / "elsewhere") == plain


def test_shots_in_another_order_are_another_plan(tmp_path: Path) -> None:
    first = "- {id: A, do: a}\n"
    second = "- {id: B, do: b}\n"
    studio = Studio(tmp_path, f"film: F\nshots:\n{first}{second}")
    before = named(studio)
    studio.write(f"film: F\nshots:\n{second}{first}")
    assert named(studio) != before


def test_a_scenes_heading_is_a_chapter_of_the_film(tmp_path: Path) -> None:
    scenes = "film: F\nscenes:\n- scene: {}\n  shots: [a]\n- scene: EXT. B\n  shots: [b]\n"
    studio = Studio(tmp_path, scenes.format("INT. A"))
    before = named(studio)
    studio.write(scenes.format("INT. C"))
    assert named(studio) != before


def test_a_rendered_film_keeps_its_plan(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    before = named(studio)
    studio.render()
    assert named(studio) == before
