"""The ledger keeps what happened, whoever reads it meanwhile and however a run ends."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pandas as pd
import pytest

from storyflow.errors import InfrastructureError, InputError
from storyflow.series.history import export, frame_of
from storyflow.series.ledger import Ending, EpisodeRow, Ledger, SegmentRow, now

EPISODE = EpisodeRow(
    1, "e1", "One", now(), None, "running", 3, 0, 0, 0, 96, 4.0, 30.0, 0.0, 0.0, 0.0, None,
    "renders/e1", "", "",
)  # fmt: skip
SEGMENT = SegmentRow(1, "e1", "1A/1", "1A", "a" * 64, "rendered", now(), 2.5, 1, 0.1, "w", "")


def test_a_ledger_that_is_not_there_is_empty_and_not_made(tmp_path):
    with Ledger.reading(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.runs("S") == ()
        assert ledger.night_seconds("S", "2026-01-10") == 0
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_is_read_while_it_is_written(tmp_path):
    with Ledger.writing(tmp_path / "l.sqlite") as ledger, Ledger.reading(ledger.file) as reader:
        assert ledger.tried("S", "n") == frozenset()
        run = ledger.begin_run("S", "n", "EUR")
        ledger.write_episode(replace(EPISODE, run=run, outcome="broken"))
        assert reader.tried("S", "n") == frozenset()
        ledger.write_episode(replace(EPISODE, run=run))
        assert reader.tried("S", "n") == {"e1"}
        assert reader.tried("S", "m") == reader.tried("T", "n") == frozenset()
        ledger.write_segment(replace(SEGMENT, run=run))
        ledger.write_episode(
            replace(EPISODE, run=run, outcome="complete", gpu_seconds=2.5, mark="m")
        )
        ledger.spent(run, 4.0, 0.2)
        ledger.end_run(run, "complete")
        assert [row.outcome for row in reader.runs("S")] == ["complete"]
        assert [row.gpu_seconds for row in reader.episodes("S", "n")] == [2.5]
        assert reader.segments("S") == (replace(SEGMENT, run=run),)
        assert reader.episode_seconds("S", "n", "e1") == 2.5
        assert reader.night_seconds("S", "n") == 4.0
        assert reader.endings("S") == {"e1": Ending("complete", "m")}
        assert reader.endings("other") == {} and reader.segments("S", "other") == ()


def test_a_run_that_never_ended_was_lost(tmp_path):
    with Ledger.writing(tmp_path / "l.sqlite") as ledger:
        first = ledger.begin_run("S", "n", "EUR")
        ledger.write_episode(replace(EPISODE, run=first))
        other = ledger.begin_run("other", "n", "EUR")
        ledger.begin_run("S", "n", "EUR")
        assert [row.outcome for row in ledger.runs("S")] == ["lost", "running"]
        assert [row.outcome for row in ledger.episodes("S")] == ["lost"]
        assert [(row.run, row.outcome) for row in ledger.runs("other")] == [(other, "running")]


def test_a_found_segment_is_noted_once_and_only_if_nobody_rendered_it(tmp_path):
    with Ledger.writing(tmp_path / "l.sqlite") as ledger:
        run = ledger.begin_run("S", "n", "EUR")
        found = replace(SEGMENT, run=run, outcome="found", seconds=0.0)
        ledger.write_segment(replace(SEGMENT, run=run))
        ledger.write_segment(found)
        ledger.write_segment(replace(found, key="b"))
        ledger.write_segment(replace(found, key="b"))
        ledger.write_segment(replace(found, key="c", outcome="failed"))
        ledger.write_segment(replace(found, key="c"))
        noted = [(row.key[0], row.outcome) for row in ledger.segments("S")]
    assert noted == [("a", "rendered"), ("b", "found"), ("c", "failed"), ("c", "found")]


def test_history_is_exported_as_a_table(tmp_path):
    with Ledger.writing(tmp_path / "l.sqlite") as ledger:
        run = ledger.begin_run("S", "n", "EUR")
        ledger.write_segment(replace(SEGMENT, run=run))
        export(frame_of(ledger, "segments", "S"), tmp_path / "s.csv")
        assert len(frame_of(ledger, "runs", "S")) == 1
        assert list(frame_of(ledger, "episodes", "S").columns)[:2] == ["run", "episode"]
        with pytest.raises(InputError, match=r"neither \.csv nor \.parquet"):
            export(frame_of(ledger, "runs", "S"), tmp_path / "s.txt")
    read = pd.read_csv(tmp_path / "s.csv")
    assert (read["seconds"].sum(), list(read["key"])) == (2.5, ["a" * 64])


def test_parquet_keeps_the_kinds_of_columns(tmp_path):
    pytest.importorskip("pyarrow")
    with Ledger.writing(tmp_path / "l.sqlite") as ledger:
        ledger.begin_run("S", "n", "EUR")
        frame = frame_of(ledger, "runs", "S")
    export(frame, tmp_path / "runs.parquet")
    assert str(pd.read_parquet(tmp_path / "runs.parquet")["began"].dt.tz) == "UTC"


def test_a_ledger_that_cannot_be_used_is_named(tmp_path):
    file = tmp_path / "l.sqlite"
    file.write_text("no database, but long enough to be taken for one by its size " * 40)
    with pytest.raises(InfrastructureError, match=r"l\.sqlite"), Ledger.writing(file):
        pass
    file.unlink()
    base = sqlite3.connect(file)
    base.execute("PRAGMA user_version = 99")
    base.close()
    with pytest.raises(InfrastructureError, match="later storyflow"), Ledger.reading(file):
        pass
