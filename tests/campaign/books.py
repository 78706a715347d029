"""What must hold of a series' ledger, whatever happened in its nights."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storyflow.record import read_record
from storyflow.series.ledger import EpisodeRow, Ledger, RunRow, SegmentRow
from storyflow.series.orders import Grounds
from storyflow.store.artifacts import Artifact
from storyflow.store.store import Store


@dataclass(frozen=True)
class Books:
    """What the ledger has of a series."""

    runs: tuple[RunRow, ...]
    episodes: tuple[EpisodeRow, ...]
    segments: tuple[SegmentRow, ...]

    def of_night(self, night: str) -> Books:
        """The same of one night."""
        runs = tuple(run for run in self.runs if run.night == night)
        own = {run.run for run in runs}
        return Books(
            runs,
            tuple(row for row in self.episodes if row.run in own),
            tuple(row for row in self.segments if row.run in own),
        )


def read_books(grounds: Grounds) -> Books:
    """The ledger of a series."""
    title = grounds.series.series
    with Ledger.reading(grounds.ledger) as ledger:
        return Books(ledger.runs(title), ledger.episodes(title), ledger.segments(title))


def faults(grounds: Grounds, books: Books) -> Iterator[str]:
    """Where the ledger is at odds with itself, the store or the films' own records.

    For a store in a folder, of which all was rendered by this series and nothing failed.
    """
    for key, times in Counter(row.key for row in books.segments).items():
        if times > 1:
            yield f"{key} stands {times} times in the ledger"
    stored = _stored(Path(grounds.store))
    noted = {row.key: row for row in books.segments}
    if stored.keys() ^ noted.keys():
        yield f"store and ledger differ in {len(stored.keys() ^ noted.keys())} segments"
    for key in stored.keys() & noted.keys():
        row = noted[key]
        if row.outcome != "rendered" or row.worker != stored[key].worker:
            yield f"{row.segment} was {row.outcome} by {row.worker}, not {stored[key].worker}"
    for run in books.runs:
        yield from _run(run, books)
    for episode in books.episodes:
        yield from _episode(episode, books)


def _stored(place: Path) -> dict[str, Artifact]:
    keys = [done.parent.name for done in place.glob("artifacts/*/*/done.json")]
    found = Store(place).artifacts(keys)
    return {key: artifact for key, artifact in found.items() if artifact.kind == "segment"}


def _run(run: RunRow, books: Books) -> Iterator[str]:
    own = [row for row in books.episodes if row.run == run.run]
    rendered = [row for row in books.segments if row.run == run.run]
    if sum(row.rendered for row in own) != len(rendered):
        yield f"run {run.run}: its episodes' segments are not its segments"
    # Seconds that a worker waits for the next film are the run's alone.
    used = sum(row.gpu_seconds + row.prompt_seconds for row in own)
    if used > run.gpu_seconds + 1e-6 or (rendered and not used):
        yield f"run {run.run} held {run.gpu_seconds:.3f} s, its episodes {used:.3f} s"
    if run.ended is None:
        yield f"run {run.run} did not end"


def _episode(row: EpisodeRow, books: Books) -> Iterator[str]:
    where = f"run {row.run}, {row.episode}"
    own = [s for s in books.segments if (s.run, s.episode) == (row.run, row.episode)]
    if row.rendered != len(own):
        yield f"{where}: {row.rendered} segments were rendered, {len(own)} are noted"
    useful = sum(segment.seconds * segment.gpus for segment in own)
    if not math.isclose(useful, row.useful_seconds, abs_tol=1e-6):
        yield f"{where}: its segments took {useful:.3f} s, not {row.useful_seconds:.3f} s"
    if row.outcome != "complete" or not row.rendered:
        return
    record = read_record(Path(row.folder))
    last = None if record is None else record.last
    if last is None or last.rendered != row.rendered:
        yield f"{where}: the film's record does not know of {row.rendered} segments"
    elif not math.isclose(last.gpu_seconds or 0.0, row.gpu_seconds + row.prompt_seconds):
        yield f"{where}: the film's record has {last.gpu_seconds} s, not {row.gpu_seconds} s"
