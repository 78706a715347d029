"""Series files, and the episodes that they name; every mistake at once, with its place.

    series = load_series("series.yaml")
    for episode in episodes_of(series):
        film = episode_film(series, episode)

A broken storyboard is its episode's matter: only what is wrong with the series file itself is
raised here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from storyflow.documents import (
    Document,
    did_you_mean,
    document_from_text,
    inspect_document,
    nearest,
    problems_of,
)
from storyflow.errors import InputError, Problem, StoryboardError
from storyflow.series.inherit import inherited
from storyflow.series.model import DEFAULT_PIPELINE, Episode, Inherited, Series
from storyflow.storyboard.load import Inherit, eaten_by_comments, load
from storyflow.storyboard.model import Film, Origin
from storyflow.storyboard.schema import without_null
from storyflow.yamltree import Mark

_PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Listed:
    """One episode: its name, its storyboard, and what the series says of it.

    `number` counts from 0, in the order of the series.
    """

    name: str
    file: Path
    number: int
    wishes: Episode

    @property
    def priority(self) -> float:
        """Part of the workers."""
        return self.wishes.priority


def load_series(path: Path | str) -> Series:
    """Read a series file. Raises StoryboardError with everything found in it."""
    document = inspect_document(path)
    return _read(document, Path(path).parent)


def parse_series(data: object, *, root: Path | str | None = None) -> Series:
    """A series from plain data or from YAML text, checked exactly like a file.

    `root` is the folder that its paths start from; without it, the current one. Raises
    StoryboardError.
    """
    document = document_from_text(data) if isinstance(data, str) else Document(data)
    return _read(document, Path.cwd() if root is None else Path(root))


def folder_of(series: Series) -> Path:
    """The folder that the paths of a series start from, absolute."""
    return (series.origin.root or Path.cwd()).absolute()


def from_folder(series: Series, text: str) -> str:
    """A file or folder that a series names, absolute; a URL as it is."""
    return text if "://" in text else str(folder_of(series) / Path(text).expanduser())


def shipped_or_file(series: Series, text: str) -> str:
    """A shipped name as it is, a file that a series names by its absolute path."""
    is_file = text.endswith((".yaml", ".yml")) or "/" in text
    return from_folder(series, text) if is_file else text


def episodes_of(series: Series) -> tuple[Listed, ...]:
    """Every episode, in order. Raises StoryboardError: two of one name, a pattern of nothing."""
    problems: list[Problem] = []
    found: list[tuple[Path, Episode]] = []
    root = folder_of(series)
    named = {root / wishes.file for wishes in series.episodes if not _PATTERN.search(wishes.file)}
    seen: set[Path] = set()
    for wishes in series.episodes:
        files = [root / wishes.file]
        if _PATTERN.search(wishes.file):
            files = [file for file in _matching(root, wishes.file, series) if file not in named]
            if not files and not any(path.match(wishes.file) for path in named):
                cure = "check the folder, or write the file's name"
                problems.append(_problem(wishes, "no-episodes", "no storyboard matches", cure))
        fresh = [file for file in files if file not in seen]
        if not fresh and len(files) == 1 and not _PATTERN.search(wishes.file):
            problems.append(
                _problem(wishes, "episode-twice", "this file stands twice", "remove it")
            )
        seen.update(fresh)
        found += [(file, wishes) for file in fresh]
    listed = tuple(
        Listed(wishes.name or file.stem, file, number, wishes)
        for number, (file, wishes) in enumerate(found)
    )
    names: dict[str, Listed] = {}
    for each in listed:
        other = names.setdefault(each.name.lower(), each)
        if other is not each:
            what = f"two episodes have the name '{each.name}': {other.file} and {each.file}"
            problems.append(_problem(each.wishes, "same-name", what, "give one a 'name:'"))
    if problems:
        raise StoryboardError(problems)
    return listed


def episode_named(series: Series, name: str) -> Listed:
    """The episode of this name. Raises InputError, StoryboardError."""
    every = episodes_of(series)
    for each in every:
        if each.name.lower() == name.lower():
            return each
    known = [each.name for each in every]
    raise InputError(
        f"the series has no episode {name!r}", cure=did_you_mean(name, known, otherwise="it has")
    )


def episode_at(series: Series, file: Path | str) -> Listed:
    """The episode of this storyboard. Raises InputError, StoryboardError."""
    path = Path(file).absolute()
    for each in episodes_of(series):
        if each.file == path or each.file.resolve() == path.resolve():
            return each
    name = series.origin.file or series.series
    raise InputError(f"{file} is no episode of {name}", cure="add it to 'episodes:'")


def episode_film(series: Series, episode: Listed, *, allow_outside: bool = False) -> Film:
    """The film of an episode, with what it inherits.

    Raises StoryboardError, also for a storyboard outside of the series' folder, of which not a
    byte is read then, unless `allow_outside`.
    """
    inside = episode.file.resolve().is_relative_to(folder_of(series).resolve())
    if not inside and not allow_outside:
        what, cure = (
            "this leads out of the series' folder",
            "keep it inside, or add --allow-outside",
        )
        raise StoryboardError([_problem(episode.wishes, "outside-reference", what, cure)])
    return load(episode.file, allow_outside=allow_outside, inherit=heir(series, episode))


def heir(series: Series, episode: Listed) -> Inherit:
    """Gives a storyboard's film what its episode inherits."""
    levels = (series.bible, episode.wishes)
    return lambda film: inherited(film, levels)


def pipeline_of(series: Series, episode: Listed) -> tuple[str, tuple[str, ...]]:
    """The pipeline profile of an episode, and the settings that override it."""
    bible, wishes = series.bible, episode.wishes
    name = wishes.pipeline or bible.pipeline or DEFAULT_PIPELINE
    return shipped_or_file(series, name), (*bible.settings, *wishes.settings)


def series_schema() -> dict[str, Any]:
    """The JSON Schema of a series file, draft 2020-12."""
    schema: dict[str, Any] = without_null(Series.model_json_schema(by_alias=True))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "storyflow series",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _matching(root: Path, pattern: str, series: Series) -> Iterator[Path]:
    own = series.origin.file
    for file in sorted(root.glob(pattern), key=_natural):
        beside = file.name.endswith((".lock.yaml", ".cut.yaml"))
        if file.is_file() and not beside and (own is None or file != Path(own).absolute()):
            yield file


def _natural(file: Path) -> list[tuple[int, int, str]]:
    """`e2` before `e10`."""
    parts = re.split(r"(\d+)", str(file))
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


def _read(document: Document, root: Path) -> Series:
    problems = list(document.problems)
    if document.mark is not None:
        problems += eaten_by_comments(document.data, document.mark, document.file)
    if document.data is None:
        if not problems:
            line, column = document.where(())
            cure = "begin with 'series: TITLE' and 'episodes:'"
            problems = [
                Problem(
                    "empty-series",
                    "there is no series in it",
                    cure=cure,
                    file=document.file,
                    line=line,
                    column=column,
                )
            ]
        raise StoryboardError(problems)
    try:
        series = Series.model_validate(document.data)
    except ValidationError as error:
        told = {(p.line, p.column) for p in problems if p.line is not None}
        found = problems_of(error, document, Series)
        problems += [p for p in found if (p.line, p.column) not in told]
        raise StoryboardError(
            sorted(problems, key=lambda p: (p.line or 0, p.column or 0))
        ) from None
    _remember(series, document, root)
    problems += _mistakes(series)
    if problems:
        raise StoryboardError(_in_order(problems))
    return series


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda p: (p.line or 0, p.column or 0))


def _remember(series: Series, document: Document, root: Path) -> None:
    """Tell every part where it was read."""
    top = Origin(document.file, document.mark, root.absolute())
    series.came_from(top)

    def place(part: Inherited, *path: str | int) -> None:
        part.came_from(_inside(top, *path))
        for name, member in part.cast.items():
            member.came_from(_inside(top, *path, "cast", name))
        if part.defaults is not None:
            part.defaults.came_from(_inside(top, *path, "defaults"))

    # A series without a bible shares the class's: it says nothing, and keeps no place.
    if "bible" in series.model_fields_set:
        place(series.bible, "bible")
    for number, wishes in enumerate(series.episodes):
        place(wishes, "episodes", number)


def _inside(origin: Origin, *path: str | int) -> Origin:
    mark: Mark | None = origin.mark
    for part in path:
        if mark is None:
            break
        mark = mark.children.get(part, mark)
    return replace(origin, mark=mark)


def _mistakes(series: Series) -> Iterator[Problem]:
    """What is wrong only beside other values."""
    if not series.episodes:
        yield _problem(series, "no-episodes", "the series has no episodes", "add one", "episodes")
    yield from _unknown_names(series.bible, (series.bible,))
    for wishes in series.episodes:
        yield from _unknown_names(wishes, (series.bible, wishes))
        if wishes.name is not None and _PATTERN.search(wishes.file):
            cure = "leave the name out, or name one file"
            yield _problem(wishes, "name-of-many", "a pattern has no one name", cure, "name")
    window = series.rules.window
    if window is not None and window.from_ == window.to:
        cure = "leave the window out to render at any time"
        at = _inside(series.origin, "rules", "window")
        yield _at(at, "rules.window", "empty-window", "the window has no hours", cure)
    webhook = series.rules.webhook
    if webhook is not None and (webhook.url is None) == (webhook.url_env is None):
        twice = webhook.url is not None
        what = "the webhook has two addresses" if twice else "the webhook has no address"
        cure = "remove one of 'url' and 'url_env'" if twice else "add its 'url:'"
        at = _inside(series.origin, "rules", "webhook")
        yield _at(at, "rules.webhook", "webhook-url", what, cure)


def _unknown_names(part: Inherited, levels: Sequence[Inherited]) -> Iterator[Problem]:
    """Names in defaults that neither cast nor places have: here, not once per episode."""
    defaults = part.defaults
    if defaults is None:
        return
    cast: Mapping[str, object] = {n: c for level in levels for n, c in level.cast.items()}
    places: Mapping[str, object] = {n: p for level in levels for n, p in level.places.items()}
    for name in defaults.who or ():
        if name not in cast:
            cure = did_you_mean(name, cast, otherwise="add it to cast:; it has")
            at = _inside(defaults.origin, "who")
            yield _at(at, "defaults.who", "unknown-character", f"'{name}' is not in the cast", cure)
    if defaults.place is not None and defaults.place not in places:
        near = nearest(defaults.place, places)
        cure = f"did you mean '{near}'?" if near else f"add '{defaults.place}' to places:"
        at, what = _inside(defaults.origin, "place"), f"there is no place '{defaults.place}'"
        yield _at(at, "defaults.place", "unknown-place", what, cure)


def _problem(part: Series | Episode, code: str, what: str, cure: str, key: str = "file") -> Problem:
    value = part.file if isinstance(part, Episode) and key == "file" else None
    return _at(_inside(part.origin, key), key, code, what, cure, value)


def _at(
    origin: Origin, path: str, code: str, what: str, cure: str, value: object = None
) -> Problem:
    where = origin.where()
    return Problem(
        code,
        what,
        path=path,
        value=value,
        cure=cure,
        file=where.file,
        line=where.line,
        column=where.column,
    )
