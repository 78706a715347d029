"""What a series plan looks like on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from storyflow.series.plan import EpisodePlan, SeriesPlan


def print_plan(plan: SeriesPlan, console: Console | None = None) -> None:
    """A row per episode, the totals, and how they fit into the night's budget."""
    console = console or Console()
    table = Table(title=escape(plan.title), title_justify="left")
    table.add_column("episode")
    for name in ("shots", "seconds", "segments", "reuse", "render", "GPU-hours", "cost"):
        table.add_column(name, justify="right")
    table.add_column("state")
    for each in plan.episodes:
        table.add_row(
            escape(each.name),
            str(each.shots),
            f"{each.seconds:.1f}",
            str(each.segments),
            str(each.reuse),
            str(len(each.render)),
            f"{each.gpu_hours:.4g}",
            "" if each.money is None else f"{each.money:.2f}",
            each.state,
        )
    console.print(table)
    for each in plan.episodes:
        for line in _remarks(each):
            console.print(f"{escape(each.name)}: {escape(line)}", soft_wrap=True, highlight=False)
    hours = f"{plan.gpu_seconds / 3600:.4g} GPU-hours"
    cost = "" if plan.money is None else f", {plan.money:.2f} {plan.currency}"
    count = "1 segment" if plan.render == 1 else f"{plan.render} segments"
    console.print(f"{count} to render, {hours}{cost}", highlight=False)
    if plan.left is not None:
        nights = "" if plan.nights is None else f"; about {plan.nights} nights in all"
        left = f"{plan.left / 3600:.4g} GPU-hours"
        console.print(f"night of {plan.night}: {left} left of the budget{nights}", highlight=False)
    if not plan.open:
        console.print(f"the window opens at {plan.opens}", highlight=False)


def _remarks(each: EpisodePlan) -> tuple[str, ...]:
    return tuple(line for line in (each.error, each.over, *each.notices) if line)
