"""Broken storyboards: each names its line, its column and its cure, and none gives a traceback."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyflow.errors import StoryboardError
from storyflow.storyboard.load import check, load, parse
from storyflow.storyboard.resolve import resolve

PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)
JPEG = b"\xff\xd8\xff\xe0" + bytes(24)
MP4 = b"\0\0\0\x18ftypisom" + bytes(16)


@dataclass(frozen=True)
class Broken:
    """A storyboard and the first thing that is wrong with it; `said` stands in the message."""

    name: str
    text: str
    code: str
    line: int
    column: int
    said: str


def _shots(*lines: str) -> str:
    return "film: Swan\nshots:\n" + "".join(f"- {line}\n" for line in lines)


TABLE = [
    # The file as YAML.
    Broken("tab", "film: Swan\nshots:\n\t- a swan\n", "tab", 3, 1, "indent with spaces"),
    Broken("bracket", "film: [Swan\nshots:\n- a\n", "yaml-syntax", 2, 6, "bracket"),
    Broken("at", _shots("{do: @keeper climbs}"), "unquoted-symbol", 3, 8, "quote the text"),
    Broken("bare-at", _shots("@keeper climbs"), "unquoted-symbol", 3, 3, "quote the text"),
    Broken("percent", _shots("do: %50 of it"), "unquoted-symbol", 3, 7, "quote the text"),
    Broken("star", _shots("do: *keeper climbs"), "unquoted-symbol", 3, 7, "quote the text"),
    Broken("ampersand", _shots("do: &keeper climbs"), "unquoted-symbol", 3, 7, "quote the text"),
    Broken("list-in-do", _shots("do: [whispering]"), "unquoted-symbol", 3, 7, "quote the text"),
    Broken("hash", _shots("do: locker #5 opens"), "unquoted-hash", 3, 14, "quote the text"),
    Broken("only-hash", _shots("do: #5 opens"), "unquoted-hash", 3, 7, "quote the text"),
    Broken("bare-hash", _shots("a swan # and a duck"), "unquoted-hash", 3, 10, "quote the text"),
    Broken("flow-hash", _shots("{do: door #3}", "b"), "unquoted-hash", 3, 13, "quote the text"),
    Broken("comma", _shots("{do: he sits, he waits}"), "unquoted-comma", 3, 17, "quote the text"),
    Broken("label", _shots("do: KEEPER: who is it?"), "unquoted-colon", 3, 13, "quote the text"),
    Broken("bare-label", _shots("KEEPER: who is it?"), "unquoted-colon", 3, 3, "quote the text"),
    Broken("mapping-in-do", _shots("do: {KEEPER: hm}"), "unquoted-colon", 3, 7, "quote the text"),
    Broken("no-space", _shots("{do:climb}"), "missing-space", 3, 4, "do: climb"),
    Broken("no-dash-space", "film: a\nshots: [b]\n-do: x\n", "missing-space", 3, 1, "- do"),
    Broken("no-colon", "film: a\nshots\n- a\n", "missing-colon", 2, 1, "key: value"),
    Broken("indent", _shots("do: x\n   dur: 5s"), "unquoted-colon", 4, 7, "indent it"),
    Broken("apostrophe", _shots("do: 'tis dark"), "unclosed-quote", 3, 7, "close it"),
    Broken("tag", "film: !!python/object:os.system\nshots: [a]\n", "custom-tag", 1, 7, "remove"),
    Broken("duplicate-key", "film: a\nfilm: b\nshots: [c]\n", "duplicate-key", 2, 1, "line 1"),
    Broken("two-documents", "film: a\n---\nfilm: b\n", "several-documents", 2, 1, "one document"),
    Broken("nul", "film: a\0b\n", "control-character", 1, 8, "U+0000"),
    Broken("deep", "film: " + "{a: " * 200, "too-deep", 1, 256, "nesting"),
    Broken("empty-file", "", "empty-film", 1, 1, "begin with 'film: TITLE'"),
    Broken("only-comment", "# later\n", "empty-film", 1, 1, "begin with 'film: TITLE'"),
    Broken("list-file", "- a swan\n", "wrong-type", 1, 1, "key: value"),
    # Keys and values.
    Broken("no-title", "shots: [a]\n", "missing-key", 1, 1, "add 'film: …'"),
    Broken("unknown-key", _shots("{siez: MS, do: x}"), "unknown-key", 3, 4, "did you mean 'size'?"),
    Broken("unknown-top", "flim: a\nfilm: b\nshots: [c]\n", "unknown-key", 1, 1, "'film'?"),
    Broken("merge-key", _shots("{<<: {do: x}}"), "unknown-key", 3, 4, "merge keys"),
    Broken("model-key", _shots("{do: x, steps: 20}"), "unknown-key", 3, 11, "unknown key 'steps'"),
    Broken("version", "storyflow: 2\nfilm: a\nscnes: []\n", "unknown-version", 1, 12, "version 1"),
    Broken("shots-text", "film: a\nshots: a swan\n", "wrong-type", 2, 8, "list"),
    Broken("no-shot", _shots("~"), "wrong-type", 3, 3, "key: value"),
    Broken("list-shot", _shots("[softly]"), "unquoted-symbol", 3, 3, "quote the text"),
    Broken("true-text", _shots("do: true"), "wrong-type", 3, 7, "quote the text"),
    Broken("empty-text", _shots('do: ""'), "empty-text", 3, 7, "remove the key"),
    Broken("long-text", _shots(f"do: {'x' * 6000}"), "long-text", 3, 7, "shorten"),
    Broken("no-time", _shots("{do: x, dur: long}"), "bad-duration", 3, 16, "192f"),
    Broken("negative", _shots("{do: x, dur: -5}"), "bad-duration", 3, 16, "192f"),
    Broken("zero", _shots("{do: x, dur: 0s}"), "absurd-duration", 3, 16, "at least one frame"),
    Broken("eternal", _shots("{do: x, dur: 90000}"), "absurd-duration", 3, 16, "day"),
    Broken("instant", _shots("{do: x, dur: 0.01s}"), "absurd-duration", 3, 16, "1/24 s"),
    Broken("handles", "film: a\nhandles: 60s\nshots: [b]\n", "absurd-handles", 2, 10, "12f"),
    Broken("frame", "film: a\nframe: huge\nshots: [b]\n", "bad-frame", 2, 8, "960x544"),
    Broken("tiny-frame", "film: a\nframe: 2x2\nshots: [b]\n", "bad-frame", 2, 8, "960x544"),
    Broken("fps", "film: a\nfps: often\nshots: [b]\n", "bad-fps", 2, 6, "23.976"),
    Broken("seed", _shots("{do: x, seed: -1}"), "out-of-range", 3, 17, "choose one"),
    Broken("seed-text", _shots("{do: x, seed: lucky}"), "wrong-type", 3, 17, "whole number"),
    Broken("takes", _shots("{do: x, takes: 0}"), "out-of-range", 3, 18, "1 to 99"),
    Broken("size", _shots("{do: x, size: MSS}"), "unknown-size", 3, 17, "did you mean 'MS'?"),
    Broken("angle", _shots("{do: x, angle: hihg}"), "unknown-angle", 3, 18, "'high'?"),
    Broken("view", _shots("{do: x, view: areal}"), "unknown-view", 3, 17, "'aerial'?"),
    Broken("view-as-angle", _shots("{do: x, angle: OTS}"), "unknown-angle", 3, 18, "view: OTS"),
    Broken("fit", _shots("{do: x, fit: squeeze}"), "unknown-fit", 3, 16, "crop or pad"),
    Broken("transition", _shots("{do: x, in: disolve 1s}"), "bad-transition", 3, 15, "dissolve"),
    Broken("colour", _shots("{do: x, in: fade mauve 1s}"), "bad-transition", 3, 15, "#204060"),
    Broken("id", _shots("{id: a b, do: x}"), "bad-id", 3, 8, "such as 1A"),
    Broken("id-prev", _shots("{id: prev, do: x}"), "bad-id", 3, 8, "choose another"),
    # The film as a whole.
    Broken("no-shots", "film: Swan\n", "empty-film", 1, 1, "add 'shots:'"),
    Broken("empty-shots", "film: Swan\nshots: []\n", "empty-film", 1, 1, "add 'shots:'"),
    Broken("empty-scene", "film: a\nscenes:\n- scene: b\n", "empty-scene", 3, 3, "add a shot"),
    Broken(
        "both", "film: a\nshots: [b]\nscenes: [{shots: [c]}]\n", "shots-and-scenes", 2, 8, "move"
    ),
    Broken("no-do", _shots("{dur: 5s}"), "missing-do", 3, 3, "do: …"),
    Broken("no-do-in-beat", _shots("{beats: [{dur: 5s}]}"), "missing-do", 3, 12, "do: …"),
    Broken(
        "do-and-beats", _shots("{do: x, beats: [y]}"), "do-beside-beats", 3, 8, "into the beat"
    ),
    Broken(
        "say-and-beats", _shots("{say: x, beats: [y]}"), "say-beside-beats", 3, 9, "into the beat"
    ),
    Broken("empty-beats", _shots("{beats: []}"), "missing-do", 3, 11, "add a beat"),
    Broken(
        "beats-differ",
        _shots("{dur: 9s, beats: [{do: x, dur: 4s}, {do: y, dur: 4s}]}"),
        "beats-differ", 3, 9, "the beats last 8s, the shot's dur says 9s",
    ),
    Broken(
        "no-rest",
        _shots("{dur: 4s, beats: [{do: x, dur: 4s}, y]}"),
        "beats-differ", 3, 39, "nothing of 4s is left",
    ),
    Broken(
        "two-rests", _shots("{dur: 9s, beats: [x, y]}"), "beats-without-dur", 3, 24, "all but one"
    ),
    Broken(
        "no-whole",
        _shots("{beats: [{do: x, dur: 4s}, y]}"),
        "beats-without-dur", 3, 30, "give it a dur",
    ),
    Broken("length", "film: a\nlength: 9s\nshots: [b]\n", "length-differs", 2, 9, "last 4s"),
    Broken(
        "duplicate-id",
        _shots("{id: 1A, do: x}", "{id: 1A, do: y}"),
        "duplicate-id", 4, 8, "line 3",
    ),
    Broken(
        "same-id-in-other-case",
        _shots("{id: 1A, do: x}", "{id: 1a, do: y}"),
        "duplicate-id", 4, 8, "only in case",
    ),
    Broken(
        "cast-in-do",
        "film: a\ncast: {keeper: old man}\nshots:\n- {do: \"@keper climbs\"}\n",
        "unknown-character", 4, 8, "did you mean 'keeper'?",
    ),
    Broken(
        "cast-in-who",
        "film: a\ncast: {keeper: old man}\nshots:\n- {do: x, who: [keper]}\n",
        "unknown-character", 4, 16, "did you mean 'keeper'?",
    ),
    Broken(
        "cast-in-beat",
        "film: a\ncast: {keeper: old man}\nshots:\n- beats:\n  - {do: y, who: kepr}\n",
        "unknown-character", 5, 18, "did you mean 'keeper'?",
    ),
    Broken("no-cast", _shots('"@keeper climbs"'), "unknown-character", 3, 3, "add 'keeper'"),
    Broken("cast-name", "film: a\ncast: {a b: x}\nshots: [b]\n", "bad-name", 2, 8, "hyphens"),
    Broken(
        "place",
        "film: a\nplaces: {tower: stair}\nscenes:\n- place: towr\n  shots: [b]\n",
        "unknown-place", 4, 10, "did you mean 'tower'?",
    ),
    Broken("no-place", _shots("{do: x, place: tower}"), "unknown-place", 3, 18, "places"),
    Broken(
        "twice",
        "film: a\nlight: dim\ndefaults: {light: bright}\nshots: [b]\n",
        "stands-twice", 2, 8, "remove one",
    ),
    # Joints and titles.
    Broken(
        "in-against-out",
        _shots("{do: x, out: dissolve 1s}", "{do: y, in: cut}"),
        "contradicting-joint", 4, 15, "contradicts 'out: dissolve 1s'",
    ),
    Broken(
        "two-dissolves",
        _shots("{do: x, out: dissolve 1s}", "{do: y, in: dissolve 2s}"),
        "contradicting-joint", 4, 15, "remove one",
    ),
    Broken(
        "scene-against-shot",
        "film: a\nscenes:\n- in: fade 1s\n  shots:\n  - {do: x, in: cut}\n",
        "contradicting-joint", 5, 17, "the scene says 'in: fade 1s'",
    ),
    Broken(
        "dissolve-into-continuation",
        _shots("x", "{from: prev, do: y, in: dissolve 1s}"),
        "dissolve-into-continuation", 4, 27, "use a cut",
    ),
    Broken("first-dissolve", _shots("{do: x, in: dissolve}"), "dissolve-at-edge", 3, 15, "fade"),
    Broken("last-dissolve", _shots("{do: x, out: dissolve}"), "dissolve-at-edge", 3, 16, "fade"),
    Broken(
        "long-dissolve",
        _shots("{do: x, dur: 1s}", "{do: y, in: dissolve 2s}"),
        "long-joint", 4, 15, "does not fit into shot 1",
    ),
    Broken("long-fade", _shots("{do: x, in: fade 5s}"), "long-joint", 3, 15, "does not fit"),
    Broken(
        "two-long-fades",
        _shots("{do: x, in: fade 3s, out: fade 2s}"),
        "long-joint", 3, 15, "take 5s, the shot lasts 4s",
    ),
    Broken(
        "late-title",
        _shots("{do: x, title: {text: SWAN, at: 3s, dur: 2s}}"),
        "title-outside-shot", 3, 18, "the shot ends at 4s",
    ),
    Broken(
        "title-style",
        _shots("{do: x, title: {text: SWAN, as: lower fourth}}"),
        "unknown-title-style", 3, 35, "did you mean 'lower-third'",
    ),
    Broken(
        "ground",
        _shots("{do: x, title: {text: SWAN, as: card, ground: mauve}}"),
        "unknown-color", 3, 49, "#204060",
    ),
    Broken(
        "ground-without-card",
        _shots("{do: x, title: {text: SWAN, ground: white}}"),
        "ground-without-card", 3, 18, "as: card",
    ),
    Broken(
        "titles-collide",
        _shots("{do: x, title: [A, {text: B, at: 0}]}"),
        "titles-collide", 3, 22, "one after the other",
    ),
    Broken(
        "wipe-nowhere", _shots("x", "{do: y, in: wipe 1s}"), "bad-transition", 4, 15, "wipe left"
    ),
    # What shots begin with.
    Broken("prev-first", _shots("{do: x, from: prev}"), "no-shot-before", 3, 17, "remove"),
    Broken(
        "unknown-shot",
        _shots("{id: 1AA, do: x}", "{id: 1B, do: y, from: 1AB}"),
        "unknown-shot", 4, 25, "did you mean '1AA'?",
    ),
    Broken("itself", _shots("{id: 1A, do: x, from: 1A}"), "from-cycle", 3, 25, "itself"),
    Broken(
        "cycle",
        _shots("{id: 1A, do: x, from: 1C}", "{id: 1B, from: prev, do: y}")
        + "- {id: 1C, from: 1B, do: z}\n",
        "from-cycle", 3, 25, "1A <- 1C <- 1B <- 1A",
    ),
    Broken("to-alone", _shots("{do: x, to: a.png}"), "to-without-from", 3, 15, "from: PICTURE"),
    Broken(
        "to-continuation",
        _shots("x", "{do: y, from: prev, to: a.png}"),
        "to-without-picture", 4, 27, "a continuation can't end on a picture",
    ),
    Broken(
        "to-clip", _shots("{do: y, from: c.mp4, to: a.png}"), "to-without-picture", 3, 28, "clip"
    ),
    Broken("take", _shots("{do: x, takes: 2, take: 3}"), "take-without-takes", 3, 27, "takes: 3"),
    Broken("missing", _shots("{do: x, from: b.png}"), "missing-reference", 3, 17, "'a.png'?"),
    Broken("escaping", _shots("{do: x, from: ../o.png}"), "outside-reference", 3, 17, "folder"),
    Broken("absolute", _shots("{do: x, from: /etc/o.png}"), "outside-reference", 3, 17, "folder"),
    Broken("home", _shots("{do: x, from: ~/o.png}"), "outside-reference", 3, 17, "folder"),
    Broken("symlink", _shots("{do: x, from: link.png}"), "outside-reference", 3, 17, "folder"),
    Broken("linked-folder", _shots("{do: x, from: up/o.png}"), "outside-reference", 3, 17, "out"),
    Broken("address", _shots("{do: x, from: 'ftp://a/b'}"), "outside-reference", 3, 17, "file"),
    Broken("folder", _shots("{do: x, from: refs/}"), "not-a-file", 3, 17, "name a picture"),
    Broken("pipe", _shots("{do: x, from: pipe.png}"), "not-a-file", 3, 17, "name a picture"),
    Broken("kind", _shots("{do: x, from: refs/a.txt}"), "unknown-kind", 3, 17, "png"),
    Broken("fake", _shots("{do: x, from: fake.png}"), "wrong-kind", 3, 17, "something else"),
    Broken("clip-as-png", _shots("{do: x, from: clip.png}"), "wrong-kind", 3, 17, "a clip"),
    Broken("hollow", _shots("{do: x, from: hollow.png}"), "wrong-kind", 3, 17, "empty"),
    Broken("to-is-clip", _shots("{do: x, from: a.png, to: c.mp4}"), "wrong-kind", 3, 28, "picture"),
    Broken(
        "cast-ref",
        "film: a\ncast:\n  keeper: {look: x, ref: k.png}\nshots: [b]\n",
        "missing-reference", 3, 26, "there",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storyboard's folder with pictures, clips, links and traps."""
    outer = tmp_path_factory.mktemp("outer")
    inner = outer / "film"
    (inner / "refs").mkdir(parents=True)
    (outer / "o.png").write_bytes(PNG)
    (inner / "a.png").write_bytes(PNG)
    (inner / "photo.png").write_bytes(JPEG)
    (inner / "c.mp4").write_bytes(MP4)
    (inner / "clip.png").write_bytes(MP4)
    (inner / "fake.png").write_bytes(b"#!/bin/sh\n")
    (inner / "hollow.png").write_bytes(b"")
    (inner / "refs" / "a.txt").write_bytes(PNG)
    (inner / "link.png").symlink_to(outer / "o.png")
    (inner / "near.png").symlink_to(inner / "a.png")
    (inner / "up").symlink_to(outer)
    os.mkfifo(inner / "pipe.png")
    return inner


@pytest.mark.parametrize("broken", TABLE, ids=lambda broken: broken.name)
def test_a_broken_storyboard_names_line_column_and_cure(broken: Broken, folder: Path) -> None:
    path = folder / "film.yaml"
    path.write_text(broken.text)
    errors = [p for p in check(path) if p.level == "error"]
    assert errors
    first = errors[0]
    assert (first.code, first.line, first.column) == (broken.code, broken.line, broken.column)
    assert broken.said in str(first)
    assert first.cure
    assert str(first).startswith(f"{path}:{broken.line}:{broken.column}: ")
    with pytest.raises(StoryboardError) as caught:
        resolve(load(path))
    assert broken.code in {p.code for p in caught.value.problems}


def test_one_mistake_gives_one_error(folder: Path) -> None:
    path = folder / "film.yaml"
    several = {"two-long-fades", "list-file", "merge-key"}
    for broken in TABLE:
        if broken.name in several:
            continue
        path.write_text(broken.text)
        errors = [str(p) for p in check(path) if p.level == "error"]
        assert len(errors) == 1, broken.name


def test_more_than_twenty_five_kinds_are_known() -> None:
    assert len({broken.code for broken in TABLE}) > 25


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"film: \xff\n", "not-utf8"),
        ("film: Swan\n".encode("utf-16"), "not-utf8"),
        (PNG, "not-utf8"),
        (bytes(range(1, 32)), "control-character"),
        (b"film: a\n" * 700_000, "huge-file"),
    ],
    ids=["latin", "utf-16", "picture", "binary", "huge"],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "film.yaml"
    path.write_bytes(content)
    with pytest.raises(StoryboardError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert (problem.code, problem.line) == (code, 1)
    assert problem.cure


@pytest.mark.parametrize(("name", "code"), [("none.yaml", "missing-file"), (".", "not-a-file")])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str, code: str) -> None:
    (problem,) = check(tmp_path / name)
    assert problem.code == code


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    lines = ["film: bomb", "style: &a [" + ", ".join("x" * 10) + "]"]
    for below, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [" + ", ".join([f"*{below}"] * 10) + "]")
    path = tmp_path / "film.yaml"
    path.write_text("\n".join(lines))
    (problem,) = check(path)
    assert (problem.code, problem.line) == ("alias-bomb", 6)


def test_too_many_shots_are_refused() -> None:
    with pytest.raises(StoryboardError) as caught:
        resolve(parse({"film": "Long", "shots": ["a swan"] * 20_001}))
    assert [p.code for p in caught.value.problems] == ["too-many-shots"]


def test_every_error_of_a_film_is_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "film.yaml"
    path.write_text(
        "film: Swan\n"
        "cast: {keeper: {look: old man}}\n"
        "shots:\n"
        "- {id: 1A, siez: MS, do: one}\n"
        "- {id: 1A, do: two, dur: never}\n"
        "- {id: 1B, do: '@keper goes', from: gone.png}\n"
        "- {id: 1C, do: door #3\n"
        "  }\n"
    )
    text = path.read_text().replace(
        "- {id: 1C, do: door #3\n  }\n", "- {id: 1C, size: XX, do: y}\n"
    )
    path.write_text(text)
    found = [(p.line, p.code, p.shot) for p in check(path)]
    assert found == [
        (4, "unknown-key", "1A"),
        (5, "duplicate-id", "1A"),
        (5, "bad-duration", "1A"),
        (6, "unknown-character", "1B"),
        (6, "missing-reference", "1B"),
        (7, "unknown-size", "1C"),
    ]
    with pytest.raises(StoryboardError) as caught:
        load(path)
    assert len(caught.value.problems) == 6


def test_errors_of_python_objects_name_a_path_in_place_of_a_line() -> None:
    film = parse({"film": "Swan", "shots": ["a swan", {"id": "2", "do": "@duck swims"}]})
    (problem,) = check(film)
    assert (problem.line, problem.path, problem.shot) == (None, "shots.1.do", "2")
    assert str(problem).startswith("shots.1.do: shot 2: not in the cast, got '@duck'")


SLIPS = [
    "{id: 1C, do: a, b c}",
    "id: 1C\n    do: door #3",
    "id: 1C\n    do: !x y",
    "id: 1C\n    do: x\n    do: y",
    "id: 1C\n    do: *x",
    "id: 1C\n    siez: MS\n    do: x",
]


@pytest.mark.parametrize("shot", SLIPS)
def test_errors_of_reading_name_the_shot_too(tmp_path: Path, shot: str) -> None:
    path = tmp_path / "film.yaml"
    path.write_text(f"film: a\nscenes:\n- shots:\n  - b\n  - {shot}\n  - c\n")
    assert {problem.shot for problem in check(path)} == {"1C"}


def test_two_spaces_before_a_hash_make_a_comment(tmp_path: Path) -> None:
    path = tmp_path / "film.yaml"
    path.write_text(
        "film: Swan  # a comment\nshots:\n- a swan   # another\n- {do: x, dur: 8s} # y\n"
    )
    assert check(path) == ()


def test_a_picture_of_another_kind_is_still_a_picture(folder: Path) -> None:
    film = parse({"film": "Swan", "shots": [{"do": "x", "from": "photo.png"}]}, root=folder)
    assert resolve(film).shots[0].mode == "image"


def test_a_link_within_the_folder_may_be_used(folder: Path) -> None:
    film = parse({"film": "Swan", "shots": [{"do": "x", "from": "near.png"}]}, root=folder)
    assert resolve(film).shots[0].source == (folder / "a.png").resolve()


def test_references_may_lead_out_when_allowed(folder: Path) -> None:
    film = parse({"film": "Swan", "shots": [{"do": "x", "from": "../o.png"}]}, root=folder)
    assert [p.code for p in check(film)] == ["outside-reference"]
    assert check(film, allow_outside=True) == ()
    assert resolve(film, allow_outside=True).shots[0].source == (folder.parent / "o.png").resolve()


PIECES = st.sampled_from([
    "film: ", "shots:", "scenes:", "\n- ", "\n  ", "{do: ", ", ", "}", "[", "]", "@keeper", "#",
    ": ", "dur: ", "5s", "-5", "1e9", "id: ", "beats: ", "\nfrom: ", "prev", "to: ", "in: ",
    "dissolve", "fade", "&a ", "*a", "!!x ", "'", '"', "~", "true", "\t", "who: ", "cast: ",
    "title: ", "x",
])  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(st.lists(PIECES, max_size=25).map("".join))
def test_no_text_raises_anything_but_a_storyboard_error(text: str) -> None:
    try:
        resolve(parse(text))
    except StoryboardError as error:
        assert error.problems
        assert str(error)


@settings(deadline=None, max_examples=60)
@given(content=st.binary(max_size=300))
def test_no_bytes_raise_anything_but_a_storyboard_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "film.yaml"
    path.write_bytes(content)
    try:
        resolve(load(path))
    except StoryboardError as error:
        assert error.problems


KEYS = st.sampled_from([
    "film", "shots", "scenes", "scene", "do", "beats", "dur", "id", "from", "to", "in", "out",
    "who", "cast", "places", "place", "title", "text", "at", "take", "takes", "seed", "look",
    "ref", "fps", "frame", "handles", "length", "size", "angle", "view", "style", "say", "fit",
])  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_no_data_raises_anything_but_a_storyboard_error(data: dict[str, object]) -> None:
    try:
        resolve(parse({"film": "x", "shots": ["y"], **data}))
    except StoryboardError as error:
        assert error.problems
        assert str(error)
