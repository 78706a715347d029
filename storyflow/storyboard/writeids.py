"""Writing ids into a storyboard file: a few words are put in, everything else stays as it is.

The places of the shots are known from reading, so nothing is parsed and printed again: comments,
quotes, line breaks and indentation are the author's. The result is read back and compared before
it replaces the file.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from storyflow.documents import Document, document_from_text, read_document
from storyflow.errors import InfrastructureError, Problem, StoryboardError
from storyflow.storyboard.ids import PinnedShot, assign_ids
from storyflow.storyboard.load import parse
from storyflow.storyboard.model import Film
from storyflow.yamltree import Mark, scalar


def write_ids(path: Path | str, film: Film, pinned: Sequence[PinnedShot] = ()) -> tuple[str, ...]:
    """Write the missing ids of `film`, which was loaded from `path`, and return them.

    Raises StoryboardError where an id can't be written (a shot that is a YAML alias) or the file
    has changed since, InfrastructureError where the file can't be replaced.
    """
    path = Path(path)
    document = read_document(path)
    ids = assign_ids(film, pinned)
    shots = [shot for _, _, shot in film.each_shot()]
    missing = [(name, shot) for name, shot in zip(ids, shots, strict=True) if shot.id is None]
    if not missing:
        return ()
    if parse(document.data, root=path.parent) != film:
        raise _refused(path, None, "the file has changed since it was loaded", "load it again")
    original = _read(path)
    text = original.removeprefix("\ufeff")
    newline = "\r\n" if "\r\n" in text else "\n"
    edits: list[tuple[int, str]] = []
    for name, shot in missing:
        mark = shot.origin.mark
        if mark is None:
            raise _refused(
                path, None, "the film was not loaded from this file", "load it from there"
            )
        edits += _edits(name, mark, text, newline, path)
    for at, words in sorted(edits, reverse=True):
        text = text[:at] + words + text[at:]
    _verify(document_from_text(text, str(path)), film, ids, path)
    _replace(path, ("\ufeff" if original.startswith("\ufeff") else "") + text)
    return tuple(name for name, _ in missing)


def _edits(name: str, mark: Mark, text: str, newline: str, path: Path) -> list[tuple[int, str]]:
    """What to put in, and where, so that the shot at `mark` gets the id."""
    key = f"id: {_quoted(name)}"
    first = text[mark.start : mark.start + 1]
    if first in "*&!":
        what = "a shot with a YAML anchor, alias or tag can't be given an id"
        raise _refused(path, mark, what, "write the shot out")
    indent = " " * (mark.column - 1)
    if mark.children:
        return (
            [(mark.start + 1, f"{key}, ")]
            if first == "{"
            else [(mark.start, f"{key}{newline}{indent}")]
        )
    if _in_flow(text, mark):
        return [(mark.start, f"{{{key}, do: "), (mark.end, "}")]
    edits = [(mark.start, f"{key}{newline}{indent}do: ")]
    end = len(text[: mark.end].rstrip())
    at = text.find("\n", mark.start, end)
    while at != -1:
        edits.append((at + 1, "  "))
        at = text.find("\n", at + 1, end)
    return edits


def _in_flow(text: str, mark: Mark) -> bool:
    """Whether a bare text is an entry of `[…]` and not of a block list."""
    line_start = text.rfind("\n", 0, mark.start) + 1
    return not text[line_start : mark.start].rstrip(" ").endswith("-")


def _quoted(name: str) -> str:
    value = scalar(name)
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return name if plain and not name.endswith(":") else f'"{name}"'


def _verify(document: Document, film: Film, ids: Sequence[str], path: Path) -> None:
    cure = "write the ids by hand"
    try:
        written = parse(document.data, root=path.parent)
    except StoryboardError as error:
        raise _refused(path, None, f"the ids can't be written ({error})", cure) from None
    pairs = zip(written.each_shot(), film.each_shot(), strict=True)
    same = all(new.model_copy(update={"id": old.id}) == old for (_, _, new), (_, _, old) in pairs)
    found = tuple(shot.id for _, _, shot in written.each_shot())
    if document.problems or not same or found != tuple(ids):
        raise _refused(path, None, "the ids can't be written without changing the film", cure)


def _refused(path: Path, mark: Mark | None, what: str, cure: str) -> StoryboardError:
    line, column = (mark.line, mark.column) if mark else (None, None)
    problem = Problem("ids-not-written", what, cure=cure, file=str(path), line=line, column=column)
    return StoryboardError([problem])


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise _failed(path, error) from None


def _replace(path: Path, text: str) -> None:
    """Write beside, then rename over: the file is the old one or the new one, never half."""
    target = path.resolve()
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, target.stat().st_mode & 0o777)
        os.replace(temporary, target)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise _failed(path, error) from None


def _failed(path: Path, error: OSError) -> InfrastructureError:
    return InfrastructureError(
        f"can't write {path} ({error.strerror})", cure="check the folder's permissions"
    )
