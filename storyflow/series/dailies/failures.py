"""Who needs a hand after a night: what failed, why, and the one command that renders it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from storyflow.poison import FAILED, Poison
from storyflow.series.dailies.account import Tally
from storyflow.series.dailies.facts import Cause, Failure
from storyflow.series.dailies.places import render_command, retry_command
from storyflow.series.ledger import SegmentRow
from storyflow.series.orders import Grounds
from storyflow.series.plan import EpisodePlan

AGAIN = "The next call goes on by itself, or do it now."

CURES = {
    "partial": "",
    "broken": "Mend the storyboard first; the next call renders it by itself then.",
    "failed": AGAIN,
    "lost": AGAIN,
}
"""What to do before the command, by outcome."""

_MENDED = {
    "partial": ("done", "cut", "render"),
    "broken": ("done", "cut", "render"),
    "failed": ("done",),
    "lost": ("done",),
}
"""States in the plan in which an outcome is no longer so."""


def failures(
    grounds: Grounds,
    made: Sequence[Tally],
    rows: Sequence[SegmentRow],
    plan: Iterable[EpisodePlan],
) -> tuple[Failure, ...]:
    """What failed in the night, and what the plan says is broken or left, as the series has it."""
    states = {each.name: each for each in plan}
    found = [*_of_night(grounds, made, rows, states)]
    told = {failure.episode for failure in found}
    found += _of_plan(grounds, [each for each in states.values() if each.name not in told])
    places = {name: place for place, name in enumerate(states)}
    return tuple(sorted(found, key=lambda each: places.get(each.episode, len(places))))


def _of_night(
    grounds: Grounds,
    made: Sequence[Tally],
    rows: Sequence[SegmentRow],
    states: Mapping[str, EpisodePlan],
) -> Iterator[Failure]:
    causes = _causes(rows)
    for tally in made:
        last, row = tally.last, states.get(tally.last.episode)
        if last.outcome not in CURES:
            continue
        mended = row is None or row.state in _MENDED[last.outcome]
        outcome, error = last.outcome, last.error
        if row is not None and row.state == "broken":
            # Whatever it was, this comes first now.
            outcome, error, mended = "broken", row.error, False
        elif outcome == "lost":
            error = error or "its process ended without a word: killed, or the machine went down"
        found = causes.get(last.episode, ())
        yield _failure(grounds, last.episode, outcome, error, found, mended)


def _of_plan(grounds: Grounds, rows: Iterable[EpisodePlan]) -> Iterator[Failure]:
    for row in rows:
        if row.state == "broken":
            yield _failure(grounds, row.name, "broken", row.error, (), False)
        elif row.state == "failed":
            causes = _poisoned(grounds.folder / row.name)
            yield _failure(grounds, row.name, "partial", row.error, causes, False)


def _failure(
    grounds: Grounds,
    episode: str,
    outcome: str,
    error: str,
    causes: tuple[Cause, ...],
    mended: bool,
) -> Failure:
    cure = CURES[outcome]
    if outcome == "partial" and grounds.series.rules.on_failure == "retry":
        cure = "The next night tries again by itself, or do it now."
    return Failure(
        episode=episode,
        outcome=outcome,
        # The causes say it segment by segment.
        error="" if causes and outcome == "partial" else error,
        causes=causes,
        cure=cure,
        command=render_command(grounds) if outcome == "lost" else retry_command(grounds, episode),
        mended=mended,
    )


def _causes(rows: Iterable[SegmentRow]) -> dict[str, tuple[Cause, ...]]:
    """Per episode, the segments that failed in the night and were not rendered after that."""
    found: dict[str, dict[str, Cause]] = defaultdict(dict)
    for row in rows:
        if row.outcome == "failed":
            found[row.episode][row.segment] = Cause(row.segment, row.shot, row.error)
        elif row.episode in found:
            found[row.episode].pop(row.segment, None)
    return {episode: tuple(causes.values()) for episode, causes in found.items()}


def _poisoned(folder: Path) -> tuple[Cause, ...]:
    every = Poison(folder / FAILED).all
    return tuple(Cause(failed.name, failed.shot, failed.error) for failed in every)
