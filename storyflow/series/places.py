"""Where the rules of a series put things: its cluster file, its store, its films."""

from __future__ import annotations

import re
from pathlib import Path

from storyflow.series.load import from_folder, shipped_or_file
from storyflow.series.model import Series


def cluster_named(series: Series) -> str:
    """The cluster file: a shipped name, or an absolute path."""
    named = series.rules.cluster
    return "local" if named is None else shipped_or_file(series, named)


def store_of(series: Series, default: str) -> str:
    """The store: an absolute path or a URL; `default` is the cluster file's."""
    return from_folder(series, series.rules.store or default)


def films_of(series: Series) -> Path:
    """The folder of the films, absolute; each has its own in it, called like the episode."""
    return Path(from_folder(series, series.rules.out or f"renders/{_stem(series)}"))


def _stem(series: Series) -> str:
    file = series.origin.file
    title = re.sub(r"[^\w]+", "-", series.series.lower()).strip("-")[:80] or "series"
    return Path(file).stem if file else title
