"""What comes next in a series, from its plan: what is left, when it goes on, what may be used."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from storyflow.series.dailies.account import total
from storyflow.series.dailies.facts import Coming, Next
from storyflow.series.model import Rules
from storyflow.series.night import NOON, Night, night_of
from storyflow.series.orders import Grounds
from storyflow.series.plan import EpisodePlan, SeriesPlan


def coming(grounds: Grounds, plan: SeriesPlan, night: Night, spent: bool) -> Next:
    """What comes after `night`, the one that it is now. `spent`: nothing more fits its budget."""
    waiting = tuple(_coming(each) for each in plan.episodes if each.state in ("render", "cut"))
    whole = grounds.night.seconds
    begins = None
    if not night.open:
        begins = night.next
    elif spent or plan.left == 0:
        begins = _next_night(grounds.series.rules, night)
    left = plan.left if begins is None else whole if math.isfinite(whole) else None
    rendered = [each for each in plan.episodes if each.render]
    timed = all(each.timed for each in rendered)
    closes = night.closes if begins is None else _closing(grounds.series.rules, begins)
    return Next(
        when=_text(begins),
        closes=_text(closes),
        left_seconds=left,
        nights=plan.nights,
        done=sum(each.state == "done" for each in plan.episodes),
        episodes=len(plan.episodes),
        segments=plan.render,
        gpu_seconds=plan.gpu_seconds if timed else None,
        money=total(each.money for each in waiting) if timed else None,
        waiting=waiting,
    )


def _coming(each: EpisodePlan) -> Coming:
    known = each.timed or not each.render
    return Coming(
        episode=each.name,
        title=each.title,
        state=each.state,
        segments=len(each.render),
        gpu_seconds=each.gpu_seconds if known else None,
        money=each.money if known else None,
        over=each.over,
    )


def _next_night(rules: Rules, night: Night) -> datetime | None:
    if night.closes is not None:
        return night_of(rules, night.closes).next
    noon = datetime.combine(night.date + timedelta(days=1), NOON, rules.zone)
    return noon.astimezone(UTC)


def _closing(rules: Rules, begins: datetime | None) -> datetime | None:
    return None if begins is None else night_of(rules, begins).closes


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")
