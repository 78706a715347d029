"""The whole line in one process, on slate: what a film costs, and what survives."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import av
import pytest
from films import SMALL, THREE_SHOTS, Studio

import storyflow
from storyflow import Beat, Film, Shot
from storyflow.errors import InfrastructureError, InputError, StoryboardError
from storyflow.events import Finished, Planned, SegmentDone

STORYBOARDS = Path(__file__).parent.parent / "storyboards"


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


def frames_in(path: Path) -> int:
    with av.open(str(path)) as film:
        return sum(1 for _ in film.decode(video=0))


def test_a_storyboard_becomes_a_film_of_the_planned_length(studio: Studio) -> None:
    made = studio.render()
    assert made.result.complete and made.result.exit_code == 0
    assert made.result.film == studio.folder / "out" / "film.mp4"
    assert frames_in(made.result.film) == (4 + 9 + 2) * 24
    assert isinstance(made.events[-1], Finished)
    assert [type(e) for e in made.events].index(Planned) < 2


def test_the_second_run_renders_nothing_and_gives_the_same_bytes(studio: Studio) -> None:
    first, second = studio.render(), studio.render()
    assert len(first.names) == 6
    assert second.names == ()
    assert second.sha256 == first.sha256


def test_empty_stores_give_the_same_film(studio: Studio, tmp_path: Path) -> None:
    first = studio.render()
    second = studio.render(store=tmp_path / "other", out=tmp_path / "elsewhere")
    assert second.names == first.names
    assert second.sha256 == first.sha256


EDITS = [
    ("it turns left", "it turns right", ("1B/3", "1B/4", "1C/1")),
    ("a blue star hops", "a blue star spins", ("1B/1", "1B/2", "1B/3", "1B/4", "1C/1")),
    ("it rests", "it sleeps", ("1C/1",)),
    ("a red circle rolls", "a red ball rolls", ("1A/1",)),
    ("film: Three shots", "film: Another title", ()),
    ("dur: 2s, do: it rests", "dur: 1s, do: it rests", ()),
    ("dur: 2s, do: it rests", "dur: 5s, do: it rests", ("1C/2",)),
]


@pytest.mark.parametrize(("old", "new", "rendered"), EDITS)
def test_an_edit_renders_what_depends_on_it_and_nothing_else(
    studio: Studio, old: str, new: str, rendered: tuple[str, ...]
) -> None:
    studio.render()
    studio.edit(old, new)
    quoted = storyflow.quote(studio.file, **studio.options)
    assert quoted.totals.render == len(rendered)
    assert studio.render().names == rendered


def test_equal_history_stops_the_wave_and_the_plan_learns_it(tmp_path: Path) -> None:
    """Slate draws the same for every seed, so a new seed renders 1A again and 1B is found."""
    text = "film: F\nshots:\n- {id: 1A, dur: 2s, do: a}\n- {id: 1B, from: prev, dur: 2s, do: b}\n"
    studio = Studio(tmp_path, text)
    studio.render()
    studio.edit("id: 1A,", "id: 1A, seed: 5,")
    assert storyflow.quote(studio.file, **studio.options).totals.render == 2
    assert studio.render().names == ("1A/1",)
    assert storyflow.quote(studio.file, **studio.options).totals.render == 0


def test_moving_a_shot_renders_nothing(studio: Studio) -> None:
    studio.render()
    line = "- {id: 1A, dur: 4s, do: a red circle rolls}\n"
    studio.write(THREE_SHOTS.replace(line, "") + line)
    assert studio.render().names == ()


def test_a_renamed_shot_is_not_rendered_again_by_its_new_name(tmp_path: Path) -> None:
    """Slate draws ids into the picture, so this is seen in the seeds, which keys hold."""
    studio = Studio(tmp_path)
    before = {s["id"]: s["seed"] for s in studio.render().manifest["shots"]}
    studio.edit("id: 1A", "id: 9Z")
    after = {s["id"]: s["seed"] for s in studio.render().manifest["shots"]}
    assert after["9Z"] == before["1A"]


def test_a_film_of_objects_has_the_keys_of_the_same_film_in_yaml(studio: Studio) -> None:
    film = Film(
        film="Three shots",
        shots=[
            Shot(id="1A", dur="4s", do="a red circle rolls"),
            Shot(
                id="1B",
                beats=[
                    Beat(dur="5s", do="a blue star hops"),
                    Beat(dur="4s", do="it turns left"),
                ],
            ),
            Shot(id="1C", from_="prev", dur="2s", do="it rests"),
        ],
    )
    written = studio.render().manifest
    options = {**studio.options, "out": studio.folder / "objects"}
    run = storyflow.start(film, **options)
    reused = [e.reused for e in run.events() if isinstance(e, SegmentDone)]
    assert reused == [True] * 6
    assert run.result().complete
    assert storyflow.load(studio.file) == film
    keys = [s["key"] for shot in written["shots"] for s in shot["segments"]]
    assert len(set(keys)) == 6


def test_some_shots_can_be_rendered_with_what_they_continue(studio: Studio) -> None:
    made = studio.render(shots=["1C"])
    assert made.names == ("1B/1", "1B/2", "1B/3", "1B/4", "1C/1")
    (planned,) = (e for e in made.events if isinstance(e, Planned))
    assert (planned.segments, planned.reusable) == (5, 0)
    assert made.result.exit_code == 0
    assert made.result.film is not None and made.result.film.name == "film.partial.mp4"
    assert frames_in(made.result.film) == 360
    rest = studio.render()
    assert rest.names == ("1A/1",)
    assert rest.result.complete
    assert not (studio.folder / "out" / "film.partial.mp4").exists()


def test_an_unknown_shot_is_refused_with_the_nearest(studio: Studio) -> None:
    with pytest.raises(InputError, match="did you mean '1B'"):
        storyflow.start(studio.file, **{**studio.options, "shots": ["1Bb"]})


def test_a_failed_shot_leaves_a_partial_film_of_full_length(studio: Studio) -> None:
    made = studio.render(settings=(*SMALL, "slate.fail={1B/2: -1}"))
    assert made.result.exit_code == 3
    assert not made.result.complete
    assert made.names == ("1A/1", "1B/1")
    (failure,) = made.result.failures
    assert (failure.segment, failure.missing) == ("1B/2", ("1B", "1C"))
    assert made.result.film is not None and made.result.film.name == "film.partial.mp4"
    assert frames_in(made.result.film) == 360
    missing = {s["id"]: s["missing"] for s in made.manifest["shots"]}
    assert missing["1A"] is None
    assert "1B/2" in missing["1B"] and "1B/2" in missing["1C"]
    assert studio.render().names == (), "what failed for good is left alone"
    studio.retry()
    assert studio.render().names == ("1B/2", "1B/3", "1B/4", "1C/1")


def test_a_segment_that_fails_twice_is_tried_again(studio: Studio) -> None:
    made = studio.render(settings=(*SMALL, "slate.fail={1A/1: 2}"))
    assert made.result.complete


def test_a_cut_renders_nothing(studio: Studio) -> None:
    whole = studio.render()
    studio.edit("dur: 2s", "dur: 1s")
    recut = storyflow.cut(studio.file, **studio.options)
    assert (recut.rendered, recut.complete) == (0, True)
    assert recut.film is not None and frames_in(recut.film) == 14 * 24
    assert whole.result.film == recut.film


def test_a_cancelled_film_goes_on_where_it_was(studio: Studio) -> None:
    slow = {**studio.options, "settings": (*SMALL, "slate.delay=0.2")}
    run = storyflow.start(studio.file, **slow)
    done = []
    for event in run.events():
        if isinstance(event, SegmentDone):
            done.append(event.segment)
            run.cancel()
    result = run.result()
    assert (result.exit_code, result.film, result.error) == (130, None, "cancelled")
    assert 1 <= result.rendered == len(done) < 6
    rest = studio.render()
    assert len(rest.names) == 6 - len(done)
    assert rest.result.complete


def test_two_runs_into_one_folder_are_refused(studio: Studio) -> None:
    slow = {**studio.options, "settings": (*SMALL, "slate.delay=1")}
    first = storyflow.start(studio.file, **slow)
    next(e for e in first.events() if isinstance(e, Planned))
    with pytest.raises(InfrastructureError, match="another run"):
        storyflow.render(studio.file, **studio.options)
    first.cancel()
    first.result()


def test_the_keeper_is_exactly_two_minutes_on_slate(tmp_path: Path) -> None:
    """All fourteen shots, with a dissolve, fades and a title."""
    studio = Studio(tmp_path, (STORYBOARDS / "the-keeper.yaml").read_text())
    shutil.copytree(STORYBOARDS / "refs", tmp_path / "refs")
    made = studio.render()
    assert made.result.complete
    assert frames_in(made.result.film) == 2880


def test_a_broken_storyboard_is_refused_by_every_verb(studio: Studio) -> None:
    studio.edit("dur: 4s", "dur: soon")
    for verb in (storyflow.plan, storyflow.quote, storyflow.render, storyflow.cut):
        with pytest.raises(StoryboardError, match=r"film\.yaml:3"):
            verb(studio.file, **studio.options)
    assert [p.line for p in storyflow.check(studio.file)] == [3, 7]


def test_a_folder_that_can_not_be_made_is_one_clear_error(studio: Studio) -> None:
    (studio.folder / "file").write_text("")
    with pytest.raises(InfrastructureError, match="--out"):
        storyflow.render(studio.file, **{**studio.options, "out": studio.folder / "file" / "out"})


def test_a_film_prints_nothing(studio: Studio, capfd: pytest.CaptureFixture[str]) -> None:
    studio.render()
    assert capfd.readouterr() == ("", "")


def test_many_films_can_be_rendered_at_once_from_threads(tmp_path: Path) -> None:
    studios = []
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        studios.append(Studio(tmp_path / name))
    done: list[str] = []
    threads = [threading.Thread(target=lambda s=s: done.append(s.render().sha256)) for s in studios]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 3 and len(set(done)) == 1
