"""The plan as a table for people."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from storyflow.planning.estimate import PlanRow, Quote

PIPED_WIDTH = 120
"""Columns where the output is not a terminal."""


def print_plan(quote: Quote, console: Console | None = None) -> None:
    """Print rows, totals and notices."""
    console = console or Console()
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print(_table(quote, console.width))
    totals = quote.totals
    console.print(
        f"{totals.shots} shots, {totals.frames} frames shown of {totals.generated} generated, "
        f"{totals.segments} segments: {totals.reuse} reused, {totals.render} to render",
        highlight=False,
    )
    console.print(
        f"compute {flops(totals.render_flops)} of {flops(totals.flops)}; the longest chain has "
        f"{totals.render_chain} segments to render, {flops(totals.render_chain_flops)}",
        highlight=False,
    )
    if quote.memory:
        cards = "; ".join(f"{f.card}: {f.text} ({f.peak / 1024**3:.1f} GiB)" for f in quote.memory)
        console.print(
            f"memory for a window of {quote.window} frames, by graphics card: {cards}",
            highlight=False,
            soft_wrap=True,
        )
    for notice in quote.notices:
        console.print(f"[yellow]notice[/] {escape(notice)}", highlight=False, soft_wrap=True)


def flops(count: float) -> str:
    """`36.7 PFLOP`."""
    for limit, unit in ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP")):
        if count >= limit:
            return f"{count / limit:.3g} {unit}"
    return f"{count / 1e6:.3g} MFLOP" if count else "0 FLOP"


_COLUMNS = ("shot", "mode", "seconds", "shown", "made", "segments", "", "prompt")


def _table(quote: Quote, width: int) -> Table:
    title = f"{quote.title} on {quote.pipeline}, {quote.frame}, {quote.fps} fps"
    table = Table(
        title=escape(title), title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False
    )
    rows = [_cells(row) for row in quote.rows]
    taken = 0
    for place, name in enumerate(_COLUMNS[:-1]):
        wide = max(map(len, (name, *(row[place] for row in rows))))
        side = "right" if name in ("seconds", "shown", "made", "segments") else "left"
        table.add_column(name, justify=side, no_wrap=True, width=wide)  # type: ignore[arg-type]
        taken += wide + 2
    left = max(20, width - taken)
    table.add_column(_COLUMNS[-1], no_wrap=True, overflow="ellipsis", width=left)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _cells(row: PlanRow) -> tuple[str, ...]:
    name = row.shot if row.take == 1 else f"{row.shot}.{row.take}"
    return (
        name if row.shown else f"({name})",
        row.mode,
        f"{row.seconds:.2f}".rstrip("0").rstrip("."),
        str(row.frames),
        str(row.generated),
        str(row.segments),
        row.action,
        row.prompt,
    )
