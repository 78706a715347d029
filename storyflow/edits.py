"""The verbs for editing programs: hand a film over, and bring an edit of it back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from storyflow.claim import claimed
from storyflow.cutlist import CutList, cut_path, cut_text
from storyflow.cutting.aside import written_aside
from storyflow.errors import InputError
from storyflow.film import Order, prepare
from storyflow.ordering import Options, Storyboard, asked_again, asked_with, order
from storyflow.planning.nodes import Plan
from storyflow.record import read_record

if TYPE_CHECKING:
    from storyflow.timeline.handed import Handed
    from storyflow.timeline.handover import Handover, HandoverFormat
    from storyflow.timeline.media import Media

FOLDER = "handover"
"""Name of the folder beside the film that it is handed over in, where none is named."""


@dataclass(frozen=True)
class Conform:
    """An edit, brought back: the cut list, its file, the film as it will be.

    `notes` are lines about what of the edit a film can't show.
    """

    cut: CutList
    file: Path
    plan: Plan
    notes: tuple[str, ...]


def handover(
    film: Storyboard,
    *,
    to: str | Path | None = None,
    format: HandoverFormat = "prores",
    notify: Callable[[str], None] = lambda _: None,
    **options: Unpack[Options],
) -> Handover:
    """Write a folder that editing programs open: takes, timelines, stills, shot list.

    The film's folder will do in place of its storyboard; the hand-over lies in it, or at `to`.
    `notify` is told the name of each file that is written. Renders nothing. Raises InputError,
    CutError, StoreError.
    """
    from storyflow.timeline.handover import hand_over

    film, options = asked_again(film, options)
    what = order(film, **options)
    folder = Path(to) if to is not None else what.folder / FOLDER
    with claimed(folder):
        return hand_over(what, folder, format=format, notify=notify)


def conform(
    edit: str | Path,
    film: Storyboard | None = None,
    /,
    *,
    skip_unknown: bool = False,
    **options: Unpack[Options],
) -> Conform:
    """Write what an editor made of a film, as `x.cut.yaml` beside its storyboard `x.yaml`.

    Without `film` it is the one whose folder or hand-over the edit lies in. With
    `skip_unknown` media of other films are left out. Nothing is written unless the film can be
    planned by it. Raises InputError.
    """
    from storyflow.timeline.conform import conform as conform_edit
    from storyflow.timeline.reading import read_edit

    edit = Path(edit)
    around = _handed_around(edit)
    if around is not None and around[1].asked is not None:
        options = asked_with(around[1].asked, options)
    film, options = asked_again(film if film is not None else _film_of(edit, around), options)
    options["edit"] = False
    what = order(film, **options)
    if what.film.origin.file is None:
        raise InputError(
            "a film that stands in no file has no place for a cut list",
            cure="save it as a storyboard first",
        )
    plan = prepare(what).plan
    edited = read_edit(edit, plan.fps)
    made = conform_edit(
        edited, plan, _media(what, plan, around), edit.name, skip_unknown=skip_unknown
    )
    path = cut_path(Path(what.film.origin.file))
    cut = replace(made.cut, file=str(path))
    planned = prepare(replace(what, cut=cut)).plan
    with written_aside(path) as target:
        target.write_text(cut_text(cut), encoding="utf-8")
    return Conform(cut, path, planned, made.notes)


def _handed_around(edit: Path) -> tuple[Path, Handed] | None:
    """The hand-over folder that an edit lies in, and its record."""
    from storyflow.timeline.handed import read_handed

    for folder in list(edit.absolute().parents)[:3]:
        found = read_handed(folder)
        if found is not None:
            return folder, found
    return None


def _film_of(edit: Path, around: tuple[Path, Handed] | None) -> Path:
    """The storyboard of the hand-over that an edit lies in, or the film's folder that it lies in.

    Raises InputError.
    """
    if around is not None:
        folder, handed = around
        path = Path(os.path.normpath(folder / handed.storyboard))
        if handed.storyboard and path.is_file():
            return path
    beside = edit.absolute().parent
    record = read_record(beside)
    if record is not None and record.asked is not None:
        return beside
    raise InputError(
        f"{edit} does not say which film it is an edit of",
        cure=f"name the storyboard: storyflow conform {edit.name} FILM.yaml",
    )


def _media(what: Order, plan: Plan, around: tuple[Path, Handed] | None) -> Iterator[Media]:
    """Every file that an edit of the film may name."""
    from storyflow.timeline.handed import read_handed
    from storyflow.timeline.media import masters

    yield from masters(plan).values()
    handed = around[1] if around is not None else read_handed(what.folder / FOLDER)
    if handed is not None:
        yield from handed.media()
