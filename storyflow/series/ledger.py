"""The ledger: what a series was rendered with, run by run, episode by episode, segment by segment.

One SQLite file beside the store, in WAL mode, so that it is read while it is written. Each fact is
written when it happens: a process that is killed leaves a ledger that is right up to then. A file
on a network drive can't be in WAL mode safely; name a local one with `ledger:` in the rules.

    runs       one call that rendered: its night, how it ended, GPU-seconds held in all
    episodes   one episode in one run: segments, GPU-seconds, money, how it ended
    segments   one segment that a run rendered, found in the store, or failed to render
"""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from storyflow.errors import LedgerError

VERSION = 1
"""Of the tables; a later one's ledger is left alone."""
WAIT_SECONDS = 30.0
"""How long a writer waits for another one."""

Outcome = Literal[
    "waiting", "running", "complete", "partial", "broken", "budget", "window", "stopped", "failed",
    "lost",
]  # fmt: skip
"""How a run or an episode ended, or that it goes on. `partial`: some shots failed. `broken`: it
can't be rendered as it is written. `lost`: the process died. `failed`: store, farm or disk broke
down."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    run INTEGER PRIMARY KEY, series TEXT NOT NULL, night TEXT NOT NULL, began TEXT NOT NULL,
    ended TEXT, outcome TEXT NOT NULL, host TEXT NOT NULL, process INTEGER NOT NULL,
    gpu_seconds REAL NOT NULL DEFAULT 0, money REAL, currency TEXT NOT NULL, error TEXT NOT NULL
    DEFAULT '');
CREATE INDEX IF NOT EXISTS runs_by_night ON runs (series, night);
CREATE TABLE IF NOT EXISTS episodes (
    run INTEGER NOT NULL REFERENCES runs, episode TEXT NOT NULL, title TEXT NOT NULL,
    began TEXT NOT NULL, ended TEXT, outcome TEXT NOT NULL, planned INTEGER NOT NULL,
    rendered INTEGER NOT NULL DEFAULT 0, reused INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0, frames INTEGER NOT NULL, film_seconds REAL NOT NULL,
    estimate_seconds REAL, gpu_seconds REAL NOT NULL DEFAULT 0, useful_seconds REAL NOT NULL
    DEFAULT 0, prompt_seconds REAL NOT NULL DEFAULT 0, money REAL, folder TEXT NOT NULL,
    mark TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT '', PRIMARY KEY (run, episode));
CREATE TABLE IF NOT EXISTS segments (
    run INTEGER NOT NULL REFERENCES runs, episode TEXT NOT NULL, segment TEXT NOT NULL,
    shot TEXT NOT NULL, key TEXT NOT NULL, outcome TEXT NOT NULL, at TEXT NOT NULL,
    seconds REAL NOT NULL, gpus REAL NOT NULL DEFAULT 1, money REAL, worker TEXT NOT NULL,
    error TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS segments_by_key ON segments (key, outcome);
CREATE INDEX IF NOT EXISTS segments_by_run ON segments (run, episode);
"""


@dataclass(frozen=True)
class RunRow:
    """One call that rendered. Times are ISO 8601 in UTC, `gpu_seconds` all that it held."""

    run: int
    series: str
    night: str
    began: str
    ended: str | None
    outcome: Outcome
    host: str
    process: int
    gpu_seconds: float
    money: float | None
    currency: str
    error: str


@dataclass(frozen=True)
class EpisodeRow:
    """One episode in one run. `planned` segments were to be rendered, in `estimate_seconds`.

    `useful_seconds` of the `gpu_seconds` ended in a stored segment. `mark` is what the finished
    film was made of.
    """

    run: int
    episode: str
    title: str
    began: str
    ended: str | None
    outcome: Outcome
    planned: int
    rendered: int
    reused: int
    failed: int
    frames: int
    film_seconds: float
    estimate_seconds: float | None
    gpu_seconds: float
    useful_seconds: float
    prompt_seconds: float
    money: float | None
    folder: str
    mark: str
    error: str


@dataclass(frozen=True)
class Ending:
    """How an episode ended, and what its film was made of."""

    outcome: Outcome
    mark: str


@dataclass(frozen=True)
class SegmentRow:
    """One segment. `outcome`: rendered, found (stored by a run that could not note it) or failed.

    `seconds` are its worker's, which held `gpus`.
    """

    run: int
    episode: str
    segment: str
    shot: str
    key: str
    outcome: Literal["rendered", "found", "failed"]
    at: str
    seconds: float
    gpus: float
    money: float | None
    worker: str
    error: str


Row = RunRow | EpisodeRow | SegmentRow
R = TypeVar("R", RunRow, EpisodeRow, SegmentRow)


@dataclass(frozen=True)
class Work:
    """Segments that were rendered and that failed, and the seconds that their workers took."""

    rendered: int
    failed: int
    seconds: float


class Ledger:
    """An open ledger; may be used from any thread. Made by `writing` and `reading`."""

    def __init__(self, file: Path, base: sqlite3.Connection) -> None:
        self.file = file
        self._base = base
        self._lock = threading.RLock()

    @classmethod
    @contextmanager
    def writing(cls, file: Path) -> Iterator[Ledger]:
        """The ledger in this file, made where there is none. Raises LedgerError."""
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            base = sqlite3.connect(file, timeout=WAIT_SECONDS, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise _unusable(file, error) from None
        try:
            try:
                _refuse_newer(base, file)
                base.execute("PRAGMA journal_mode = WAL")
                base.execute("PRAGMA synchronous = NORMAL")
                base.executescript(_SCHEMA)
                base.execute(f"PRAGMA user_version = {VERSION}")
                base.commit()
            except sqlite3.Error as error:
                raise _unusable(file, error) from None
            yield cls(file, base)
        finally:
            base.close()

    @classmethod
    @contextmanager
    def reading(cls, file: Path) -> Iterator[Ledger]:
        """The ledger in this file; an empty one where there is none, and nothing is made."""
        there = file.is_file()
        name = f"{file.absolute().as_uri()}?mode=ro" if there else ":memory:"
        try:
            base = sqlite3.connect(name, timeout=WAIT_SECONDS, uri=there, check_same_thread=False)
        except sqlite3.Error as error:
            raise _unusable(file, error) from None
        try:
            if there:
                try:
                    _refuse_newer(base, file)
                except sqlite3.Error as error:
                    raise _unusable(file, error) from None
            else:
                base.executescript(_SCHEMA)
            yield cls(file, base)
        finally:
            base.close()

    def begin_run(self, series: str, night: str, currency: str) -> int:
        """A run begins; its number. Runs that never said how they ended were lost."""
        # Only the holder of the series' lock comes here, so whoever else ran is gone.
        # What their episodes used is known from the segments alone.
        own = "FROM segments s WHERE s.run = episodes.run AND s.episode = episodes.episode"
        lost = (
            "UPDATE episodes SET outcome = 'lost', "
            f"rendered = (SELECT COUNT(*) {own} AND s.outcome = 'rendered'), "
            f"failed = (SELECT COUNT(*) {own} AND s.outcome = 'failed'), "
            f"gpu_seconds = (SELECT TOTAL(s.seconds * s.gpus) {own}), "
            f"useful_seconds = (SELECT TOTAL(s.seconds * s.gpus) {own}), "
            f"money = (SELECT SUM(s.money) {own})",
            "UPDATE runs SET outcome = 'lost'",
        )
        for statement in lost:
            self._do(
                f"{statement} WHERE outcome IN ('running', 'waiting') AND run IN "
                "(SELECT run FROM runs WHERE series = ?)",
                (series,),
            )
        values = (series, night, now(), "running", socket.gethostname(), os.getpid(), currency)
        names = "series, night, began, outcome, host, process, currency"
        return self._do(f"INSERT INTO runs ({names}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def spent(self, run: int, gpu_seconds: float, money: float | None) -> None:
        """What a run has held until now."""
        self._do(
            "UPDATE runs SET gpu_seconds = ?, money = ? WHERE run = ?", (gpu_seconds, money, run)
        )

    def end_run(self, run: int, outcome: Outcome, error: str = "") -> None:
        """How a run ended."""
        self._do(
            "UPDATE runs SET ended = ?, outcome = ?, error = ? WHERE run = ?",
            (now(), outcome, error, run),
        )

    def write_episode(self, row: EpisodeRow) -> None:
        """How an episode stands; writes over what was known of it in this run.

        It keeps its place among the run's episodes.
        """
        names = columns(EpisodeRow)
        news = ", ".join(f"{name} = excluded.{name}" for name in names)
        self._do(
            f"INSERT INTO episodes ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
            f"ON CONFLICT (run, episode) DO UPDATE SET {news}",
            astuple(row),
        )

    def write_segment(self, row: SegmentRow) -> None:
        """What became of a segment. One that was found is noted only where nobody noted it."""
        values = astuple(row)
        marks = ", ".join("?" * len(values))
        if row.outcome != "found":
            self._do(f"INSERT INTO segments VALUES ({marks})", values)
            return
        self._do(
            f"INSERT INTO segments SELECT {marks} WHERE NOT EXISTS "
            "(SELECT 1 FROM segments WHERE key = ? AND outcome != 'failed')",
            (*values, row.key),
        )

    def night_seconds(self, series: str, night: str) -> float:
        """GPU-seconds that all runs of a night held."""
        return self._number("SELECT SUM(gpu_seconds) FROM runs WHERE series = ? AND night = ?",
                            (series, night))  # fmt: skip

    def episode_seconds(self, series: str, night: str, episode: str) -> float:
        """GPU-seconds that an episode used in a night, its prompts included."""
        return self._number(
            "SELECT SUM(e.gpu_seconds + e.prompt_seconds) FROM episodes e JOIN runs r USING (run) "
            "WHERE r.series = ? AND r.night = ? AND e.episode = ?",
            (series, night, episode),
        )

    def rendered(self, run: int, episode: str) -> Work:
        """What a run has rendered of an episode until now."""
        ((rendered, failed, seconds),) = self._rows(
            "SELECT SUM(outcome = 'rendered'), SUM(outcome = 'failed'), SUM(seconds) "
            "FROM segments WHERE run = ? AND episode = ?",
            (run, episode),
        )
        return Work(rendered or 0, failed or 0, seconds or 0.0)

    def tried(self, series: str, night: str) -> frozenset[str]:
        """The episodes that runs of this night have taken up, broken ones left out."""
        rows = self._rows(
            "SELECT DISTINCT e.episode FROM episodes e JOIN runs r USING (run) WHERE r.series = ? "
            "AND r.night = ? AND e.outcome != 'broken'",
            (series, night),
        )
        return frozenset(episode for (episode,) in rows)

    def noted(self, series: str, night: str, episode: str, error: str) -> bool:
        """Whether a run of this night found this episode broken, for this reason."""
        return bool(
            self._number(
                "SELECT COUNT(*) FROM episodes e JOIN runs r USING (run) WHERE r.series = ? AND "
                "r.night = ? AND e.episode = ? AND e.outcome = 'broken' AND e.error = ?",
                (series, night, episode, error),
            )
        )

    def endings(self, series: str) -> dict[str, Ending]:
        """How each episode's last run ended."""
        rows = self._rows(
            "SELECT e.episode, e.outcome, e.mark FROM episodes e JOIN runs r USING (run) "
            "WHERE r.series = ? AND e.outcome NOT IN ('waiting', 'running', 'lost') "
            "ORDER BY e.run",
            (series,),
        )
        return {episode: Ending(outcome, mark) for episode, outcome, mark in rows}

    def runs(self, series: str, night: str | None = None) -> tuple[RunRow, ...]:
        """The runs of a series, or of one night, the oldest first."""
        return self._table(RunRow, "runs t", "t.run", series, night)

    def latest(self, series: str) -> dict[str, EpisodeRow]:
        """What is known last of each episode, by name."""
        names = ", ".join(f"e.{name}" for name in columns(EpisodeRow))
        found = self._rows(
            f"SELECT {names}, MAX(e.run) FROM episodes e JOIN runs r USING (run) "
            "WHERE r.series = ? GROUP BY e.episode",
            (series,),
        )
        rows = (EpisodeRow(*values) for *values, _ in found)
        return {row.episode: row for row in rows}

    def episodes(self, series: str, night: str | None = None) -> tuple[EpisodeRow, ...]:
        """What became of episodes: run by run, in the order in which a run takes them up."""
        tables = "episodes t JOIN runs USING (run)"
        return self._table(EpisodeRow, tables, "t.run, t.rowid", series, night)

    def segments(self, series: str, night: str | None = None) -> tuple[SegmentRow, ...]:
        """What became of segments, in the order in which it was known."""
        return self._table(SegmentRow, "segments t JOIN runs USING (run)", "t.rowid", series, night)

    def _table(
        self, kind: type[R], tables: str, order: str, series: str, night: str | None
    ) -> tuple[R, ...]:
        names = ", ".join(f"t.{name}" for name in columns(kind))
        where, values = ("", (series,)) if night is None else (" AND night = ?", (series, night))
        found = self._rows(
            f"SELECT {names} FROM {tables} WHERE series = ?{where} ORDER BY {order}", values
        )
        return tuple(kind(*row) for row in found)

    def _do(self, statement: str, values: tuple[object, ...]) -> int:
        with self._lock:
            try:
                with self._base:
                    return self._base.execute(statement, values).lastrowid or 0
            except sqlite3.Error as error:
                raise _unusable(self.file, error) from None

    def _rows(self, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._base.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise _unusable(self.file, error) from None

    def _number(self, statement: str, values: tuple[object, ...]) -> float:
        ((value,),) = self._rows(statement, values)
        return float(value or 0)


def now() -> str:
    """The time, in UTC, as the ledger has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def columns(kind: type[Row]) -> list[str]:
    """The columns of a table, in the order of its rows' fields."""
    return [column.name for column in fields(kind)]


def _refuse_newer(base: sqlite3.Connection, file: Path) -> None:
    ((version,),) = base.execute("PRAGMA user_version").fetchall()
    if version > VERSION:
        raise LedgerError(
            f"the ledger {file} was made by a later storyflow", cure="update storyflow"
        )


def _unusable(file: Path, error: Exception) -> LedgerError:
    return LedgerError(
        f"can't use the ledger {file} ({error})",
        cure="check the disk and its permissions, or name another with 'ledger:' in the rules",
    )
