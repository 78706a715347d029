"""What a night came to: figures from the ledger's rows, episode by episode and in all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from storyflow.budget import Budget
from storyflow.series.dailies.facts import Bill, Call
from storyflow.series.ledger import EpisodeRow, RunRow


@dataclass(frozen=True)
class Tally:
    """What became of one episode in all calls of a night, and in all nights until then.

    `estimate_seconds` were expected for what was rendered, None where nobody knew.
    """

    last: EpisodeRow
    calls: int
    rendered: int
    reused: int
    failed: int
    gpu_seconds: float
    estimate_seconds: float | None
    money: float | None
    second_gpu: float | None
    second_money: float | None

    @property
    def touched(self) -> bool:
        """Whether anything was done, or is being done."""
        working = self.last.outcome in ("complete", "partial", "running")
        return working or bool(self.rendered or self.failed)


def tallies(rows: Sequence[EpisodeRow], before: Sequence[EpisodeRow]) -> tuple[Tally, ...]:
    """A tally per episode of a night's `rows`, in their order; `before` are older nights' rows."""
    names = dict.fromkeys(row.episode for row in rows)
    of = _by_name(rows)
    past = _by_name(before)
    return tuple(_tally(of[name], (*past.get(name, ()), *of[name])) for name in names)


def bill(
    runs: Sequence[RunRow], made: Sequence[Tally], budget: Budget, found: int, failed: int
) -> Bill:
    """The night in figures. `found` segments of others' were noted, `failed` ones are left."""
    worked = [tally for tally in made if tally.rendered]
    finished = [tally for tally in made if tally.last.outcome == "complete"]
    seconds = sum(tally.last.film_seconds for tally in finished)
    return Bill(
        gpu_seconds=sum(run.gpu_seconds for run in runs),
        money=total(run.money for run in runs),
        currency=budget.currency,
        estimate_seconds=_all_known(tally.estimate_seconds for tally in worked),
        budget_seconds=budget.seconds if math.isfinite(budget.seconds) else None,
        rendered=sum(tally.rendered for tally in made),
        reused=sum(tally.reused for tally in finished) + found,
        failed=failed,
        finished=len(finished),
        finished_seconds=seconds,
        second_gpu=_each_second(finished, [tally.second_gpu for tally in finished]),
        second_money=_each_second(finished, [tally.second_money for tally in finished]),
    )


def calls(runs: Iterable[RunRow]) -> tuple[Call, ...]:
    """The night's calls, the oldest first."""
    return tuple(
        Call(
            run=run.run,
            began=run.began,
            ended=run.ended,
            outcome=run.outcome,
            host=run.host,
            gpu_seconds=run.gpu_seconds,
            money=run.money,
            error=run.error,
        )
        for run in runs
    )


def total(amounts: Iterable[float | None]) -> float | None:
    """The sum of those that are known; None where none is."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None


def _tally(rows: Sequence[EpisodeRow], ever: Sequence[EpisodeRow]) -> Tally:
    last = rows[-1]
    finished = last.outcome == "complete" and last.film_seconds > 0
    money = total(row.money for row in ever)
    return Tally(
        last=last,
        calls=len(rows),
        rendered=sum(row.rendered for row in rows),
        reused=last.reused,
        failed=last.failed,
        gpu_seconds=sum(_used(row) for row in rows),
        estimate_seconds=_all_known(_expected(row) for row in rows if row.rendered),
        money=total(row.money for row in rows),
        second_gpu=sum(map(_used, ever)) / last.film_seconds if finished else None,
        second_money=money / last.film_seconds if finished and money is not None else None,
    )


def _used(row: EpisodeRow) -> float:
    return row.gpu_seconds + row.prompt_seconds


def _expected(row: EpisodeRow) -> float | None:
    """What was expected of the segments that a call came to."""
    if not row.estimate_seconds or not row.planned:
        return None
    return row.estimate_seconds * min(1.0, row.rendered / row.planned)


def _all_known(amounts: Iterable[float | None]) -> float | None:
    every = list(amounts)
    known = [amount for amount in every if amount is not None]
    return sum(known) if known and len(known) == len(every) else None


def _each_second(finished: Sequence[Tally], each: Sequence[float | None]) -> float | None:
    """The mean over the seconds of these films."""
    seconds = sum(tally.last.film_seconds for tally in finished)
    amounts = [
        None if amount is None else amount * tally.last.film_seconds
        for tally, amount in zip(finished, each, strict=True)
    ]
    whole = _all_known(amounts)
    return whole / seconds if whole is not None and seconds else None


def _by_name(rows: Iterable[EpisodeRow]) -> dict[str, list[EpisodeRow]]:
    ordered = sorted(rows, key=lambda row: (row.episode, row.run))
    return {name: list(group) for name, group in groupby(ordered, lambda row: row.episode)}
