"""What the campaigns about series judge by."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from campaign.books import faults, read_books
from campaign.nights import zones
from test_series_plan import NOW, series_in

from storyflow.series.model import Rules
from storyflow.series.night import night_of
from storyflow.series.orders import Grounds
from storyflow.series.render import render_series

WRONG = {
    "a segment that was rendered twice": (
        "INSERT INTO segments SELECT * FROM segments WHERE segment = '1A/1'",
        "stands 2 times in the ledger",
    ),
    "a segment that the store lacks": (
        "UPDATE segments SET key = 'f' || substr(key, 2) WHERE segment = '1A/1'",
        "store and ledger differ",
    ),
    "seconds that are nobody's": (
        "UPDATE episodes SET gpu_seconds = gpu_seconds + 1000 WHERE episode = 'e1'",
        "held",
    ),
    "seconds that no segment took": (
        "UPDATE episodes SET useful_seconds = 0 WHERE episode = 'e1'",
        "its segments took",
    ),
    "a film that knows better": (
        "UPDATE episodes SET gpu_seconds = gpu_seconds - 0.1 WHERE episode = 'e1'",
        "the film's record has",
    ),
    "a run without an end": ("UPDATE runs SET ended = NULL", "did not end"),
}


@pytest.mark.parametrize("hour", range(24))
def test_two_time_zones_make_two_nights_at_any_hour(hour: int) -> None:
    now = datetime(2026, 3, 29, hour, 30, tzinfo=UTC)
    first, second = (night_of(Rules(zone=ZoneInfo(zone)), now).date for zone in zones(now))
    assert second - first == timedelta(days=1)


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Grounds:
    grounds = Grounds(series_in(tmp_path_factory.mktemp("series")))
    asyncio.run(render_series(grounds, lambda told: None, clock=lambda: NOW))
    return grounds


def test_what_was_rendered_in_order_has_no_faults(grounds: Grounds) -> None:
    assert list(faults(grounds, read_books(grounds))) == []


@pytest.mark.parametrize("name", WRONG)
def test_a_ledger_at_odds_with_the_rest_is_told(grounds: Grounds, name: str) -> None:
    change, told = WRONG[name]
    whole = Path(grounds.ledger).read_bytes()
    with sqlite3.connect(grounds.ledger) as base:
        base.execute(change)
    base.close()
    found = list(faults(grounds, read_books(grounds)))
    Path(grounds.ledger).write_bytes(whole)
    assert any(told in line for line in found), found
