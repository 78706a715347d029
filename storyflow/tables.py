"""Plans, comparisons and bills as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from storyflow.billing import bill, duration, known
from storyflow.planning.diff import Diff
from storyflow.planning.estimate import PlanRow, Quote
from storyflow.planning.finish import Account, Estimate
from storyflow.replaying import Replay
from storyflow.terminal import new_console


def print_plan(quote: Quote, console: Console | None = None) -> None:
    """Print rows, totals and notices."""
    console = console or new_console()
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
    if quote.estimate is not None:
        for line in _estimate_lines(quote.estimate):
            console.print(line, highlight=False, soft_wrap=True)
    if quote.memory:
        cards = "; ".join(f"{f.card}: {f.text} ({f.peak / 1024**3:.1f} GiB)" for f in quote.memory)
        console.print(
            f"memory for a window of {quote.window} frames, by graphics card: {cards}",
            highlight=False,
            soft_wrap=True,
        )
    for notice in quote.notices:
        console.print(f"[yellow]notice[/] {escape(notice)}", highlight=False, soft_wrap=True)
    if quote.last is not None:
        print_account(quote.last, console)


def print_diff(diff: Diff, console: Console | None = None) -> None:
    """Print what would be rendered and why, equal reasons together, and what is reused."""
    console = console or new_console()
    since = f", against the run of {diff.since}" if diff.since else ""
    console.print(
        f"[bold]{escape(diff.title)}[/] on {diff.pipeline}{since}: "
        f"{len(diff.reuse)} of {len(diff.segments)} segments reused, {len(diff.render)} to render",
        highlight=False,
        soft_wrap=True,
    )
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", max_width=32)
    table.add_column(overflow="fold")
    for names, why in diff.groups:
        table.add_row("[yellow]render[/]", escape(spans(names)), escape("\n".join(why)))
    if diff.reuse:
        table.add_row("[green]reuse[/]", escape(spans(diff.reuse)), "")
    if diff.dropped:
        table.add_row("[dim]unused[/]", escape(spans(diff.dropped)), "in the film no more")
    console.print(table)


def print_account(account: Account, console: Console | None = None) -> None:
    """Print what a run was estimated to and what it came to, side by side.

    Nothing where nothing was expected: all was reused, or nobody knew how long it would take.
    """
    console = console or new_console()
    made = account.estimate
    if made is None or account.seconds is None or account.gpu_seconds is None:
        return
    if not known(made):
        return
    if not made.segments and not account.rendered:
        return
    console.print(
        f"the run of {account.began}, estimated from {escape(made.source)}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("", "estimate", "actual", ""):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for row in bill(account):
        table.add_row(row.name, row.estimate, row.actual, row.off)
    console.print(table)


def print_replay(replay: Replay, console: Console | None = None) -> None:
    """Print how what was made again compares with what is stored."""
    console = console or new_console()
    apart = replay.distance
    unit = "tokens" if replay.kind == "prompt" else "frames"
    verdict = "[green]equal[/]" if replay.same else "[yellow]different[/]"
    lines = [f"{verdict}: {escape(replay.name)}, {replay.kind} {replay.key}"]
    if apart.differing:
        psnr = "" if apart.psnr is None else f", PSNR {apart.psnr:.1f} dB"
        lines.append(
            f"{apart.differing} of {apart.count} {unit} differ, the first is {apart.first}; "
            f"greatest difference {apart.greatest:.4g}, mean {apart.mean:.4g}{psnr}"
        )
    else:
        lines.append(f"all {apart.count} {unit} are equal")
    if replay.latents_same is False:
        lines.append("latents differ")
    lines.append(f"numerics then {escape(replay.then or 'not recorded')}")
    lines.append(f"numerics now  {escape(replay.now or 'not recorded')}")
    lines.append(f"took {replay.seconds_then:.1f} s then, {replay.seconds_now:.1f} s now")
    lines += [f"[yellow]notice[/] {escape(note)}" for note in replay.notes]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def spans(names: Iterable[str]) -> str:
    """`1A/1-3, 1B/2`: runs of segments of one take in short."""
    runs: list[tuple[str, int, int]] = []
    for name in names:
        take, _, number = name.rpartition("/")
        place = int(number)
        if runs and runs[-1][0] == take and runs[-1][2] == place - 1:
            runs[-1] = (take, runs[-1][1], place)
        else:
            runs.append((take, place, place))
    return ", ".join(f"{t}/{a}" if a == b else f"{t}/{a}-{b}" for t, a, b in runs)


def _estimate_lines(made: Estimate) -> Iterator[str]:
    if not made.segments and not made.prompts:
        return
    if not known(made):
        yield f"time is not known: {escape(made.source)}"
        return
    money = "" if made.money is None else f", {made.money:.2f} {made.currency}"
    finish = ", ".join(f"{f.workers}: {duration(f.seconds)}" for f in made.finish)
    yield (
        f"time {made.gpu_hours:.4g} GPU-hours{money}; finished, by number of workers, in {finish}; "
        f"the longest chain takes {duration(made.chain_seconds)}"
    )
    if made.start_seconds is None:
        yield "without the start of the farm and its workers: nobody has measured it yet"
    elif made.start_seconds >= 1:
        starting = duration(made.start_seconds)
        yield f"each contains {starting} in which the farm and its workers start"
    yield f"from {escape(made.source)}"


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
