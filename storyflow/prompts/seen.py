"""What a captioner looks at before it helps with a prompt: the files, by their content."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from storyflow.prompts.settings import PromptsSection
from storyflow.storyboard.resolved import ResolvedShot


def seen_files(shot: ResolvedShot, settings: PromptsSection) -> tuple[str, ...]:
    """A hash of every picture and clip that a captioner sees for a shot; none without a captioner.

    A file that can't be read is left to the plan, which says so.
    """
    if settings.captioner == "none":
        return ()
    paths = [shot.source, shot.end]
    paths += [each.ref for beat in shot.beats for each in beat.who]
    known = dict.fromkeys(path for path in paths if path is not None)
    return tuple(digest for path in known if (digest := _digest(path)))


def _digest(path: Path) -> str:
    try:
        state = path.stat()
        return _hashed(path, state.st_size, state.st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=4096)
def _hashed(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
