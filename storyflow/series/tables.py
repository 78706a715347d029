"""What the plan and the status of a series look like on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from storyflow.live import count
from storyflow.series.plan import EpisodePlan, SeriesPlan
from storyflow.series.status import SeriesStatus
from storyflow.terminal import new_console


def print_plan(plan: SeriesPlan, console: Console | None = None) -> None:
    """A row per episode, the totals, and how they fit into the night's budget."""
    console, table = _begun(plan.title, len(plan.episodes), console)
    table.add_column("episode", overflow="fold")
    for name in ("shots", "seconds", "segments", "reuse", "render", "GPU-hours"):
        table.add_column(name, justify="right", no_wrap=True)
    priced = any(each.money is not None for each in plan.episodes)
    if priced:
        table.add_column(escape(plan.currency), justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for each in plan.episodes:
        table.add_row(
            escape(each.name),
            str(each.shots),
            f"{each.seconds:.1f}",
            str(each.segments),
            str(each.reuse),
            str(len(each.render)),
            f"{each.gpu_hours:.4g}",
            *(["" if each.money is None else f"{each.money:.2f}"] if priced else []),
            each.state,
        )
    console.print(table)
    for each in plan.episodes:
        for line in _remarks(each):
            console.print(f"{escape(each.name)}: {escape(line)}", soft_wrap=True, highlight=False)
    hours = f"{plan.gpu_seconds / 3600:.4g} GPU-hours"
    cost = "" if plan.money is None else f", {plan.money:.2f} {plan.currency}"
    console.print(f"{count(plan.render, 'segment')} to render, {hours}{cost}", highlight=False)
    if plan.left is not None:
        nights = f"; {_nights(plan.nights)}" if plan.nights else ""
        left = f"{plan.left / 3600:.4g} GPU-hours"
        console.print(f"night of {plan.night}: {left} left of the budget{nights}", highlight=False)
    if not plan.open:
        console.print(f"the window opens at {plan.opens}", highlight=False)


def print_status(status: SeriesStatus, console: Console | None = None) -> None:
    """A row per episode, who is at work, and what the night has left."""
    console, table = _begun(status.title, len(status.episodes), console)
    table.add_column("episode", overflow="fold")
    table.add_column("state", no_wrap=True)
    for name in ("segments", "stored", "GPU-hours tonight"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in status.episodes:
        since = f" since {_clock(each.since)}" if each.since else ""
        hours = f"{each.gpu_seconds / 3600:.4g}"
        name, state = escape(each.name), f"{each.state}{since}"
        table.add_row(name, state, str(each.segments), str(each.stored), hours)
    console.print(table)
    for each in status.episodes:
        if each.error:
            line = f"{escape(each.name)}: {escape(each.error)}"
            console.print(line, soft_wrap=True, highlight=False)
    for line in _standing(status):
        console.print(escape(line), soft_wrap=True, highlight=False)


def _begun(title: str, episodes: int, console: Console | None) -> tuple[Console, Table]:
    console = console or new_console()
    line = f"[bold]{escape(title)}[/], {count(episodes, 'episode')}"
    console.print(line, highlight=False, soft_wrap=True)
    return console, Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)


def _nights(count: int) -> str:
    return "all of it fits" if count == 1 else f"about {count} nights in all"


def _standing(status: SeriesStatus) -> Iterator[str]:
    if status.at_work is not None:
        since = status.at_work.since
        work = f"renders since {_clock(since)}" if since else "is planning"
        yield f"{status.at_work.who} {work}"
    elif status.lost:
        yield "the last call died; the next one goes on from there"
    else:
        yield "nobody renders"
    cost = "" if status.money is None else f", {status.money:.2f} {status.currency}"
    used = f"night of {status.night}: {status.used / 3600:.4g} GPU-hours used{cost}"
    yield used if status.left is None else f"{used}; {status.left / 3600:.4g} left of the budget"
    if status.closes:
        yield f"the window closes at {_clock(status.closes)}"
    if status.opens:
        yield f"the window opens at {_clock(status.opens)}"


def _clock(moment: str) -> str:
    """`2026-01-10 23:04`, in this machine's time."""
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def _remarks(each: EpisodePlan) -> tuple[str, ...]:
    return tuple(line for line in (each.error, each.over, *each.notices) if line)
