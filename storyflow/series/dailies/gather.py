"""From the ledger, the films' folders and the plan to the dailies of a night."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from storyflow.cutting.cut import master_of
from storyflow.cutting.manifest import read_manifest
from storyflow.cutting.masters import tag_of
from storyflow.errors import InputError
from storyflow.filmfolder import MANIFEST
from storyflow.qc.filed import FILE, read_quality
from storyflow.reporting.write import PAGE
from storyflow.series.dailies.account import Tally, bill, calls, tallies
from storyflow.series.dailies.coming import coming
from storyflow.series.dailies.facts import Dailies, EpisodeNight, Finding
from storyflow.series.dailies.failures import failures
from storyflow.series.dailies.places import page_of
from storyflow.series.dailies.sheets import Sheet, pictures, plan_sheet, width_for
from storyflow.series.ledger import Ledger, SegmentRow
from storyflow.series.night import night_of
from storyflow.series.orders import Grounds
from storyflow.series.plan import EpisodePlan, plan_of, plan_series
from storyflow.store.store import Store


def latest_night(grounds: Grounds, now: datetime) -> str:
    """The night to look at in the morning: this one once it has begun to render or is over, else
    the last one that rendered. Raises InfrastructureError for the ledger."""
    title, night = grounds.series.series, night_of(grounds.series.rules, now)
    this = night.date.isoformat()
    with Ledger.reading(grounds.ledger) as ledger:
        nights = [run.night for run in ledger.runs(title) if run.night <= this]
    return this if not night.open or not nights else max(nights)


def checked_night(grounds: Grounds, text: str, now: datetime) -> str:
    """A night as somebody names it. Raises InputError: no date, or one to come."""
    try:
        named = date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is no night", cure="name its date: 2026-01-31") from None
    last = night_of(grounds.series.rules, now).date
    if named > last:
        raise InputError(f"the night of {named} has not begun", cure=f"the last one is {last}")
    return named.isoformat()


def gather(
    grounds: Grounds,
    night: str,
    now: datetime,
    beside: Path | None = None,
    planned: Iterable[EpisodePlan] | None = None,
) -> Dailies:
    """The dailies of a night, as things stand now; writes nothing.

    Its paths start from the folder `beside`; without one from where the page of that night lies.
    Without the rows of all episodes, as `planned` just now, it plans the series.
    Raises InputError for the series file, StoreError, InfrastructureError for the ledger.
    """
    title, rules = grounds.series.series, grounds.series.rules
    with Ledger.reading(grounds.ledger) as ledger:
        every = ledger.runs(title)
        older = {run.run for run in every if run.night < night}
        runs = tuple(run for run in every if run.night == night)
        rows = ledger.episodes(title)
        segments = ledger.segments(title, night)
    numbers = {run.run for run in runs}
    place = beside or page_of(grounds, night).parent
    made = tallies(
        [row for row in rows if row.run in numbers], [row for row in rows if row.run in older]
    )
    tonight = night_of(rules, now)
    plan = plan_series(grounds, now) if planned is None else plan_of(grounds, tonight, planned)
    spent = bool(runs) and night == tonight.date.isoformat() and runs[-1].outcome == "budget"
    failed = failures(grounds, made, segments, plan.episodes)
    found = sum(row.outcome == "found" for row in segments)
    left = sum(len(failure.causes) for failure in failed if not failure.mended)
    return Dailies(
        series=title,
        night=night,
        made=now.astimezone(UTC).isoformat(timespec="seconds"),
        zone=rules.zone.key,
        bill=bill(runs, made, grounds.night, found, left),
        failures=failed,
        episodes=_episodes(grounds, [each for each in made if each.touched], segments, place),
        calls=calls(runs),
        next=coming(grounds, plan, tonight, spent),
    )


def _episodes(
    grounds: Grounds, made: Sequence[Tally], segments: Sequence[SegmentRow], beside: Path
) -> tuple[EpisodeNight, ...]:
    rendered: dict[str, list[SegmentRow]] = defaultdict(list)
    for row in segments:
        if row.outcome == "rendered":
            rendered[row.episode].append(row)
    sheets = [plan_sheet(_folder(grounds, each), rendered[each.last.episode]) for each in made]
    width = width_for(sheets)
    store = Store(grounds.store, grounds.cluster.cache.limit)
    return tuple(
        _episode(each, sheet, store, width, beside)
        for each, sheet in zip(made, sheets, strict=True)
    )


def _episode(tally: Tally, sheet: Sheet, store: Store, width: int, beside: Path) -> EpisodeNight:
    row, folder = tally.last, sheet.folder
    findings, stale = _findings(folder)
    made = EpisodeNight(
        name=row.episode,
        title=row.title,
        outcome=row.outcome,
        calls=tally.calls,
        rendered=tally.rendered,
        reused=tally.reused,
        failed=tally.failed,
        film_seconds=row.film_seconds,
        gpu_seconds=tally.gpu_seconds,
        estimate_seconds=tally.estimate_seconds,
        money=tally.money,
        second_gpu=tally.second_gpu,
        second_money=tally.second_money,
        folder=_from(beside, folder),
        report=_there(folder / PAGE, beside),
        film=_film(folder, beside),
        error=row.error,
        findings=findings,
        stale=stale,
    )
    return replace(made, sheet=tuple(pictures(sheet, store, width)))


def _folder(grounds: Grounds, tally: Tally) -> Path:
    """Where the film lies; films may have been moved since they were rendered."""
    here = grounds.folder / tally.last.episode
    return here if here.is_dir() else Path(tally.last.folder)


def _there(path: Path, beside: Path) -> str | None:
    return _from(beside, path) if path.is_file() else None


def _film(folder: Path, beside: Path) -> str | None:
    try:
        film = read_manifest(folder / MANIFEST).film
    except InputError:
        return None
    return None if film is None else _there(folder / film.file, beside)


def _from(beside: Path, path: Path) -> str:
    # From there, so that all can be moved together.
    try:
        return Path(os.path.relpath(path, beside)).as_posix()
    except ValueError:
        return path.absolute().as_posix()  # on another drive


def _findings(folder: Path) -> tuple[tuple[Finding, ...] | None, bool]:
    """What was found in a film, and whether some of it is of older pictures."""
    try:
        quality = read_quality(folder / FILE)
    except InputError:
        return None, False
    found = [Finding(v.level, v.text, v.shot) for v in quality.verdicts if v.level != "pass"]
    stale = False
    for take in quality.takes:
        worst = [verdict for verdict in take.verdicts if verdict.level != "pass"]
        if tag_of(master_of(folder, take.shot, take.take)) != take.tag:
            stale = True
            continue
        found += [Finding(verdict.level, verdict.text, take.shot) for verdict in worst]
    found.sort(key=lambda finding: finding.level != "fail")
    return tuple(found), stale
