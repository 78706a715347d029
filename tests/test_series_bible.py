"""An edit of the bible: over all episodes the plan names exactly what is then rendered.

Through the real engine on tiny random weights: its pictures show the looks, a slate's don't.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from test_film_sources_model import SETTINGS

from storyflow.series.ledger import Ledger
from storyflow.series.orders import Grounds
from storyflow.series.plan import SeriesPlan, plan_series
from storyflow.series.render import SeriesResult, render_series

NOW = datetime(2026, 1, 10, 23, tzinfo=UTC)

SERIES = f"""\
series: Ball and star
bible:
  style: flat colours
  pipeline: toybox
  settings: {json.dumps([*SETTINGS, "forcing.steps=2", "deliver.report=false"])}
  cast:
    ball: a red ball
    star: a blue star
episodes: [e*.yaml]
rules: {{cluster: cluster.yaml}}
"""
EPISODES = {
    "e1": """\
film: Two alone
shots:
- {id: 1A, dur: 12f, do: '@ball rolls'}
- {id: 1B, dur: 12f, do: '@star hops'}
""",
    "e2": """\
film: They meet
shots:
- id: 2A
  beats:
  - {dur: 20f, do: '@star spins'}
  - {dur: 12f, do: '@ball joins'}
- {id: 2B, from: prev, dur: 12f, do: it is quiet}
- {id: 2C, dur: 12f, do: '@star sleeps'}
""",
    "e3": """\
film: Nobody
shots:
- {id: 3A, dur: 12f, do: rain falls}
- {id: 3B, from: prev, dur: 12f, do: the rain ends}
""",
    "e4": """\
film: Another ball
cast: {ball: a grey ball}
shots:
- {id: 4A, dur: 12f, do: '@ball rolls'}
- {id: 4B, dur: 12f, do: '@star hops', who: [star]}
""",
}
"""What a ball's new look must reach: 1A, the second beat of 2A, and 2B, which continues that."""

EDITS = {
    "the ball": (
        ("a red ball", "a green ball"),
        {"e1": ("1A/1",), "e2": ("2A/2", "2B/1"), "e3": (), "e4": ()},
    ),
    "the star": (
        ("a blue star", "a white star"),
        {"e1": ("1B/1",), "e2": ("2A/1", "2A/2", "2B/1", "2C/1"), "e3": (), "e4": ("4B/1",)},
    ),
    "the style": (
        ("flat colours", "oil paint"),
        {
            "e1": ("1A/1", "1B/1"),
            "e2": ("2A/1", "2A/2", "2B/1", "2C/1"),
            "e3": ("3A/1", "3B/1"),
            "e4": ("4A/1", "4B/1"),
        },
    ),
    "a note": (("bible:\n", "bible:\n  note: for people\n"), dict.fromkeys(EPISODES, ())),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bible")
    for name, text in EPISODES.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "cluster.yaml").write_text("address: in-process\n")
    return folder


@pytest.fixture
def file(written: Path) -> Path:
    """The series as it was first written, rendered."""
    file = written / "series.yaml"
    file.write_text(SERIES)
    rendered(file)
    return file


def rendered(file: Path) -> tuple[SeriesResult, dict[str, tuple[str, ...]]]:
    """A call, and the segments that it rendered by episode, as the ledger has them."""
    grounds = Grounds(file)
    title = grounds.series.series
    with Ledger.reading(grounds.ledger) as ledger:
        before = len(ledger.segments(title))
    result = asyncio.run(render_series(grounds, lambda *told: None, clock=lambda: NOW))
    with Ledger.reading(grounds.ledger) as ledger:
        rows = ledger.segments(title)[before:]
    assert {row.outcome for row in rows} <= {"rendered"}
    done = {
        name: tuple(sorted(row.segment for row in rows if row.episode == name)) for name in EPISODES
    }
    return result, done


def foretold(plan: SeriesPlan) -> dict[str, tuple[str, ...]]:
    return {each.name: tuple(sorted(each.render)) for each in plan.episodes}


def keys(file: Path) -> set[str]:
    """All segments in the store."""
    place = Path(Grounds(file).store)
    done = [json.loads(each.read_bytes()) for each in place.glob("artifacts/*/*/done.json")]
    return {each["key"] for each in done if each["kind"] == "segment"}


@pytest.mark.parametrize("name", EDITS)
def test_the_plan_of_an_edited_bible_is_what_is_rendered(file: Path, name: str) -> None:
    (old, new), expected = EDITS[name]
    before = keys(file)
    assert old in SERIES
    file.write_text(SERIES.replace(old, new))
    plan = plan_series(Grounds(file), NOW)
    assert foretold(plan) == expected
    assert plan.render == sum(map(len, expected.values()))
    result, made = rendered(file)
    assert (result.outcome, made) == ("complete", expected)
    assert len(keys(file) - before) == plan.render and before <= keys(file)
    touched = {each.name for each in result.episodes if each.outcome == "complete"}
    assert touched == {name for name, segments in expected.items() if segments}
    assert plan_series(Grounds(file), NOW).render == 0
    # The old look again: all of it is in the store.
    file.write_text(SERIES)
    assert plan_series(Grounds(file), NOW).render == 0
