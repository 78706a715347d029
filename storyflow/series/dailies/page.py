"""The page of a night: its facts as one HTML file that opens offline and asks for nothing.

Names, prompts and errors are anybody's text: see `reporting/html.py`.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

from storyflow.billing import duration
from storyflow.reporting.html import BASE, policy, template, texts
from storyflow.series.dailies.facts import Dailies, EpisodeNight

_HERE = Path(__file__).parent

OUTCOMES = {
    "complete": ("finished", "good"),
    "partial": ("partial", "bad"),
    "broken": ("broken", "bad"),
    "failed": ("failed", "bad"),
    "lost": ("cut off", "bad"),
    "budget": ("budget reached", "warn"),
    "window": ("window closed", "warn"),
    "stopped": ("stopped", "warn"),
    "running": ("at work", "new"),
    "waiting": ("waiting", ""),
}
"""What an outcome is called on the page, and how it is coloured."""

QUIET = ("partial", "broken")
"""Endings of a call that its failures tell already."""

SMALLEST = 0.0001
"""Money that is worth telling."""

MANY = 12
"""More rows than that are folded away."""


def page(made: Dailies) -> str:
    """The HTML of a night's dailies."""
    style = texts(BASE, _HERE / "dailies.css")
    script = texts(_HERE / "dailies.js")
    zone = ZoneInfo(made.zone)

    def clock(moment: str) -> str:
        return datetime.fromisoformat(moment).astimezone(zone).strftime("%H:%M")

    def day(moment: str) -> str:
        return datetime.fromisoformat(moment).astimezone(zone).strftime("%a %-d %b, %H:%M")

    return template(_HERE / "dailies.html").render(
        made=made,
        night=date.fromisoformat(made.night).strftime("%A, %-d %B %Y"),
        open=[failure for failure in made.failures if not failure.mended],
        mended=[failure for failure in made.failures if failure.mended],
        states={picture.state for each in made.episodes for picture in each.sheet},
        outcomes=OUTCOMES,
        many=MANY,
        link=quote,
        clock=clock,
        day=day,
        gpu=lambda seconds: gpu(seconds).replace(" ", "\u00a0"),
        quiet=QUIET,
        money=money,
        percent=percent,
        more=more,
        off=off,
        length=duration,
        count=count,
        style=style,
        script=script,
        policy=policy(style, script),
    )


def gpu(seconds: float | None) -> str:
    """GPU time: `14.2 s`, `12.5 min`, `40.3 h`; a dash where nobody knows."""
    if seconds is None:
        return "–"  # noqa: RUF001 - typography
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def money(amount: float | None) -> str:
    """`12.40`, and small amounts with more digits; a dash where nobody knows."""
    if amount is None:
        return "–"  # noqa: RUF001 - typography
    if 0 < amount < SMALLEST:
        return f"<{SMALLEST}"
    return f"{amount:.2f}" if amount >= 1 or amount == 0 else f"{amount:.2g}"


def percent(share: float | None) -> str:
    """`+9 %`; empty where nobody knows."""
    return "" if share is None else f"{100 * share:+.0f} %"


def more(share: float) -> str:
    """`9 % more`, `12 % less`, `5.6 times as much`."""
    if share >= 1:
        return f"{share + 1:.1f} times as much"
    return f"{abs(100 * share):.0f} % {'more' if share >= 0 else 'less'}"


def off(each: EpisodeNight) -> float | None:
    """How far an episode's estimate was off."""
    return None if not each.estimate_seconds else each.gpu_seconds / each.estimate_seconds - 1


def count(number: int, what: str) -> str:
    """`1 film`, `2 films`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
