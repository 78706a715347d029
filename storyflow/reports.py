"""The verb `report`: look at a film that lies in a folder."""

from __future__ import annotations

from pathlib import Path

from storyflow.claim import claimed
from storyflow.filmfolder import film_folder
from storyflow.reporting.write import Report, write_report


def report(film: str | Path, *, out: str | Path | None = None) -> Report:
    """Write `report.html`, `contact.png` and `contact.jpg` beside a film that was cut before.

    `film` is its folder, a file in it, or its storyboard; `out` is where a storyboard's film was
    rendered to. Takes in what was found by `qc` since. Raises InputError where there is no film,
    InfrastructureError while a run renders into the folder, CutError when the disk refuses.
    """
    with claimed(film_folder(film, out)) as folder:
        return write_report(folder)
