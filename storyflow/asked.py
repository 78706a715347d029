"""How a film was asked for, so that its folder is enough to ask for it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """The storyboard and the options that decide what a film is made of, as absolute paths.

    `pipeline` and `cluster` are shipped names or files; `cluster` is None where it was an object,
    `store` where the cluster file names it, `series` where the film belongs to none.
    """

    storyboard: str
    pipeline: str
    settings: tuple[str, ...] = ()
    cluster: str | None = None
    store: str | None = None
    series: str | None = None


def asked_for(
    storyboard: str | None,
    pipeline: str | Path,
    settings: Sequence[str],
    cluster: object,
    store: str | Path | None,
    series: str | Path | None = None,
) -> Asked | None:
    """What to note of an order; None for a film that was built in Python.

    A wish for a preview is one run's, and a store's name that may hold a password is not noted.
    """
    if storyboard is None:
        return None
    kept = (text.strip() for text in settings)
    place = None if store is None else str(store)
    if place is not None and "://" not in place:
        place = str(Path(place).absolute())
    return Asked(
        storyboard=str(Path(storyboard).absolute()),
        pipeline=_named(pipeline),
        settings=tuple(text for text in kept if not text.startswith("deliver.preview")),
        cluster=_named(cluster) if isinstance(cluster, str | Path) else None,
        store=None if place is None or "@" in place else place,
        series=None if series is None else str(Path(series).absolute()),
    )


def _named(name: str | Path) -> str:
    """A shipped name as it is, a file by its absolute path."""
    path = Path(name)
    return str(path.absolute()) if path.is_file() else str(name)
