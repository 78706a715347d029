"""Titles and transitions of the cut: where they lie in the film, and how to tell of them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from storyflow.cutting.manifest import Manifest, ManifestShot
from storyflow.reporting.facts import Span


def titles(manifest: Manifest) -> Iterator[Span]:
    """Every title, from its first frame to its last."""
    yield from ()


def blends(manifest: Manifest) -> Iterator[Span]:
    """Every stretch in which two shots, or a shot and a colour, are mixed."""
    yield from ()


def extras(shot: ManifestShot, fps: Fraction) -> tuple[str, ...]:
    """A line for each title and transition of a shot."""
    return ()
