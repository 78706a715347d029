"""A night of a small series with all that its dailies tell of: films, a failure, a mistake."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from films import SMALL

from storyflow.draining import Draining
from storyflow.series.dailies.facts import Coming, Dailies
from storyflow.series.orders import Grounds
from storyflow.series.render import render_series
from storyflow.series.told import SeriesEvent, SeriesResult, Tell

NOW = datetime(2026, 1, 10, 23, tzinfo=UTC)
NIGHT = "2026-01-10"
HOSTILE = "</script><img src=x onerror=alert(1)> & \"quotes\" 'too'"

SERIES = f"""\
series: The <b>Keepers</b> & Co
bible:
  pipeline: slate
  settings: [{", ".join(SMALL)}, frame=192x112, deliver.report=true, 'slate.fail={{2B/1: -1}}']
  cast: {{ball: a red ball, star: a blue star}}
episodes: [e*.yaml]
rules: {{cluster: cluster.yaml, window: {{from: 22:00, to: 06:00}}}}
"""
CLUSTER = "address: in-process\nprice: 2\ncurrency: EUR\n"
EPISODES = {
    "e1": "film: First light\nshots:\n- {id: 1A, dur: 2s, do: '@ball rolls'}\n"
    "- {id: 1B, dur: 2s, do: '@star hops', say: Is it out?}\n",
    "e2": "film: A storm\nshots:\n- {id: 2A, dur: 2s, do: '@star spins'}\n"
    "- {id: 2B, dur: 2s, do: '@ball falls'}\n",
    "e3": "film: Broken\nshots:\n- {id: 3A, dur: 2s, do: '@bell rings'}\n",
    "e4": f"film: Hostile\nshots:\n- {{id: 4A, dur: 2s, do: {json.dumps(HOSTILE)}}}\n",
}


def series_in(folder: Path, text: str = SERIES, episodes: dict[str, str] = EPISODES) -> Path:
    """The series in this folder, nothing rendered."""
    for name, episode in episodes.items():
        (folder / f"{name}.yaml").write_text(episode)
    (folder / "cluster.yaml").write_text(CLUSTER)
    (folder / "series.yaml").write_text(text)
    return folder / "series.yaml"


def rendered(
    file: Path,
    now: datetime = NOW,
    draining: Draining | None = None,
    tell: Tell = lambda event: None,
) -> SeriesResult:
    """Render it, as if it were `now`."""

    def work() -> SeriesResult:
        return asyncio.run(render_series(Grounds(file), tell, draining, lambda: now))

    # A browser that is being driven has a loop in this thread.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def heard(file: Path, now: datetime = NOW) -> list[SeriesEvent]:
    """What rendering it tells."""
    told: list[SeriesEvent] = []
    rendered(file, now, tell=told.append)
    return told


def night(factory: pytest.TempPathFactory) -> Path:
    """The series after its night, rendered once for all tests; they must not change it."""
    folder = factory.getbasetemp() / "night"
    if not folder.exists():
        folder.mkdir()
        rendered(series_in(folder))
    return folder / "series.yaml"


def long_night(made: Dailies, episodes: int) -> Dailies:
    """So many episodes in one night, the same ones over and over, and as many to come."""
    every = [made.episodes[number % len(made.episodes)] for number in range(episodes)]
    named = tuple(replace(each, name=f"episode-{n}") for n, each in enumerate(every))
    left = tuple(Coming(f"later-{n}", "Later", "render", 9, 60.0, 1.0, "") for n in range(episodes))
    failures = tuple(replace(f, episode=f"failure-{n}") for n in range(9) for f in made.failures)
    coming = replace(made.next, waiting=left, segments=9 * episodes, gpu_seconds=60.0 * episodes)
    return replace(made, episodes=named, failures=failures, next=coming)
