"""Thousands of clips or lines at once: answers into a CSV file as they come, and resumed from it.

A row is written when its answer is there. The same command goes on behind the last whole row, and
tries again what failed; one broken clip costs its own row.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from storyflow.errors import InfrastructureError, InputError
from storyflow.prompts.asking import Manner, Trouble
from storyflow.prompts.caption import ShotCaption, from_json, to_json
from storyflow.prompts.captioner import CLIPS, PICTURES, caption_clips, look_at
from storyflow.prompts.describe import describe
from storyflow.prompts.enhance import enhance
from storyflow.prompts.finish import finish
from storyflow.prompts.fuse import Form, fuse
from storyflow.prompts.merge import merge
from storyflow.prompts.model import Clip, LanguageModel
from storyflow.storyboard.load import parse
from storyflow.storyboard.resolve import resolve
from storyflow.storyboard.resolved import ResolvedFilm, ResolvedShot

T = TypeVar("T")

CAPTIONS = ("path", "structural_caption")
PROMPTS = ("prompt", "structural_caption", "enhanced_prompt")

CLIPS_AT_ONCE = 24
"""Clips held in memory, and asked in one batch; the next ones are read in the meantime."""

LINES_AT_ONCE = 256


@dataclass(frozen=True)
class Bulk:
    """What a bulk run did: `done` rows were written, `kept` ones were there, `failed` ones weren't,
    each with its cause."""

    out: Path
    done: int
    kept: int
    failed: tuple[tuple[str, str], ...]


Progress = Callable[[int, int], object]
"""Is told how many of how many rows are done."""


def clips_of(source: Path) -> list[tuple[str, Path]]:
    """The clips and pictures of a folder, by name, or those that the column `path` of a CSV lists.

    Each as it is called there, and where it is: paths in a CSV count from its folder. Raises
    InputError.
    """
    if source.is_dir():
        files = sorted(
            path for path in source.rglob("*") if path.suffix.lower() in CLIPS | PICTURES
        )
        if not files:
            raise InputError(f"{source} holds no clips", cure="name a folder that does")
        return [(path.relative_to(source).as_posix(), path) for path in files]
    import pandas as pd

    try:
        table = pd.read_csv(source, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{source} can't be read as CSV: {error}", cure="check the path") from None
    if "path" not in table.columns:
        have = ", ".join(map(str, table.columns))
        raise InputError(f"{source} has no column `path`, but {have}", cure="add one")
    names = list(dict.fromkeys(name for name in table["path"] if name))
    return [(name, source.parent / name) for name in names]


def caption_all(
    clips: Sequence[tuple[str, Path]],
    out: Path,
    model: LanguageModel,
    manner: Manner,
    progress: Progress = lambda done, total: None,
) -> Bulk:
    """Write what each clip shows into `out`, columns path and structural_caption.

    Raises InputError for an `out` with other columns, InfrastructureError, EngineDied.
    """
    rows = _Rows(out, CAPTIONS)
    open_ = [(name, path) for name, path in clips if name not in rows.known]
    kept = len(clips) - len(open_)
    failed: list[tuple[str, str]] = []
    progress(kept, len(clips))
    with ThreadPoolExecutor(1) as reader, rows:
        chunks = list(_chunks(open_, CLIPS_AT_ONCE))
        ahead = [reader.submit(_look, chunks[0])] if chunks else []
        for number, chunk in enumerate(chunks):
            seen = ahead.pop().result()
            if number + 1 < len(chunks):
                ahead.append(reader.submit(_look, chunks[number + 1]))
            there = [clip for clip in seen if isinstance(clip, Clip)]
            said = iter(caption_clips(there, model, manner))
            for (name, _), clip in zip(chunk, seen, strict=True):
                answer = next(said) if isinstance(clip, Clip) else Trouble(clip)
                if isinstance(answer, Trouble):
                    failed.append((name, answer.cause))
                else:
                    rows.write(name, to_json(answer))
            rows.flush()
            progress(kept + rows.written + len(failed), len(clips))
    return Bulk(out, rows.written, kept, tuple(failed))


def enhance_all(
    lines: Sequence[str],
    out: Path,
    model: LanguageModel,
    enhancer: Manner,
    fuser: Manner,
    words: int = 150,
    progress: Progress = lambda done, total: None,
) -> Bulk:
    """Write each line as a full prompt into `out`: prompt, structural_caption, enhanced_prompt.

    Every line is a shot of its own; what it states is in what is written, of at most so many
    `words` beyond that. Raises like `caption_all`.
    """
    rows = _Rows(out, PROMPTS)
    open_ = [line for line in dict.fromkeys(lines) if line not in rows.known]
    total = len(dict.fromkeys(lines))
    kept = total - len(open_)
    failed: list[tuple[str, str]] = []
    progress(kept, total)
    with rows:
        for chunk in _chunks(open_, LINES_AT_ONCE):
            shots: dict[str, ResolvedShot] = {}
            for line in chunk:
                try:
                    shots[line] = _shot(line, len(shots))
                except InputError as error:
                    failed.append((line, error.what.splitlines()[0]))
            for line, done in _enhanced(shots, model, enhancer, fuser, words).items():
                if isinstance(done, Trouble):
                    failed.append((line, done.cause))
                else:
                    rows.write(line, *done)
            rows.flush()
            progress(kept + rows.written + len(failed), total)
    return Bulk(out, rows.written, kept, tuple(failed))


def _enhanced(
    shots: dict[str, ResolvedShot],
    model: LanguageModel,
    enhancer: Manner,
    fuser: Manner,
    words: int,
) -> dict[str, tuple[str, str] | Trouble]:
    film = replace(_film("prompts"), shots=tuple(shots.values()))
    made = enhance(film, model, enhancer, alone=True)
    causes = {problem.shot: problem.what for problem in made.problems}
    merged = {
        line: merge(describe(shot, shot.beats[0]), made.captions[shot.id, 0], None, "text")
        for line, shot in shots.items()
        if (shot.id, 0) in made.captions
    }
    captions: dict[str, ShotCaption] = {line: each.caption() for line, each in merged.items()}
    forms: dict[str, Form] = dict.fromkeys(captions, "text")
    texts, _ = fuse(captions, forms, model, {"text": fuser, "image": fuser})
    found: dict[str, tuple[str, str] | Trouble] = {}
    for line, shot in shots.items():
        if line not in merged:
            found[line] = Trouble(causes[shot.id])
        else:
            done = finish(merged[line], texts.get(line), "text", words, None)
            found[line] = (to_json(captions[line]), done.text)
    return found


def _film(line: str) -> ResolvedFilm:
    return resolve(parse({"film": "prompts", "shots": [{"do": line}]}))


def _shot(line: str, number: int) -> ResolvedShot:
    return replace(_film(line).shots[0], id=f"{number + 1}")


def _look(chunk: Sequence[tuple[str, Path]]) -> list[Clip | str]:
    """Each clip, or why it can't be read."""
    found: list[Clip | str] = []
    for _, path in chunk:
        try:
            found.append(look_at(path))
        except InputError as error:
            found.append(error.what)
    return found


class _Rows:
    """A CSV file that grows by whole rows; `known` are the first cells of those that it has."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self._path = path
        self._columns = columns
        self.written = 0
        self.known = self._read()

    def _read(self) -> frozenset[str]:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise self._unwritable(error) from None
        # The last row may have been cut off when the run was.
        whole = data[: data.rfind(b"\n") + 1]
        try:
            rows = list(csv.reader(io.StringIO(whole.decode("utf-8"), newline="")))
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{self._path} is no CSV file: {error}", cure="name another") from None
        if whole and tuple(rows[0]) != self._columns:
            raise InputError(
                f"{self._path} has the columns {', '.join(rows[0])}, not "
                f"{', '.join(self._columns)}",
                cure="write to another file",
            )
        try:
            if len(whole) < len(data):
                os.truncate(self._path, len(whole))
        except OSError as error:
            raise self._unwritable(error) from None
        return frozenset(row[0] for row in rows[1:] if self._usable(row))

    def _usable(self, row: list[str]) -> bool:
        with suppress(InputError):
            return len(row) == len(self._columns) and from_json(row[1]) is not None
        return False

    def __enter__(self) -> _Rows:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8", newline="")
        except OSError as error:
            raise self._unwritable(error) from None
        self._out = csv.writer(self._file, lineterminator="\n")
        if self._file.tell() == 0:
            self._out.writerow(self._columns)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, *cells: str) -> None:
        self._out.writerow(cells)
        self.written += 1

    def flush(self) -> None:
        """Let nothing that was answered be lost."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> InfrastructureError:
        return InfrastructureError(
            f"{self._path} can't be written: {error.strerror}", cure="write to another folder"
        )


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
