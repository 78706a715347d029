"""The kill campaign in short: a few kills of every kind. docs/crashes.md tells of the long one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign.aims import MOMENTS, ROUNDS, Aim, aims
from campaign.catch import catch, disarm, set_trap
from campaign.play import Row, Theatre
from campaign.processes import kill, state_of
from campaign.stage import Stage
from campaign.table import Table, summary

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    theatre = Theatre(tmp_path_factory.mktemp("kills"))
    yield theatre
    theatre.close()


IN_PROCESS = [
    ("rendering", 2),
    ("encoding", 3),
    ("before blob", 4),
    ("before commit", 2),
    ("after commit", 1),
    ("indexing", 3),
    ("anywhere", 30),
    ("pinning", 2),
    ("before master", 2),
    ("cutting", 100),
    ("before film", 1),
    ("before manifest", 1),
]


@pytest.mark.parametrize(("moment", "nth"), IN_PROCESS)
def test_a_killed_film_goes_on_without_loss(theatre: Theatre, moment: str, nth: int) -> None:
    (row,) = theatre.play([Aim(1, "slate", "in-process", "driver", moment, nth)])
    assert row.doing and row.wrong == ()
    if moment in ("rendering", "encoding", "before commit"):
        assert row.lost == row.again != (), "what was being made is made again"
    if moment in ("before master", "cutting", "before film", "before manifest"):
        assert (row.lost, row.again, row.committed) == ((), (), 7), "a cut renders nothing"


ON_RAY = {
    "two workers, one after the other": [("worker", "encoding", 1), ("worker", "before commit", 1)],
    "the driver": [("driver", "rendering", 2)],
    "a node": [("node", "encoding", 1)],
}


@pytest.mark.ray
@pytest.mark.parametrize("kills", list(ON_RAY.values()), ids=list(ON_RAY))
def test_what_is_killed_on_a_cluster_costs_its_open_segments_and_no_byte(
    theatre: Theatre, kills: list[tuple[str, str, int]]
) -> None:
    pytest.importorskip("ray")
    rows = theatre.play(
        [Aim(2, "slate", "cluster", victim, moment, nth) for victim, moment, nth in kills]
    )
    assert all(row.wrong == () for row in rows)
    assert len(rows) == len(kills) and all(row.doing for row in rows)
    # A worker may still store its segment after its driver is dead.
    assert all(set(row.again) <= set(row.lost) != set() for row in rows)


@pytest.mark.ray
def test_a_worker_that_hangs_is_ended_and_costs_no_byte(theatre: Theatre, tmp_path: Path) -> None:
    """It is stopped in the middle of a segment and never goes on."""
    pytest.importorskip("ray")
    (tmp_path / "cluster.yaml").write_text("storyflow: 1\nretries: {silence: 20}\n")
    stage = Stage(theatre.work, "hanging", "slate")
    set_trap(Aim(3, "slate", "cluster", "worker", "rendering", 1), stage)
    run = stage.start(theatre.nodes.address, "--cluster", str(tmp_path / "cluster.yaml"))
    caught = catch(stage, run)
    disarm(stage)
    assert caught is not None
    try:
        assert stage.finish(run) == 0, stage.log().read_text()
        assert state_of(caught.pid) in (None, "Z"), "it holds nothing any more"
    finally:
        kill((caught.pid,))
    assert "no sign of life" in stage.log().read_text()
    assert stage.outcome() == theatre.undisturbed("slate")


def test_a_seed_decides_every_aim_and_a_cycle_holds_two_hundred() -> None:
    first = [aims(1, number) for number in range(1, len(ROUNDS) + 1)]
    assert first == [aims(1, number) for number in range(1, len(ROUNDS) + 1)]
    assert first != [aims(2, number) for number in range(1, len(ROUNDS) + 1)]
    flat = [aim for kills in first for aim in kills]
    assert len(flat) == 200
    assert {aim.moment for aim in flat} == MOMENTS.keys()
    assert Counter(aim.victim for aim in flat).keys() == {"driver", "worker", "node", "machine"}


def test_the_table_keeps_whole_rounds_and_goes_on(tmp_path: Path) -> None:
    kills = [Row(aim, "put store/blobs", 3, ("1A/2",), ("1A/2",), 1.5) for aim in aims(1, 3)]
    table = Table(tmp_path / "kills.sqlite", 1)
    table.add(kills, "abc")
    table.close()
    table = Table(tmp_path / "kills.sqlite", 1)
    assert table.rows() == tuple(kills)
    assert Table(tmp_path / "kills.sqlite", 2).rows() == ()
    assert summary(table.rows()).row_count == 2
