"""`handover.json`: what a hand-over folder holds, and which names were given away.

A take keeps its file name, its reel and the timecode of its shot's first frame for ever; its
version goes up when its pictures change.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

from storyflow.asked import Asked
from storyflow.cutting.filed import Filed
from storyflow.timeline.media import Media, TakeName, url_of
from storyflow.timing import nominal

RECORD = "handover.json"
"""Name of the file in a hand-over folder."""

MEDIA = "media"
"""Name of the folder in it that holds the takes."""

REEL_LENGTH = 8
"""Characters of a reel name in a CMX 3600 EDL."""

_LEAD = 10
"""Seconds kept free before a shot's first frame, for its handle."""

_DAY = 24 * 3600


@dataclass(frozen=True)
class HandedTake:
    """A take's names. `zero` is the timecode of its shot's first frame, in frames."""

    shot: str
    take: int
    name: str
    reel: str
    zero: int
    frames: int


@dataclass(frozen=True)
class HandedFile:
    """One version of a take: a file in `media`. `digest` stands for its pictures and format.

    `first` is what its first frame is in the shot.
    """

    shot: str
    take: int
    version: int
    file: str
    digest: str
    frames: int
    first: int
    size: int


@dataclass(frozen=True)
class Handed:
    """What a folder holds. `storyboard` is the way to it from the folder, `asked` the options."""

    film: str
    fps: str
    storyboard: str = ""
    asked: Asked | None = None
    takes: tuple[HandedTake, ...] = ()
    files: tuple[HandedFile, ...] = ()
    storyflow: Literal[1] = field(default=1, kw_only=True)

    @property
    def rate(self) -> Fraction:
        """Frames a second."""
        return Fraction(self.fps)

    def named(self, shot: str, take: int) -> HandedTake | None:
        """The names of a take, None where it was never handed over."""
        return next((t for t in self.takes if (t.shot, t.take) == (shot, take)), None)

    def with_take(self, shot: str, take: int, frames: int) -> Handed:
        """The same with names for a take, if it has none yet; `frames` is its length."""
        if self.named(shot, take) is not None:
            return self
        made = HandedTake(
            shot=shot,
            take=take,
            name=self._free_name(shot, take),
            reel=self._free_reel(shot, take),
            zero=self._free_time(),
            frames=frames,
        )
        return replace(self, takes=(*self.takes, made))

    def versions(self, shot: str, take: int) -> tuple[HandedFile, ...]:
        """The versions of a take, the oldest first."""
        found = [file for file in self.files if (file.shot, file.take) == (shot, take)]
        return tuple(sorted(found, key=lambda file: file.version))

    def with_file(self, file: HandedFile) -> Handed:
        """The same with one more version, in place of one of the same number."""
        others = (f for f in self.files if f.file != file.file)
        return replace(self, files=(*others, file))

    def media(self, current: Mapping[TakeName, HandedFile] | None = None) -> tuple[Media, ...]:
        """Every file as timelines name it; `current` are those in use, by default the newest."""
        if current is None:
            current = {(f.shot, f.take): f for f in sorted(self.files, key=lambda f: f.version)}
        found = []
        for file in self.files:
            names = self.named(file.shot, file.take)
            if names is None:
                continue
            found.append(
                Media(
                    shot=file.shot,
                    take=file.take,
                    url=url_of(Path(MEDIA) / file.file),
                    frames=file.frames,
                    first=file.first,
                    start=self.start(names, file.first),
                    reel=names.reel,
                    current=current.get((file.shot, file.take)) == file,
                )
            )
        return tuple(found)

    def start(self, names: HandedTake, first: int) -> int:
        """The timecode of a file's first frame, in frames."""
        return (names.zero + first) % (_DAY * nominal(self.rate))

    def _free_name(self, shot: str, take: int) -> str:
        plain = re.sub(r"[^A-Za-z0-9-]+", "-", _bare(shot)).strip("-") or "shot"
        taken = {each.name.lower() for each in self.takes}
        name, number = f"{plain}_t{take}", 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}-{number}_t{take}"
        return name

    def _free_reel(self, shot: str, take: int) -> str:
        plain = re.sub(r"[^A-Z0-9]", "", _bare(shot).upper())
        reel = f"{plain}T{take}"
        taken = {each.reel for each in self.takes}
        number = len(self.takes) + 1
        while len(reel) > REEL_LENGTH or reel in taken or not plain:
            plain, reel = "R", f"R{number:05}"
            number += 1
        return reel

    def _free_time(self) -> int:
        """The next minute after the last take, and the lead."""
        second = nominal(self.rate)
        ends = [take.zero + take.frames for take in self.takes]
        after = max(ends, default=3600 * second - 1)
        minute = 60 * second
        return (after // minute + 1) * minute + _LEAD * second


def _bare(text: str) -> str:
    """Letters without their accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def read_handed(folder: Path) -> Handed | None:
    """The record of a hand-over folder, None where there is none. Raises InputError: broken."""
    path = folder / RECORD
    return _FILED.read(path) if path.exists() else None


def write_handed(folder: Path, handed: Handed) -> None:
    """Write the record, aside and renamed. Raises CutError when the disk refuses."""
    _FILED.write(folder / RECORD, handed)


_FILED = Filed(
    Handed,
    "a hand-over's record",
    "check the folder",
    "hand over into another folder",
)
