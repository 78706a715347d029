"""Reading YAML files: every broken one gives a line, a column and a cure, never a traceback."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyflow.documents import (
    Document,
    Strict,
    document_from_text,
    inspect_document,
    nearest,
    read_document,
    validate,
)
from storyflow.errors import ProfileError, StoryboardError
from storyflow.yamltree import scalar

BROKEN = [
    ("tab-indent", "film:\n\tx: 1\n", "tab", 2, 1, "spaces"),
    ("tab-first", "\tfilm: x\n", "tab", 1, 1, "spaces"),
    ("at-sign", "do: @keeper climbs\n", "unquoted-symbol", 1, 5, "quote the text"),
    ("percent", "do: %half\n", "unquoted-symbol", 1, 5, "quote the text"),
    ("backtick", "do: `half`\n", "unquoted-symbol", 1, 5, "quote the text"),
    ("star", "do: *keeper climbs\n", "unquoted-symbol", 1, 5, "quote the text"),
    ("star-alone", "do: *keeper\n", "unquoted-symbol", 1, 5, "quote the text"),
    ("ampersand", "do: &keeper climbs\n", "unquoted-symbol", 1, 5, "quote the text"),
    ("bracket", "do: [softly] he goes\n", "yaml-syntax", 1, 14, "quote the text"),
    ("colon", "do: KEEPER: who is there\n", "unquoted-colon", 1, 11, "quote the text"),
    ("comma", "{do: he sets, then wipes}\n", "unquoted-comma", 1, 15, "quote the text"),
    ("no-space", "{dur:8s}\n", "missing-space", 1, 2, "dur: 8s"),
    ("hash-in-flow", "a:\n- {do: a door # 3}\n- b\n", "unquoted-hash", 2, 15, "quote the text"),
    ("hash-splits", "do: a swan\n  # three\n  cross\n", "unquoted-hash", 2, 3, "quote the text"),
    ("open-quote", "do: 'tis the season\nx: y\n", "unclosed-quote", 1, 5, "close it"),
    ("open-bracket", "who: [a, b\nx: y\n", "yaml-syntax", 2, 2, "bracket"),
    ("quote-goes-on", 'do: "he" says\n', "yaml-syntax", 1, 10, "quote the text"),
    ("indent", "a:\n  - x\n c: d\n", "yaml-syntax", 3, 2, "indentation"),
    ("python-tag", "a: !!python/object:os.system x\n", "custom-tag", 1, 4, "remove the tag"),
    ("own-tag", "a: !secret x\n", "custom-tag", 1, 4, "remove the tag"),
    ("duplicate", "a: 1\nb: 2\na: 3\n", "duplicate-key", 3, 1, "line 1"),
    ("list-key", "? [a]\n: b\n", "key-not-text", 1, 3, "quote the text"),
    ("null-key", "~: b\n", "key-not-text", 1, 1, "quote the text"),
    ("two-documents", "a: 1\n---\nb: 2\n", "several-documents", 2, 1, "one document"),
    ("deep", "a: " + "[" * 5000, "too-deep", 1, 67, "brackets"),
    ("nul", "a: \0\n", "control-character", 1, 4, "remove it"),
    ("recursive", "a: &a [*a]\n", "unquoted-symbol", 1, 8, "quote the text"),
]


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "cure"),
    [row[1:] for row in BROKEN],
    ids=[row[0] for row in BROKEN],
)
def test_a_broken_file_names_line_column_and_cure(
    text: str, code: str, line: int, column: int, cure: str
) -> None:
    document = document_from_text(text, "bad.yaml")
    assert document.problems
    problem = document.problems[0]
    assert (problem.code, problem.line, problem.column) == (code, line, column)
    assert cure in problem.cure
    assert str(problem).startswith(f"bad.yaml:{line}:{column}: ")


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    for below, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{','.join([f'*{below}'] * 10)}]")
    problem = document_from_text("\n".join(lines)).problems[0]
    assert problem.code == "alias-bomb"
    assert problem.line == 5


def test_every_mistake_of_a_file_is_reported_at_once() -> None:
    text = "a: !x 1\na: 2\n{b: 1, c d}: 3\ne: *f\n"
    codes = [p.code for p in document_from_text(text).problems]
    assert codes == [
        "custom-tag",
        "duplicate-key",
        "key-not-text",
        "unquoted-comma",
        "unquoted-symbol",
    ]


def test_aliases_and_comments_are_read() -> None:
    document = document_from_text("a: &x [1, 2]  # first\n# second\nb: *x\n")
    assert document == Document({"a": [1, 2], "b": [1, 2]})
    assert document.where(["b", 0]) == (1, 8)


def test_a_hash_after_one_space_is_marked() -> None:
    document = document_from_text("a: door #3\nb: door  # three\n")
    marks = [document.mark_at([key]) for key in "ab"]
    assert [mark and mark.hash for mark in marks] == [9, None]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("12", 12),
        ("-3", -3),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("1:30", "1:30"),
        ("2026-11-20", "2026-11-20"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    read = scalar(text)
    assert read == value
    assert isinstance(read, type(value))


@pytest.mark.parametrize("text", ["007", "1E2", "1.0", "1.50", "+3", "0o17", ".5", "1e999"])
def test_numbers_remember_how_they_were_written(text: str) -> None:
    assert str(scalar(text)) == text
    assert str(pickle.loads(pickle.dumps(scalar(text)))) == text


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"film: \xff\xfe\n", "not-utf8", 1),
        ("film: x\n".encode("utf-16"), "not-utf8", 1),
        (b"a: b\nc: caf\xe9\n", "not-utf8", 2),
        (b"\x89PNG\r\n\x1a\n\0\0", "not-utf8", 1),
        (b"\x00\x01\x02\x03", "control-character", 1),
        (b"a: b\n" * 900_000, "huge-file", 1),
    ],
    ids=["bytes", "utf-16", "latin-1", "picture", "binary", "huge"],
)
def test_a_file_that_is_not_text_is_refused(
    tmp_path: Path, content: bytes, code: str, line: int
) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    problem = inspect_document(path).problems[0]
    assert (problem.code, problem.line) == (code, line)
    assert problem.cure
    assert problem.file == str(path)


@pytest.mark.parametrize(
    ("name", "code"),
    [("none.yaml", "missing-file"), ("folder", "not-a-file"), ("a\0b", "unreadable-file")],
)
def test_what_is_not_a_file_is_refused(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoryboardError) as caught:
        read_document(tmp_path / name)
    assert [p.code for p in caught.value.problems] == [code]


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbffilm: x\r\nb: 1\r\n")
    document = read_document(path)
    assert document.data == {"film": "x", "b": 1}
    assert document.where(["b"], key=True) == (2, 1)


class Wheel(Strict):
    size: int
    kind: Literal["front", "rear"] = "front"


class Cart(Strict):
    wheels: tuple[Wheel, ...] = ()
    by_name: dict[str, Wheel | None] | None = None
    loaded: bool = False


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "said"),
    [
        ("wheels:\n- size: 1\n  siez: 2\n", "unknown-key", 3, 3, "did you mean 'size'?"),
        ("whels: []\n", "unknown-key", 1, 1, "did you mean 'wheels'?"),
        ("by_name:\n  a: {size: 1, knd: x}\n", "unknown-key", 2, 16, "did you mean 'kind'?"),
        ("wheels:\n- {kind: rear}\n", "missing-key", 2, 3, "'size' is missing"),
        ("wheels:\n- {size: big}\n", "wrong-type", 2, 10, "whole number, got 'big'"),
        ("wheels:\n- {size: 1, kind: raer}\n", "wrong-value", 2, 19, "did you mean 'rear'?"),
        ("wheels: big\n", "wrong-type", 1, 9, "expected a list, got 'big'"),
        ("wheels: [3]\n", "wrong-type", 1, 10, "expected keys and values, got 3"),
        ("loaded: 12\n", "wrong-type", 1, 9, "expected true or false"),
        ("- a\n", "wrong-type", 1, 1, "expected keys and values"),
    ],
)
def test_a_wrong_value_names_its_place_and_the_nearest_match(
    text: str, code: str, line: int, column: int, said: str
) -> None:
    document = document_from_text(text, "cart.yaml")
    with pytest.raises(ProfileError) as caught:
        validate(Cart, document)
    (problem,) = caught.value.problems
    assert (problem.code, problem.line, problem.column) == (code, line, column)
    assert said in str(problem)


def test_numbers_written_oddly_are_still_numbers() -> None:
    cart = validate(Cart, document_from_text("wheels: [{size: 007}]"))
    assert cart.wheels[0].size == 7
    assert type(cart.wheels[0].size) is int


def test_data_from_python_is_checked_without_places() -> None:
    with pytest.raises(ProfileError) as caught:
        validate(Cart, Document({"wheels": [{"siez": 1, "size": 1}]}))
    (problem,) = caught.value.problems
    assert (problem.path, problem.line, problem.file) == ("wheels.0.siez", None, None)


def test_the_nearest_word_is_found_in_any_case() -> None:
    assert nearest("siez", ["size", "dur"]) == "size"
    assert nearest("Siez", ["SIZE"]) == "SIZE"
    assert nearest("xyz", ["size"]) is None


@settings(deadline=None)
@given(st.text())
def test_no_text_makes_reading_fail_otherwise(text: str) -> None:
    document_from_text(text)


@settings(deadline=None)
@given(st.text(alphabet="ab:-#&*!|>'\"%@`{}[], \n\t?~0", max_size=60))
def test_no_yaml_punctuation_makes_reading_fail_otherwise(text: str) -> None:
    document = document_from_text(text)
    for problem in document.problems:
        assert problem.line is not None
        assert problem.column is not None
        assert problem.cure


@settings(deadline=None)
@given(content=st.binary(max_size=200))
def test_no_bytes_make_reading_fail_otherwise(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    inspect_document(path)
