"""Small films for whole-line tests: storyboards, and one call that renders them on slate."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import storyflow
from storyflow.events import Event, Result, SegmentDone
from storyflow.ordering import Options

SMALL = ("frame=96x64", "deliver.preset=ultrafast", "deliver.report=false")
"""Profile settings that make slate films quick."""

THREE_SHOTS = """\
film: Three shots
shots:
- {id: 1A, dur: 4s, do: a red circle rolls}
- id: 1B
  beats:
  - {dur: 5s, do: a blue star hops}
  - {dur: 4s, do: it turns left}
- {id: 1C, from: prev, dur: 2s, do: it rests}
"""


@dataclass(frozen=True)
class Rendered:
    """One run of a film."""

    result: Result
    events: tuple[Event, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Segments that were rendered, sorted."""
        done = (e for e in self.events if isinstance(e, SegmentDone))
        return tuple(sorted(e.segment for e in done if not e.reused))

    @property
    def sha256(self) -> str:
        assert self.result.film is not None
        return hashlib.sha256(self.result.film.read_bytes()).hexdigest()

    @property
    def manifest(self) -> dict:
        assert self.result.manifest is not None
        return json.loads(self.result.manifest.read_text())


class Studio:
    """A folder with a storyboard, a store and an output folder."""

    def __init__(self, folder: Path, text: str = THREE_SHOTS) -> None:
        self.folder = folder
        self.file = folder / "film.yaml"
        self.write(text)
        self.options: Options = {
            "pipeline": "slate",
            "settings": SMALL,
            "store": folder / "store",
            "out": folder / "out",
            "address": "in-process",
        }

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def edit(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.write(text.replace(old, new))

    def render(self, **options: object) -> Rendered:
        run = storyflow.start(self.file, **{**self.options, **options})
        events = tuple(run.events())
        return Rendered(run.result(), events)

    def retry(self) -> None:
        """Let the next render try again what failed for good."""
        storyflow.retry(self.file, **self.options)
