"""Films built in Python, written out, shown and described: the same film each time."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyflow.documents import inspect_document
from storyflow.errors import StoryboardError
from storyflow.storyboard.cues import Cue
from storyflow.storyboard.dump import dump
from storyflow.storyboard.load import check, load, parse
from storyflow.storyboard.model import Beat, Film, Scene, Shot, Title
from storyflow.storyboard.resolve import resolve
from storyflow.storyboard.schema import json_schema
from storyflow.storyboard.show import resolved_yaml
from storyflow.timing import Duration, Size

SHIPPED = sorted(
    path
    for path in (Path(__file__).parent.parent / "storyboards").glob("*.yaml")
    if not path.name.endswith(".lock.yaml")
)
SCHEMA = json_schema()


def test_a_film_from_objects_equals_the_same_film_from_yaml() -> None:
    text = """\
film: The Keeper
fps: 23.976
frame: 960x544
cast: {keeper: {look: "man of sixty"}}
scenes:
- scene: INT. TOWER
  in: dissolve 1s
  shots:
  - {id: 1E2, from: prev, size: ECU, do: "@keeper climbs", dur: 8, title: UP}
  - beats: [{do: he waits, dur: 2s}, he turns]
    dur: 1:00
"""
    shots = [
        Shot(id="1E2", from_="prev", size="ECU", do="@keeper climbs", dur="8s", title="UP"),
        Shot(
            beats=[Beat(do="he waits", dur=Duration(seconds=Fraction(2))), "he turns"], dur="1:00"
        ),
    ]
    film = Film(
        film="The Keeper",
        fps="24000/1001",
        frame=Size(960, 544),
        cast={"keeper": "man of sixty"},
        scenes=[Scene(scene="INT. TOWER", in_=Cue("dissolve", Duration(frames=24)), shots=shots)],
    )
    assert film != parse(text)
    same = film.scenes[0].model_copy(update={"in_": Cue("dissolve", Duration(Fraction(1)))})
    assert film.model_copy(update={"scenes": (same,)}) == parse(text)


def test_a_wrong_object_is_refused_where_it_is_built() -> None:
    with pytest.raises(StoryboardError) as caught:
        Shot(do="x", dur="long", siez="MS")
    assert [(p.code, p.path) for p in caught.value.problems] == [
        ("bad-duration", "dur"),
        ("unknown-key", "siez"),
    ]
    with pytest.raises(StoryboardError) as caught:
        Film(film="a", shots=[{"do": 1, "size": "XX"}, Shot(do="y"), None])
    assert [p.path for p in caught.value.problems] == ["shots.0.size", "shots.2"]


@pytest.mark.parametrize("data", [None, 3, [], "", "- a", [{"film": "a"}], {"film": None}, {1: 2}])
def test_data_that_is_no_film_is_refused(data: object) -> None:
    with pytest.raises(StoryboardError):
        parse(data)


def test_a_film_cannot_be_changed_but_copied_with_changes() -> None:
    film = Film(film="Swan", shots=["x"])
    with pytest.raises(ValueError, match="frozen"):
        film.film = "Duck"
    assert film.model_copy(update={"film": "Duck"}).film == "Duck"


def test_where_a_film_was_read_does_not_matter_to_equality(tmp_path: Path) -> None:
    path = tmp_path / "film.yaml"
    path.write_text("film: Swan\nshots:\n- x\n")
    film = load(path)
    assert film == Film(film="Swan", shots=["x"])
    assert film.shots[0].origin.where().line == 3


def test_a_loaded_film_travels_between_processes(tmp_path: Path) -> None:
    path = tmp_path / "film.yaml"
    path.write_text("film: Swan\nfps: 23.976\nshots:\n- {id: 1E2, do: '@duck', in: fade 1s}\n")
    film = pickle.loads(pickle.dumps(load(path)))
    assert film == load(path)
    assert [(p.file, p.line) for p in check(film)] == [(str(path), 4)]


def test_references_of_python_films_start_from_their_root(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    film = Film(film="Swan", shots=[Shot(do="x", from_="a.png")])
    assert resolve(film, root=tmp_path).shots[0].source == tmp_path / "a.png"
    assert resolve(parse(film, root=tmp_path)).shots[0].source == tmp_path / "a.png"


def test_text_is_one_line_and_titles_keep_theirs() -> None:
    shot = Shot(do="he  sets\n the lamp\u2028 down ", title=Title(text="THE\n  KEEPER"))
    assert shot.do == "he sets the lamp down"
    assert shot.title[0].text == "THE\nKEEPER"


_TEXT = st.text(max_size=12).filter(lambda text: _is_text(text))
_TIME = st.integers(1, 5000).map(lambda n: f"{n}f") | st.integers(1, 5000).map(
    lambda n: Fraction(n, 8)
)
_CUE = st.sampled_from(
    ["cut", "dissolve", "dissolve 2s", "fade 12f", "fade white 1.5s", "fade #a0b1c2 1s"]
)
_NAME = st.from_regex(r"[a-zA-Z_0-9]{1,6}", fullmatch=True)
_ID = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9.:_-]{0,3}", fullmatch=True)


def _part(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any choice of these keys."""
    return st.fixed_dictionaries({}, optional={key.rstrip("_"): v for key, v in keys.items()})


_LOOKS = {
    "size": st.sampled_from(["ECU", "cu", "wide", "other"]),
    "angle": st.sampled_from(["low", "dutch"]),
    "place": _NAME,
    "feel": _TEXT,
    "who": st.lists(_NAME, max_size=2),
    "style": _TEXT,
    "do": _TEXT,
    "say": _TEXT,
    "dur": _TIME,
    "note": _TEXT,
}
_SHOT = _part(
    **_LOOKS,
    id=_ID,
    beats=st.lists(_part(**_LOOKS) | _TEXT, max_size=2),
    from_=_TEXT,
    in_=_CUE,
    out=_CUE,
    title=st.lists(st.builds(dict, text=_TEXT, at=_TIME), max_size=2),
    takes=st.integers(1, 99),
    seed=st.integers(0, 2**63 - 1),
)
_FILM = _part(
    length=_TIME,
    fps=st.sampled_from([24, "23.976", 25, "24000/1001", "25/2"]),
    frame=st.sampled_from(["960x544", "96X64"]),
    handles=st.sampled_from(["12f", 0, 0.5]),
    cast=st.dictionaries(_NAME, _TEXT | st.builds(dict, look=_TEXT, ref=_TEXT), max_size=2),
    shots=st.lists(_SHOT | _TEXT, max_size=2),
    scenes=st.lists(_part(scene=_TEXT, shots=st.lists(_SHOT, max_size=1)), max_size=1),
)


def _is_text(text: str) -> bool:
    try:
        Shot(do=text)
    except StoryboardError:
        return False
    return True


@settings(deadline=None, max_examples=60)
@given(_TEXT, _FILM)
def test_a_film_written_out_and_read_again_is_the_same(title: str, keys: dict[str, Any]) -> None:
    film = Film(film=title, **keys)
    assert parse(dump(film)) == film
    assert dump(parse(dump(film))) == dump(film)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_storyboards_survive_writing_out(path: Path) -> None:
    assert parse(dump(load(path)), root=path.parent) == load(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_resolved_film_is_shown_as_a_storyboard_that_means_the_same(path: Path) -> None:
    film = resolve(load(path))
    shown = resolved_yaml(film, path.parent)
    again = resolve(parse(shown, root=path.parent))
    assert resolved_yaml(again, path.parent) == shown
    assert (again.frames, again.fps, again.handles) == (film.frames, film.fps, film.handles)
    for one, other in zip(again.shots, film.shots, strict=True):
        assert (one.id, one.mode, one.source, one.end) == (
            other.id,
            other.mode,
            other.source,
            other.end,
        )
        assert (one.into, one.out, one.titles) == (other.into, other.out, other.titles)
        for beat, meant in zip(one.beats, other.beats, strict=True):
            assert (beat.frames, beat.do, beat.who) == (meant.frames, meant.do, meant.who)
            assert (beat.size, beat.angle, beat.move) == (meant.size, meant.angle, meant.move)
            assert ", ".join(beat.style) == ", ".join(meant.style)


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    json.dumps(SCHEMA)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_storyboards_fit_the_schema(path: Path) -> None:
    jsonschema.validate(inspect_document(path).data, SCHEMA)


TAKEN = [
    "a swan",
    {"do": "x", "size": "Medium Close-Up"},
    {"do": "x", "angle": "WORM'S EYE"},
    *({"do": "x", "dur": dur} for dur in (8, 8.5, "8s", "1:30", "192f")),
    *({"do": "x", "title": title} for title in ("A", {"text": "A"}, [{"text": "A"}])),
    *(
        {"do": "x", "title": {"text": "A", "as": s}}
        for s in ("center", "Lower third", "lower-third")
    ),
    {"do": "x", "title": {"text": "A", "as": "card", "ground": "#aB0102"}},
    {"beats": ["x", {"do": "y"}]},
    {"do": "x", "who": "keeper"},
    {"do": 2001},
]
REFUSED = [
    {"siez": "MS"},
    {"size": "MSS"},
    {"angle": 3},
    {"dur": "long"},
    {"dur": -1},
    {"takes": 0},
    {"fit": "squeeze"},
    {"in": "wipe 1s"},
    {"beats": "x"},
    {"title": {"at": 1}},
    {"title": {"text": "A", "as": "subtitle"}},
    {"title": {"text": "A", "as": "card", "ground": "mauve"}},
    [],
    True,
]


@pytest.mark.parametrize("shot", TAKEN, ids=str)
def test_what_the_reader_takes_the_schema_takes(shot: object) -> None:
    data = {"film": "a", "cast": {"keeper": "old man"}, "shots": [shot]}
    parse(data)
    jsonschema.validate(data, SCHEMA)


@pytest.mark.parametrize("shot", REFUSED, ids=str)
def test_what_the_schema_refuses_the_reader_refuses(shot: object) -> None:
    data = {"film": "a", "shots": [shot]}
    with pytest.raises(StoryboardError):
        parse(data)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, SCHEMA)


def test_the_schema_explains_every_key_and_offers_the_short_forms() -> None:
    for name in ("Film", "Scene", "Shot", "Beat", "Defaults", "Title"):
        found = SCHEMA if name == "Film" else SCHEMA["$defs"][name]
        whole = next((o for o in found.get("anyOf", []) if "properties" in o), found)
        assert whole["properties"]
        for key, described in whole["properties"].items():
            assert described.get("description"), f"{name}.{key}"
    text = json.dumps(SCHEMA)
    assert all(f'"{word}"' in text for word in ("ECU", "OTS", "surprise", "pan left", "in", "from"))


def test_reading_storyboards_imports_no_heavy_library() -> None:
    code = (
        "import sys, storyflow.storyboard.load, storyflow.storyboard.schema\n"
        "print({'torch', 'ray', 'vllm', 'diffusers', 'numpy', 'av'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
