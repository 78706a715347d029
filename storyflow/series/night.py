"""Nights: the hours in which a series may be rendered, and what counts as one for its budget.

A night has the date on which it begins. With a window it begins when that opens; without one at
noon. It lasts, for the budget, until the next one begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from storyflow.series.model import Rules

NOON = time(12)


@dataclass(frozen=True)
class Night:
    """The night of a moment. `date` is where it began; times are in UTC.

    `closes` is when nothing new may begin any more, None without a window. `open` says whether
    rendering is allowed at that moment, `next` when it will be again where it isn't.
    """

    date: date
    closes: datetime | None = None
    open: bool = True
    next: datetime | None = None


def night_of(rules: Rules, now: datetime) -> Night:
    """The night that `now` (with a time zone) belongs to."""
    here = now.astimezone(rules.zone)
    window = rules.window
    begins = NOON if window is None else window.from_
    day = here.date() if here.time() >= begins else here.date() - timedelta(days=1)
    if window is None:
        return Night(day)
    ends = day if window.to > window.from_ else day + timedelta(days=1)
    closes = _moment(ends, window.to, rules)
    if now < closes:
        return Night(day, closes)
    return Night(day, closes, False, _moment(day + timedelta(days=1), window.from_, rules))


def _moment(day: date, at: time, rules: Rules) -> datetime:
    # By way of UTC: on two nights a year local times differ by another number of hours.
    return datetime.combine(day, at, rules.zone).astimezone(UTC)
