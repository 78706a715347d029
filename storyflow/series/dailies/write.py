"""Writing the dailies of a night: one page, and the same as JSON beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from storyflow.cutting.aside import written_aside
from storyflow.cutting.filed import Filed
from storyflow.errors import InputError
from storyflow.series.dailies.facts import Dailies
from storyflow.series.dailies.places import data_of, page_of
from storyflow.series.orders import Grounds
from storyflow.series.plan import EpisodePlan


@dataclass(frozen=True)
class Written:
    """What was written, and what it says."""

    page: Path
    data: Path
    dailies: Dailies


def write_dailies(
    grounds: Grounds,
    night: str | None,
    now: datetime,
    to: Path | None = None,
    planned: Iterable[EpisodePlan] | None = None,
) -> Written:
    """Write the dailies of a night (its date; None: the last one) to the films' folder or `to`.

    They plan the series, unless the rows of all episodes were `planned` just now.
    What was there is replaced, file by file. Raises InputError for another night, for a `to` that
    is no .html, and for the series file; InfrastructureError for store, ledger and disk.
    """
    from storyflow.series.dailies.gather import checked_night, gather, latest_night
    from storyflow.series.dailies.page import page

    if to is not None and to.suffix.lower() != ".html":
        raise InputError(f"{to} is no page", cure="name a file that ends in .html")
    date = latest_night(grounds, now) if night is None else checked_night(grounds, night, now)
    path = (to or page_of(grounds, date)).absolute()
    made = gather(grounds, date, now, path.parent, planned)
    _FILED.write(data_of(path), made)
    with written_aside(path) as target:
        target.write_text(page(made), "utf-8")
    return Written(path, data_of(path), made)


_FILED = Filed(
    Dailies,
    "the dailies of a night",
    "run storyflow series dailies first",
    "run storyflow series dailies again",
)
