"""The verb `qc FILM`: measure a film that lies in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from storyflow.claim import claimed
from storyflow.filmfolder import film_folder
from storyflow.qc.film import Progress, check_film
from storyflow.qc.limits import load_limits
from storyflow.qc.verdicts import Quality


def qc_film(
    film: str | Path,
    *,
    out: str | Path | None = None,
    vmaf: bool = False,
    limits: str | Path | None = None,
    settings: Sequence[str] = (),
    progress: Progress = lambda done, total: None,
) -> Quality:
    """Measure a film that was cut before and hold it against limits; `qc.json` lies beside it then.

    `film` is its folder, a file in it, or its storyboard; `out` is where a storyboard's film was
    rendered to. `limits` is a file in place of storyflow's own, `settings` are texts as
    `seam_ratio.warn=4`. Takes whose masters have not changed since are not measured again. Raises
    InputError where there is no film, a master is missing or damaged, or a limit makes no sense;
    InfrastructureError while a run renders into the folder; CutError when the disk refuses.
    """
    table = load_limits(None if limits is None else Path(limits), settings)
    with claimed(film_folder(film, out)) as folder:
        return check_film(folder, table, vmaf=vmaf, progress=progress)
