"""Which folder a film lies in, from the folder itself, a file in it, or its storyboard."""

from __future__ import annotations

from pathlib import Path

from storyflow.errors import InputError

MANIFEST = "film.json"


def film_folder(film: str | Path, out: str | Path | None = None) -> Path:
    """The folder of a rendered film: `film` is it, a file in it, or the film's storyboard.

    A storyboard's film is in `out`, else in `renders/STORYBOARD`. Raises InputError where there is
    no film.
    """
    path = Path(film)
    if path.is_dir():
        folder = path
    elif path.suffix in (".yaml", ".yml"):
        folder = Path(out) if out is not None else Path("renders") / path.stem
    else:
        folder = path.parent
    if not (folder / MANIFEST).is_file():
        raise InputError(
            f"there is no film in {folder}: it has no {MANIFEST}",
            cure="render it first, or name its folder",
        )
    return folder
