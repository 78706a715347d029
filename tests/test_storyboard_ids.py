"""Ids: assigned once, found again by content, written into the file without touching the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyflow.errors import StoryboardError
from storyflow.storyboard.ids import PinnedShot, assign_ids, fingerprint, similarity
from storyflow.storyboard.load import load, parse
from storyflow.storyboard.model import Film, Shot
from storyflow.storyboard.resolve import resolve
from storyflow.storyboard.writeids import write_ids

SWAN = "a white swan crosses a misty lake at dawn"
DUCK = "two ducks quarrel over a piece of bread"
REED = "reeds bend in the evening wind"


def _film(*shots: object) -> Film:
    return parse({"film": "Swan", "shots": list(shots)})


def _pins(film: Film, pinned: tuple[PinnedShot, ...] = ()) -> tuple[PinnedShot, ...]:
    return tuple(PinnedShot(s.id, s.fingerprint) for s in resolve(film, pinned).shots)


PINNED = _pins(_film(SWAN, DUCK, REED))


def test_missing_ids_are_numbers_in_a_film_without_scenes() -> None:
    assert assign_ids(_film(SWAN, {"id": "2", "do": DUCK}, REED)) == ("1", "2", "3")


def test_missing_ids_are_slates_in_scenes() -> None:
    scenes = [{"shots": ["x"] * 26}, {"shots": ["y", {"id": "2A", "do": "z"}]}]
    ids = assign_ids(parse({"film": "a", "scenes": scenes}))
    assert ids[:9] == ("1A", "1B", "1C", "1D", "1E", "1F", "1G", "1H", "1J")
    assert ids[23:26] == ("1Z", "1AA", "1AB")
    assert ids[26:] == ("2B", "2A")


EDITS = {
    "same": ([SWAN, DUCK, REED], "1 2 3"),
    "inserted": (["a new shot", SWAN, DUCK, REED], "4 1 2 3"),
    "moved": ([REED, SWAN, DUCK], "3 1 2"),
    "removed": ([SWAN, REED], "1 3"),
    "edited": ([SWAN, "two ducks quarrel over a loaf of bread", REED], "1 2 3"),
    "edited-and-moved": ([REED, DUCK, "a black swan crosses a misty lake at dusk"], "3 2 1"),
    "restyled": ([{"do": SWAN, "dur": "9s", "size": "LS"}, DUCK, REED], "1 2 3"),
    "replaced": ([SWAN, "nothing like it", REED], "1 4 3"),
    "doubled": ([SWAN, SWAN, DUCK], "1 4 2"),
    "taken": ([{"id": "2", "do": "my own"}, SWAN, DUCK], "2 1 4"),
}


@pytest.mark.parametrize(("shots", "ids"), EDITS.values(), ids=EDITS)
def test_a_shot_without_an_id_is_found_again_by_content(shots: list[object], ids: str) -> None:
    assert assign_ids(_film(*shots), PINNED) == tuple(ids.split())


def test_the_id_of_a_shot_that_left_is_not_given_to_a_new_one() -> None:
    assert assign_ids(_film(SWAN, "something else"), PINNED) == ("1", "4")


def test_equal_shots_keep_their_order() -> None:
    pinned = _pins(_film(SWAN, DUCK, SWAN))
    assert assign_ids(_film(SWAN, SWAN, DUCK), pinned) == ("1", "3", "2")


def test_one_changed_beat_leaves_the_shot_itself() -> None:
    beats = [{"do": "he sets the lamp down", "dur": 2}, {"do": "he wipes the lens", "dur": 2}]
    pinned = _pins(_film({"beats": beats}, SWAN))
    changed = [beats[0], {"do": "he breaks the lens", "dur": 2}]
    assert assign_ids(_film(SWAN, {"beats": changed}), pinned) == ("2", "1")


def test_a_fingerprint_ignores_id_takes_and_joints() -> None:
    plain = fingerprint(Shot(do=SWAN))
    dressed = {"id": "1A", "takes": 3, "take": 2, "seed": 5, "note": "x", "in": "fade 1s"}
    assert fingerprint(Shot(do=SWAN, **dressed)) == plain
    assert fingerprint(Shot(do=SWAN, size="LS")) != plain


def test_a_fingerprint_is_the_same_from_yaml_and_from_python() -> None:
    read = parse(f"film: a\nshots:\n- {{do: {SWAN}, size: wide, dur: 0:08}}\n").shots[0]
    assert fingerprint(read) == fingerprint(Shot(do=SWAN, size="LS", dur=8))


def test_a_fingerprint_stays_what_it_was() -> None:
    print_ = "633fc5363420f400817f12a7-6856ca97"
    assert fingerprint(Shot(do="a swan", size="LS", dur="8s")) == print_


def test_similarity_is_the_share_of_common_words() -> None:
    swan = fingerprint(Shot(do=SWAN))
    assert similarity(swan, fingerprint(Shot(do=SWAN, size="LS"))) == 1
    assert similarity(swan, fingerprint(Shot(do=DUCK))) < 0.4
    assert similarity(swan, "") == 0


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([SWAN, DUCK, REED, "x", "y z"]), min_size=1, max_size=6),
    st.lists(st.sampled_from([SWAN, DUCK, REED, "x", "y w"]), min_size=1, max_size=6),
    st.sets(st.integers(0, 5)),
)
def test_no_id_is_given_twice(before: list[str], after: list[str], named: set[int]) -> None:
    pinned = _pins(_film(*before))
    shots = [{"id": str(n + 1), "do": t} if n in named else t for n, t in enumerate(after)]
    ids = assign_ids(_film(*shots), pinned)
    assert len(set(ids)) == len(ids)
    assert ids == assign_ids(_film(*shots), pinned)
    settled = _pins(_film(*shots), pinned)
    assert assign_ids(_film(*shots), settled) == ids


BEFORE = """\
# A film about birds.
film: Swan   # working title
shots:
- a white swan crosses   # in fog

- "a quoted: one"
- a long
  plain text
- >
  folded text
  here
-   do: "in a wide indent"
    # a comment inside
    dur: 3s
- {do: 'in a line', dur: 5s}   # after it
- id: 4
  do: has one already
- beats: [one, {do: two, dur: 1s}]
  dur: 3s
"""
AFTER = """\
# A film about birds.
film: Swan   # working title
shots:
- id: 1
  do: a white swan crosses   # in fog

- id: 2
  do: "a quoted: one"
- id: 3
  do: a long
    plain text
- id: 5
  do: >
    folded text
    here
-   id: 6
    do: "in a wide indent"
    # a comment inside
    dur: 3s
- {id: 7, do: 'in a line', dur: 5s}   # after it
- id: 4
  do: has one already
- id: 8
  beats: [one, {do: two, dur: 1s}]
  dur: 3s
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_ids_are_written_and_nothing_else_changes(tmp_path: Path, newline: str, mark: str) -> None:
    path = tmp_path / "film.yaml"
    path.write_bytes((mark + BEFORE.replace("\n", newline)).encode())
    os.chmod(path, 0o640)
    assert write_ids(path, load(path)) == ("1", "2", "3", "5", "6", "7", "8")
    assert path.read_bytes().decode() == mark + AFTER.replace("\n", newline)
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["film.yaml"]
    assert write_ids(path, load(path)) == ()


def test_ids_are_written_into_a_list_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "film.yaml"
    path.write_text('film: a\nshots: [a swan, "b, c", {do: x}]\n')
    write_ids(path, load(path))
    text = 'film: a\nshots: [{id: 1, do: a swan}, {id: 2, do: "b, c"}, {id: 3, do: x}]\n'
    assert path.read_text() == text


def test_pinned_ids_are_the_ones_that_are_written(tmp_path: Path) -> None:
    path = tmp_path / "film.yaml"
    path.write_text(f"film: a\nshots:\n- {REED}\n- {SWAN}\n- new\n")
    assert write_ids(path, load(path), PINNED) == ("3", "1", "4")
    assert [shot.id for shot in load(path).shots] == ["3", "1", "4"]


@pytest.mark.parametrize("name", ["1E2", "007", "1.0", "no", "12:30", "true", "null", "a:"])
def test_an_id_that_was_written_is_read_as_the_same_text(tmp_path: Path, name: str) -> None:
    path = tmp_path / "film.yaml"
    path.write_text(f"film: a\nshots:\n- {SWAN}\n- {{do: x}}\n")
    pinned = (PinnedShot(name, fingerprint(Shot(do=SWAN))),)
    assert write_ids(path, load(path), pinned)[0] == name
    assert load(path).shots[0].id == name


def test_the_film_means_the_same_after_its_ids_are_written(tmp_path: Path) -> None:
    path = tmp_path / "film.yaml"
    path.write_text(BEFORE)
    before = resolve(load(path))
    write_ids(path, load(path))
    assert resolve(load(path)) == before


@pytest.mark.parametrize(
    "text",
    ["film: a\nshots:\n- &x {do: y}\n- *x\n", "film: a\nx: 1\nshots:\n- y\n"],
    ids=["alias", "broken"],
)
def test_a_file_that_ids_cannot_be_written_into_stays_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "film.yaml"
    path.write_text(text)
    with pytest.raises(StoryboardError):
        write_ids(path, load(path))
    assert path.read_text() == text


def test_a_file_that_has_changed_since_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "film.yaml"
    path.write_text("film: a\nshots:\n- x\n")
    film = load(path)
    path.write_text("film: a\nshots:\n- y\n")
    with pytest.raises(StoryboardError, match="changed"):
        write_ids(path, film)
    assert path.read_text() == "film: a\nshots:\n- y\n"


def test_a_linked_file_is_written_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text("film: a\nshots:\n- x\n")
    (tmp_path / "film.yaml").symlink_to("real.yaml")
    write_ids(tmp_path / "film.yaml", load(tmp_path / "film.yaml"))
    assert (tmp_path / "film.yaml").is_symlink()
    assert "id: 1" in (tmp_path / "real.yaml").read_text()
