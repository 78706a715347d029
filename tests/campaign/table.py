"""The campaign's table: every kill in an SQLite file, from which a campaign goes on."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import astuple, fields
from pathlib import Path

from rich.table import Table as Grid

from .aims import Aim
from .play import Row

_COLUMNS = (*(f.name for f in fields(Aim)), "doing", "committed", "lost", "again", "seconds")
_COLUMNS = (*_COLUMNS, "wrong", "version")


class Table:
    """Rows of one seed; each is durable once it is added."""

    def __init__(self, path: Path, seed: int) -> None:
        self._seed = seed
        self._file = sqlite3.connect(path)
        columns = ", ".join(_COLUMNS)
        self._file.execute(f"create table if not exists kills (seed, {columns})")

    def rows(self) -> tuple[Row, ...]:
        """All rows in the order of their rounds."""
        query = f"select {', '.join(_COLUMNS)} from kills where seed = ? order by number, rowid"
        return tuple(_row(values) for values in self._file.execute(query, (self._seed,)))

    def add(self, rows: Iterable[Row], version: str) -> None:
        """Add a round, rendered by this version of storyflow: all of it or nothing."""
        with self._file:
            for row in rows:
                values = [self._seed, *astuple(row.aim), row.doing, row.committed]
                values += [json.dumps(row.lost), json.dumps(row.again), row.seconds]
                values += [json.dumps(row.wrong), version]
                marks = ", ".join("?" * len(values))
                self._file.execute(f"insert into kills values ({marks})", values)

    def close(self) -> None:
        self._file.close()


def _row(values: tuple[object, ...]) -> Row:
    count = len(fields(Aim))
    doing, committed, lost, again, seconds, wrong, _ = values[count:]
    texts = (tuple(json.loads(str(text))) for text in (lost, again, wrong))
    lost_names, again_names, wrongs = texts
    return Row(
        Aim(*values[:count]),  # type: ignore[arg-type]
        str(doing),
        int(str(committed)),
        lost_names,
        again_names,
        float(str(seconds)),
        wrongs,
    )


def line(row: Row) -> str:
    """A round in one line."""
    aim = row.aim
    what = f"{aim.number:4} {aim.pipeline} {aim.place}, {aim.victim}, {aim.moment} {aim.nth}"
    if row.wrong:
        return f"[red]{what}: {'; '.join(row.wrong)}[/]"
    if not row.doing:
        return f"[dim]{what}: the moment never came[/]"
    lost = f"lost {', '.join(row.lost)}" if row.lost else "nothing lost"
    return f"{what}: {row.committed} committed, {lost}, whole after {row.seconds:.1f} s"


def listing(rows: Iterable[Row]) -> Grid:
    """Every kill."""
    grid = Grid(title="kills")
    for name in ("no", "film", "where", "victim", "moment", "doing", "stored", "lost", "again"):
        grid.add_column(name)
    grid.add_column("s", justify="right")
    grid.add_column("outcome")
    for row in rows:
        aim = row.aim
        grid.add_row(
            str(aim.number),
            aim.pipeline,
            aim.place,
            aim.victim,
            f"{aim.moment} {aim.nth}",
            row.doing,
            str(row.committed),
            " ".join(row.lost),
            " ".join(row.again),
            f"{row.seconds:.1f}",
            "[red]" + "; ".join(row.wrong) if row.wrong else "[green]equal" if row.doing else "-",
        )
    return grid


def summary(rows: Iterable[Row]) -> Grid:
    """Kills by place, victim and phase."""
    groups: defaultdict[tuple[str, str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.is_kill:
            aim = row.aim
            groups[aim.pipeline, aim.place, aim.victim, aim.moment].append(row)
    grid = Grid(title="kills by target and moment")
    for name in ("film", "where", "victim", "moment"):
        grid.add_column(name)
    for name in ("kills", "lost", "most lost", "again", "s", "not equal"):
        grid.add_column(name, justify="right")
    for group, members in sorted(groups.items()):
        grid.add_row(*group, *_counts(members))
    every = [row for members in groups.values() for row in members]
    grid.add_section()
    grid.add_row("all", "", "", "", *_counts(every))
    return grid


def _counts(rows: list[Row]) -> tuple[str, ...]:
    typical = sorted(row.seconds for row in rows)[len(rows) // 2] if rows else 0.0
    return (
        str(len(rows)),
        str(sum(len(row.lost) for row in rows)),
        str(max((len(row.lost) for row in rows), default=0)),
        str(sum(len(row.again) for row in rows)),
        f"{typical:.1f}",
        str(sum(bool(row.wrong) for row in rows)),
    )
