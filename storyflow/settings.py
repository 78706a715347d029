"""Finding and reading settings files: pipeline profiles and cluster files alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from storyflow.documents import (
    Document,
    Strict,
    did_you_mean,
    document_from_text,
    read_document,
    validate,
)
from storyflow.errors import Problem, ProfileError
from storyflow.resources import shipped

Settings = TypeVar("Settings", bound=Strict)


def names(folder: str) -> list[str]:
    """Names of the shipped files in `pipelines` or `cluster`."""
    return sorted(path.stem for path in shipped(folder).glob("*.yaml"))


def find_named(name: str | Path, folder: str, what: str) -> Path:
    """The file that `name` means: a path if it looks like one, else a shipped name.

    Raises ProfileError with the nearest shipped name.
    """
    text = str(name)
    if isinstance(name, Path) or text.endswith((".yaml", ".yml")) or "/" in text:
        if Path(text).is_file():
            return Path(text)
        raise ProfileError(
            [Problem("missing-file", f"no such {what}", value=text, cure="check the path")]
        )
    known = names(folder)
    if text in known:
        return shipped(folder) / f"{text}.yaml"
    raise ProfileError(
        [
            Problem(
                "unknown-name",
                f"no {what} of this name",
                value=text,
                cure=did_you_mean(text, known),
            )
        ]
    )


def load_settings(model: type[Settings], path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Read, override, check. Raises ProfileError that lists every problem."""
    document = read_document(path, error=ProfileError)
    problems = [p for text in overrides if (p := _override(document, text)) is not None]
    if problems:
        raise ProfileError(problems)
    try:
        return validate(model, document)
    except ProfileError as error:
        raise ProfileError([_blame(p, overrides) for p in error.problems]) from None


def locate(problems: Sequence[Problem], path: Path, overrides: Sequence[str] = ()) -> list[Problem]:
    """Problems of settings that were read from `path`, with the place where each one stands."""
    document = read_document(path, error=ProfileError)
    found = []
    for problem in problems:
        line, column = document.where(problem.path.split("."))
        at = replace(problem, file=document.file, line=line, column=column)
        found.append(_blame(at, overrides))
    return found


def _blame(problem: Problem, overrides: Sequence[str]) -> Problem:
    """A problem of an overridden value is the command line's, not the file's."""
    for text in overrides:
        target = f"{text.partition('=')[0].strip()}."
        if target.startswith(f"{problem.path}.") or f"{problem.path}.".startswith(target):
            return replace(problem, file=text.strip(), line=None, column=None)
    return problem


def _override(document: Document, text: str) -> Problem | None:
    """Apply one `section.field=value` to the document's data; its fault, if it has one."""
    target, equals, value = text.partition("=")
    keys = [part.strip() for part in target.split(".")]
    read = document_from_text(value)
    place: object = document.data
    for key in keys[:-1]:
        place = place.setdefault(key, {}) if isinstance(place, dict) else None
    if not equals or not all(keys) or read.problems or not isinstance(place, dict):
        return Problem(
            "bad-override",
            "not a setting",
            value=text,
            file="--set",
            cure="write section.field=value, such as forcing.steps=20",
        )
    place[keys[-1]] = read.data
    return None
