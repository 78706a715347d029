"""Files that people write: storyboards, pipeline profiles, cluster files, locks.

    document = read_document(Path("cluster/local.yaml"), error=ProfileError)
    cluster = validate(Cluster, document, error=ProfileError)

What is wrong with a file comes back as `Problem`s with line, column and cure, all at once.
"""

from __future__ import annotations

import difflib
import itertools
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from storyflow.errors import Problem, ProfileError, StoryboardError
from storyflow.yamltree import Mark, WrittenFloat, WrittenInt, read_tree

MAX_BYTES = 4_000_000
"""Larger files are refused before they are parsed."""

MAX_COMPARED = 150
"""Known words that a misspelt one is compared with: bounds the work for long lists."""

Part = str | int
DocumentPath = Sequence[Part]
FileError = type[StoryboardError] | type[ProfileError]


class Strict(BaseModel):
    """Base of everything that is read from a file: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Document:
    """Plain data and where it stands. `file` and `mark` are None for data made in Python."""

    data: object
    file: str | None = None
    mark: Mark | None = field(default=None, repr=False, compare=False)
    problems: tuple[Problem, ...] = ()

    def mark_at(self, path: DocumentPath) -> Mark | None:
        """The mark of the value at `path`, or of the nearest value around it."""
        mark, _ = self._walk(path)
        return mark

    def where(self, path: DocumentPath, *, key: bool = False) -> tuple[int | None, int | None]:
        """Line and column of the value at `path` (of its key, if asked), from 1.

        Parts that the file does not have are passed over, so a missing value is found at what
        should hold it.
        """
        mark, found = self._walk(path)
        if mark is None:
            return None, None
        if key and found and mark.key is not None:
            return mark.key
        return mark.line, mark.column

    def path_at(self, line: int, column: int) -> tuple[Part, ...]:
        """The path of the innermost value that begins at or before this place."""
        path: list[Part] = []
        mark = self.mark
        while mark is not None:
            begun = [
                (at, part)
                for part, child in mark.children.items()
                if (at := child.key or (child.line, child.column)) <= (line, column)
            ]
            if not begun:
                break
            _, part = max(begun, key=lambda pair: pair[0])
            path.append(part)
            mark = mark.children[part]
        return tuple(path)

    def _walk(self, path: DocumentPath) -> tuple[Mark | None, bool]:
        mark, found = self.mark, False
        for part in path:
            if mark is None:
                break
            child = mark.children.get(part)
            found = child is not None
            mark = child or mark
        return mark, found


def inspect_document(path: Path | str, *, max_bytes: int = MAX_BYTES) -> Document:
    """Read a YAML file; everything wrong with it is in the document's `problems`."""
    path = Path(path)
    file = str(path)

    def refuse(code: str, what: str, cure: str, line: int | None = None) -> Document:
        column = None if line is None else 1
        problem = Problem(code, what, cure=cure, file=file, line=line, column=column)
        return Document(None, file, problems=(problem,))

    try:
        if path.is_dir():
            return refuse("not-a-file", "this is a folder", "name the YAML file in it")
        if path.exists() and not path.is_file():
            return refuse("not-a-file", "this is not a regular file", "name a YAML file")
        with path.open("rb") as stream:
            raw = stream.read(max_bytes + 1)
    except FileNotFoundError:
        return refuse("missing-file", "there is no such file", "check the name and the folder")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return refuse("unreadable-file", f"can't read the file ({reason})", "check its permissions")
    if len(raw) > max_bytes:
        limit = f"{max_bytes // 1_000_000} MB"
        return refuse("huge-file", f"the file is larger than {limit}", "split it", line=1)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        problem = Problem(
            "not-utf8",
            "the file is not UTF-8 text",
            value=raw[error.start : error.start + 1],
            cure="save it as UTF-8",
            file=file,
            line=line,
            column=column,
        )
        return Document(None, file, problems=(problem,))
    return document_from_text(text, file)


def document_from_text(text: str, file: str | None = None) -> Document:
    """Like `inspect_document`, for text that is already in memory."""
    tree = read_tree(text, file)
    return Document(tree.data, file, tree.mark, tree.problems)


def read_document(
    path: Path | str, *, error: FileError = StoryboardError, max_bytes: int = MAX_BYTES
) -> Document:
    """Read a YAML file; raises `error` with every problem that reading found."""
    document = inspect_document(path, max_bytes=max_bytes)
    if document.problems:
        raise error(document.problems)
    return document


def validate(model: type[Model], document: Document, *, error: FileError = ProfileError) -> Model:
    """`document.data` as a `model`; raises `error` with every problem found."""
    try:
        return model.model_validate(document.data)
    except ValidationError as failure:
        raise error(problems_of(failure, document, model)) from None


def problems_of(
    error: ValidationError, document: Document | None, model: type[BaseModel] | None = None
) -> tuple[Problem, ...]:
    """Pydantic's errors as Problems with file positions, in the order of the file.

    `model` is what was validated; it is asked for the keys that an unknown one may have meant.
    Validators add codes and cures with `PydanticCustomError("code", "what", {"cure": "…"})`.
    """
    document = document or Document(None)
    found = [_problem(details, document, model) for details in error.errors(include_url=False)]
    return tuple(sorted(found, key=lambda p: (p.line or 0, p.column or 0)))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, or None."""
    return _nearest(word, tuple(itertools.islice(known, MAX_COMPARED)))


@lru_cache(maxsize=1000)
def _nearest(word: str, known: tuple[str, ...]) -> str | None:
    by_lower = {k.lower(): k for k in known}
    matches = difflib.get_close_matches(word.lower()[:100], by_lower, n=1, cutoff=0.55)
    return by_lower[matches[0]] if matches else None


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str = "use one of") -> str:
    """A cure for an unknown word: the nearest known one, or all of them."""
    known = list(known)
    if match := nearest(word, known):
        return f"did you mean '{match}'?"
    shown = ", ".join([*known[:30], "…"] if len(known) > 30 else known)
    return f"{otherwise} {shown}" if known else "remove it"


_WORDS = {
    "string_type": ("expected text", "quote the text"),
    "int_type": ("expected a whole number", ""),
    "int_parsing": ("expected a whole number", ""),
    "int_from_float": ("expected a whole number", ""),
    "float_type": ("expected a number", ""),
    "float_parsing": ("expected a number", ""),
    "bool_type": ("expected true or false", ""),
    "bool_parsing": ("expected true or false", ""),
    "list_type": ("expected a list", "begin each entry with '- '"),
    "tuple_type": ("expected a list", "begin each entry with '- '"),
    "dict_type": ("expected keys and values", "write 'key: value' lines"),
    "model_type": ("expected keys and values", "write 'key: value' lines"),
    "model_attributes_type": ("expected keys and values", "write 'key: value' lines"),
    "none_required": ("expected nothing here", "remove the value"),
}


def _problem(details: ErrorDetails, document: Document, model: type[BaseModel] | None) -> Problem:
    loc, kind = details["loc"], details["type"]
    context = details.get("ctx", {})
    code, what, cure = "wrong-value", details["msg"], str(context.get("cure", ""))
    value: object = details["input"]
    at_key = False
    if kind == "extra_forbidden":
        code, at_key, value = "unknown-key", True, None
        key = str(loc[-1])
        what, cure = f"unknown key '{key}'", did_you_mean(key, _keys_at(model, loc[:-1]))
    elif kind == "missing":
        code, value = "missing-key", None
        what, cure = f"'{loc[-1]}' is missing", f"add '{loc[-1]}: …'"
    elif kind in _WORDS:
        code = "wrong-type"
        what, cure = _WORDS[kind][0], cure or _WORDS[kind][1]
    elif kind in ("literal_error", "enum"):
        words = [
            w.strip("' ") for w in str(context.get("expected", "")).replace(" or ", ", ").split(",")
        ]
        what = f"expected one of {', '.join(words)}"
        near = nearest(str(value), words)
        cure = f"did you mean '{near}'?" if near else ""
    elif kind in ("value_error", "assertion_error"):
        what = str(context.get("error", what))
    elif "-" in kind:
        code, value = kind, context.get("value", value)
        at_key = bool(context.get("at_key"))
    if loc and loc[-1] == "[key]":
        loc, at_key = loc[:-1], True
    line, column = document.where(loc, key=at_key)
    return Problem(
        code,
        what[:1].lower() + what[1:],
        path=".".join(str(part) for part in loc),
        value=_shown(value),
        cure=cure,
        file=document.file,
        line=line,
        column=column,
    )


def _shown(value: object) -> object:
    """A value short enough for one line: containers by their kind."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(map(str, value))}}}"
    if isinstance(value, WrittenInt | WrittenFloat):
        return str(value)
    if isinstance(value, str | int | float | bool | bytes) or value is None:
        return value
    return str(value)


def _keys_at(model: type[BaseModel] | None, loc: Sequence[Part]) -> list[str]:
    """The keys that may stand in the mapping at `loc` of `model`."""
    candidates: set[object] = set() if model is None else {model}
    for part in loc:
        inner: set[object] = set()
        for candidate in candidates:
            inner |= _step(candidate, part)
        candidates = inner or candidates
    keys: list[str] = []
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            keys += [f.alias or name for name, f in candidate.model_fields.items()]
    return keys


def _step(annotation: object, part: Part) -> set[object]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, info in annotation.model_fields.items():
            if part in (name, info.alias):
                return _alternatives(info.annotation)
        return set()
    arguments = [a for a in typing.get_args(annotation) if a is not Ellipsis]
    return _alternatives(arguments[-1]) if arguments else set()


def _alternatives(annotation: object) -> set[object]:
    if typing.get_origin(annotation) is Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return {a for arg in typing.get_args(annotation) for a in _alternatives(arg)}
    return {annotation}
