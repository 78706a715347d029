"""Looks at masters, kept in the film's folder: an edit looks again at what it has changed."""

from __future__ import annotations

import glob
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from storyflow.cutting.aside import written_aside
from storyflow.reporting.look import Asked, Look, Shown, look_at

FOLDER = ".report"
"""Where a film's folder keeps them."""


@dataclass(frozen=True)
class _Kept:
    look: Look
    format: Literal["storyflow look 1"] = "storyflow look 1"


def looked(folder: Path, master: Path, tag: str, asked: Asked) -> Look:
    """What `look_at` sees, kept for the next time. Raises what that raises, and CutError."""
    path = folder / FOLDER / name_of(master, asked)
    with suppress(OSError, ValidationError):
        look = _looks().validate_json(path.read_bytes()).look
        if look.tag == tag and look.asked == asked:
            return look
    look = look_at(master, tag, asked)
    with written_aside(path) as target:
        target.write_bytes(_looks().dump_json(_Kept(look)))
    return look


def picture(folder: Path, clip: Path, tag: str, frame: int) -> Shown:
    """One frame of a master or clip, as it was seen before or as it is seen now; keeps nothing.

    Raises what `look_at` raises.
    """
    for path in sorted((folder / FOLDER).glob(f"{glob.escape(clip.stem)} *.json")) if tag else ():
        with suppress(OSError, ValidationError):
            look = _looks().validate_json(path.read_bytes()).look
            if look.tag == tag and look.middle.frame == frame:
                return look.middle
    return look_at(clip, tag, Asked((frame,), frame, (), measure=False)).middle


def name_of(master: Path, asked: Asked) -> str:
    """The file of a look. A cut may show several pieces of one master."""
    return f"{master.stem} {asked.strip[0]}-{asked.strip[-1]}.json"


def forget_others(folder: Path, names: Collection[str]) -> None:
    """Remove the looks at what the film shows no more."""
    for path in (folder / FOLDER).glob("*.json"):
        if path.name not in names:
            with suppress(OSError):
                path.unlink()


@cache
def _looks() -> TypeAdapter[_Kept]:
    return TypeAdapter(_Kept)
