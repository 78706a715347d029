"""YAML text into plain data and positions, safely: YAML 1.2 meanings, no objects, no surprises.

libyaml splits the text into events (30 times faster than a Python parser); everything that gives
them a meaning is here: scalars follow YAML 1.2's core schema, keys are always text, aliases are
counted, tags refused. Numbers that Python would print differently remember how they were written,
so that the id `1E2` stays an id.

    tree = read_tree("film: Swan\\nshots: [a swan]\\n")
    tree.data                        # {"film": "Swan", "shots": ["a swan"]}
    tree.mark.children["shots"].line # 2
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from storyflow.errors import Problem
from storyflow.yamlerrors import syntax_problem

MAX_DEPTH = 64
"""Levels of nesting; a storyboard needs eight."""
MAX_ALIASED = 100_000
"""Values that aliases may repeat in one file: more is an alias bomb."""
MAX_PROBLEMS = 200
"""Problems listed before reading stops."""

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)")
_NOT_TEXT = frozenset("0123456789+-.~nNtTfF")
_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_STRING_TAG = "tag:yaml.org,2002:str"
_LOADER: type[yaml.CSafeLoader] | type[yaml.SafeLoader] = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)


class WrittenInt(int):
    """A whole number that was not written the way Python prints it, such as `007`."""

    def __new__(cls, value: int, source: str) -> WrittenInt:
        number = super().__new__(cls, value)
        number.source = source
        return number

    source: str

    def __getnewargs__(self) -> tuple[int, str]:  # type: ignore[override]
        return int(self), self.source

    def __str__(self) -> str:
        return self.source


class WrittenFloat(float):
    """A number that was not written the way Python prints it, such as `1E2`."""

    def __new__(cls, value: float, source: str) -> WrittenFloat:
        number = super().__new__(cls, value)
        number.source = source
        return number

    source: str

    def __getnewargs__(self) -> tuple[float, str]:  # type: ignore[override]
        return float(self), self.source

    def __str__(self) -> str:
        return self.source


_NOTHING: Mapping[str | int, Mark] = {}
"""Most values are scalars: they share the children that they don't have."""


@dataclass(slots=True)
class Mark:
    """Where a value stands in the text; lines and columns count from 1.

    `start` and `end` are offsets in the text; only scalars have an end. `key` is the place of the
    key that names the value. `hash` is the column of a ` #` that follows unquoted text after a
    single space: a comment to YAML, perhaps not to the author.
    """

    line: int
    column: int
    start: int = 0
    end: int = 0
    key: tuple[int, int] | None = None
    hash: int | None = None
    children: Mapping[str | int, Mark] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True)
class Tree:
    """What was read. `data` is None where the text could not be understood."""

    data: object
    mark: Mark
    problems: tuple[Problem, ...]


class _Stop(Exception):
    pass


def read_tree(text: str, file: str | None = None) -> Tree:
    """Read one YAML document; everything wrong with it is in `problems`, nothing is raised."""
    return _Reader(text.removeprefix("\ufeff"), file).read()


def scalar(text: str) -> object:
    """The value of an unquoted scalar by YAML 1.2's core schema.

    `scalar("no")` is text, `scalar("007")` the number 7 that remembers its zeros.
    """
    if text and text[0] not in _NOT_TEXT:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > 300:
        return text
    if _INT.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        whole = int(text[2:] if base != 10 else text, base)
        return whole if str(whole) == text else WrittenInt(whole, text)
    if _FLOAT.fullmatch(text):
        number = float(text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf"))
        return number if str(number) == text else WrittenFloat(number, text)
    return text


class _Reader:
    def __init__(self, text: str, file: str | None) -> None:
        self.text = text
        self.file = file
        self.problems: list[Problem] = []
        self.anchors: dict[str, tuple[object, Mark, int] | None] = {}
        self.unused: dict[str, Mark] = {}
        self.size = 0
        self.aliased = 0

    def read(self) -> Tree:
        data: object = None
        mark = Mark(1, 1)
        if bad := _CONTROL.search(self.text):
            line, column = _place(self.text, bad.start())
            code = f"U+{ord(bad[0]):04X}"
            self._add(
                "control-character",
                line,
                column,
                f"the control character {code} can't stand in a text file",
                cure="remove it, or check that this is a YAML file",
            )
            return Tree(None, mark, tuple(self.problems))
        try:
            events = yaml.parse(self.text, Loader=_LOADER)
            data, mark = self._documents(events)
        except yaml.MarkedYAMLError as error:
            problem = syntax_problem(error, self.text, self.file)
            if all(known.line != problem.line for known in self.problems):
                self.problems.append(problem)
            data = None
        except yaml.YAMLError as error:
            self._add("yaml-syntax", 1, 1, f"this is not YAML: {error}", cure="check the file")
        except _Stop:
            data = None
        for name, at in self.unused.items():
            self._add(
                "unquoted-symbol",
                at.line,
                at.column,
                f"YAML takes '&{name}' for an anchor and drops it, but nothing refers to it",
                cure="quote the text",
            )
        self.problems.sort(key=lambda p: (p.line or 0, p.column or 0))
        return Tree(data, mark, tuple(self.problems))

    def _documents(self, events: Iterator[yaml.Event]) -> tuple[object, Mark]:
        data: object = None
        mark = Mark(1, 1)
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    at = _mark(event)
                    self._add(
                        "several-documents",
                        at.line,
                        at.column,
                        "a second document begins here",
                        value="---",
                        cure="keep one document per file",
                    )
                    raise _Stop
                data, mark, _ = self._node(next(events), events, 1)
        return data, mark

    def _node(
        self, event: yaml.Event, events: Iterator[yaml.Event], depth: int
    ) -> tuple[object, Mark, int]:
        """One value, its place, and how many values it holds when aliases are written out."""
        mark = _mark(event)
        if depth > MAX_DEPTH:
            self._add(
                "too-deep",
                mark.line,
                mark.column,
                f"more than {MAX_DEPTH} levels of nesting",
                cure="close the brackets before this place",
            )
            raise _Stop
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, mark)
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        anchor = event.anchor
        if anchor is not None:
            self.anchors[anchor] = None
        tag = event.tag
        if tag is not None and tag not in ("!", _STRING_TAG):
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            self._add(
                "custom-tag",
                mark.line,
                mark.column,
                "YAML tags are not read here",
                value=shown,
                cure="remove the tag, or quote the text",
            )
        value: object
        if isinstance(event, yaml.ScalarEvent):
            value, size = event.value, 1
            assert event.end_mark is not None
            mark.end = event.end_mark.index
            if not event.style:
                if tag is None:
                    value = scalar(event.value)
                mark.hash = self._hash_after(event)
            if anchor is not None:
                self.unused[anchor] = mark
        elif isinstance(event, yaml.SequenceStartEvent):
            value, size = self._sequence(events, mark, depth)
        else:
            value, size = self._mapping(events, mark, depth)
        if anchor is not None:
            self.anchors[anchor] = (value, mark, size)
        return value, mark, size

    def _alias(self, event: yaml.AliasEvent, mark: Mark) -> tuple[object, Mark, int]:
        name = event.anchor or ""
        self.unused.pop(name, None)
        known = self.anchors.get(name)
        if known is None:
            what = (
                f"'*{name}' refers to what it stands in"
                if name in self.anchors
                else f"YAML takes '*{name}' for an alias, and nothing is anchored as '&{name}'"
            )
            self._add("unquoted-symbol", mark.line, mark.column, what, cure="quote the text")
            return None, mark, 1
        value, _, size = known
        self.aliased += size
        if self.aliased > MAX_ALIASED:
            self._add(
                "alias-bomb",
                mark.line,
                mark.column,
                f"aliases repeat more than {MAX_ALIASED:,} values",
                value=f"*{name}",
                cure="write the values out, or put them into defaults",
            )
            raise _Stop
        return value, Mark(mark.line, mark.column, children=known[1].children), size

    def _sequence(
        self, events: Iterator[yaml.Event], mark: Mark, depth: int
    ) -> tuple[list[object], int]:
        items: list[object] = []
        places: dict[str | int, Mark] = {}
        mark.children = places
        size = 1
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            value, at, inner = self._node(event, events, depth + 1)
            places[len(items)] = at
            items.append(value)
            size += inner
        return items, size

    def _mapping(
        self, events: Iterator[yaml.Event], mark: Mark, depth: int
    ) -> tuple[dict[str, object], int]:
        entries: dict[str, object] = {}
        places: dict[str | int, Mark] = {}
        mark.children = places
        size = 1
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key, key_at, key_size = self._node(event, events, depth + 1)
            value_event = next(events)
            value, at, inner = self._node(value_event, events, depth + 1)
            size += key_size + inner
            if not isinstance(event, yaml.ScalarEvent) or key is None:
                self._add(
                    "key-not-text",
                    key_at.line,
                    key_at.column,
                    "a key must be text",
                    value=key,
                    cure="quote the text",
                )
                continue
            name: str = event.value
            if self._has_no_colon(event, value_event):
                self._lonely_text(name, key_at)
                continue
            if name in entries:
                first = places[name].key or (0, 0)
                self._add(
                    "duplicate-key",
                    key_at.line,
                    key_at.column,
                    f"the key '{name}' stands twice",
                    cure=f"remove one; the first is on line {first[0]}",
                )
                continue
            at.key = (key_at.line, key_at.column)
            entries[name] = value
            places[name] = at
        return entries, size

    def _has_no_colon(self, key: yaml.ScalarEvent, value: yaml.Event) -> bool:
        if not isinstance(value, yaml.ScalarEvent) or value.value or value.style:
            return False
        assert key.end_mark is not None
        rest = self.text[key.end_mark.index : key.end_mark.index + 200].lstrip()
        return rest[:1] in (",", "}")

    def _lonely_text(self, name: str, at: Mark) -> None:
        if ":" in name:
            word, _, rest = name.partition(":")
            self._add(
                "missing-space",
                at.line,
                at.column,
                "a space is missing after the colon",
                value=name,
                cure=f"write '{word}: {rest}', or quote the text",
            )
            return
        self._add(
            "unquoted-comma",
            at.line,
            at.column,
            "inside {…} a comma ends the text before it, so this stands alone",
            value=name,
            cure="quote the text",
        )

    def _hash_after(self, event: yaml.ScalarEvent) -> int | None:
        """The column of a `#` after exactly one space; two spaces make it a comment."""
        end = event.end_mark
        if end is not None and self.text.startswith(" #", end.index):
            return end.column + 2
        return None

    def _add(
        self, code: str, line: int, column: int, what: str, *, value: object = None, cure: str
    ) -> None:
        self.problems.append(
            Problem(code, what, value=value, cure=cure, file=self.file, line=line, column=column)
        )
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Stop


def _place(text: str, index: int) -> tuple[int, int]:
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


def _mark(event: yaml.Event) -> Mark:
    assert event.start_mark is not None
    start = event.start_mark
    return Mark(start.line + 1, start.column + 1, start.index)
