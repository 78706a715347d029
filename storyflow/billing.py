"""What a run was estimated to and what it came to, row by row, for tables and reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from storyflow.planning.finish import Account, Estimate


@dataclass(frozen=True)
class BillRow:
    """One figure: `estimate` and `off` (how far it was off) are empty where nobody could say."""

    name: str
    estimate: str
    actual: str
    off: str = ""


def bill(account: Account) -> tuple[BillRow, ...]:
    """The rows of a run's account: segments, GPU-hours, time, cost; those that are known."""
    made = account.estimate
    if made is not None and not known(made):
        made = None
    planned = "" if made is None else str(made.segments)
    rows = [BillRow("segments", planned, str(account.rendered))]
    if account.gpu_seconds is not None:
        hours = None if made is None else made.gpu_hours
        rows.append(_row("GPU-hours", hours, account.gpu_seconds / 3600, lambda h: f"{h:.4g}"))
    if account.seconds is not None:
        rows.append(
            _row("rendered in", None if made is None else made.seconds, account.seconds, duration)
        )
    if account.money is not None:
        currency = "" if made is None else made.currency
        name = f"cost, {currency}" if currency else "cost"
        money = None if made is None else made.money
        rows.append(_row(name, money, account.money, lambda m: f"{m:.4g}"))
    return tuple(rows)


def known(estimate: Estimate) -> bool:
    """Whether anybody knew how long rendering would take."""
    return estimate.timed or estimate.gpu_seconds > 0


def duration(seconds: float) -> str:
    """`14.2 s`, `3:05`, `1:03:05`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def _row(name: str, planned: float | None, actual: float, text: Callable[[float], str]) -> BillRow:
    off = "" if not planned else f"{100 * (actual / planned - 1):+.0f} %"
    return BillRow(name, "" if planned is None else text(planned), text(actual), off)
