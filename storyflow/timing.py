"""Exact time: frames are whole numbers, rates are fractions, nothing is a float.

A storyboard's seconds are counted at the film's *nominal* rate, as timecode is: at 23.976
(24000/1001) one second is 24 frames, so `2:00` is 2880 frames at every rate that replays the
model's 24.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

RATE_NAMES = {
    "23.976": Fraction(24000, 1001),
    "23.98": Fraction(24000, 1001),
    "29.97": Fraction(30000, 1001),
    "59.94": Fraction(60000, 1001),
}

LONGEST_FRAMES = 24 * 3600 * 24
"""A day at 24 fps: longer durations are typing errors."""


def parse_rate(value: object) -> Fraction:
    """Frames per second from `24`, `23.976`, `"24000/1001"`; raises ValueError."""
    text = str(value).strip()
    if isinstance(value, bool) or not text:
        raise ValueError("a frame rate is a number such as 24 or 23.976")
    if text in RATE_NAMES:
        return RATE_NAMES[text]
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6}|/\d{1,6})?", text):
        raise ValueError("a frame rate is a number such as 24 or 23.976")
    try:
        rate = Fraction(text)
    except ZeroDivisionError:
        rate = Fraction(0)
    if not 1 <= rate <= 240:
        raise ValueError("a frame rate lies between 1 and 240")
    return rate


def nominal(rate: Fraction) -> int:
    """The whole number of frames that timecode counts as one second (24 for 24000/1001)."""
    return -(-rate.numerator // rate.denominator)


def timecode(frame: int, rate: Fraction) -> str:
    """`HH:MM:SS:FF`, non-drop, counted at the nominal rate."""
    base = nominal(rate)
    seconds, frames = divmod(frame, base)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}:{frames:02}"


def parse_timecode(text: str, rate: Fraction) -> int:
    """The frame that `timecode` writes as `text`; raises ValueError."""
    match = re.fullmatch(r"(\d{1,2}):([0-5]?\d):([0-5]?\d):(\d{1,3})", text.strip())
    if match is None or int(match[4]) >= nominal(rate):
        raise ValueError("a timecode is HH:MM:SS:FF, without dropped frames")
    hours, minutes, seconds, frames = map(int, match.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * nominal(rate) + frames


@dataclass(frozen=True)
class Duration:
    """A length of time as its author wrote it: in seconds or in frames, one of the two."""

    seconds: Fraction | None = None
    frames: int | None = None

    def to_frames(self, rate: Fraction) -> Fraction:
        """Frames at the nominal rate; a fraction where the author's time falls between two."""
        if self.frames is not None:
            return Fraction(self.frames)
        assert self.seconds is not None
        return self.seconds * nominal(rate)

    def __str__(self) -> str:
        """The shortest text that `parse_duration` reads back as the same value."""
        if self.frames is not None:
            return f"{self.frames}f"
        assert self.seconds is not None
        if self.seconds.denominator == 1:
            return f"{self.seconds.numerator}s"
        return f"{_decimal(self.seconds)}s"


def parse_duration(value: object) -> Duration:
    """`8`, `8.5`, `"8s"`, `"1:30"`, `"1:02:03.5"` or `"192f"`; raises ValueError with the cure."""
    help_text = "write seconds (8 or 8s), minutes and seconds (1:30) or frames (192f)"
    if isinstance(value, Duration):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float | Fraction):
        raise ValueError(help_text)
    if isinstance(value, Fraction):
        return Duration(seconds=value)
    text = str(value).strip().lower()
    if match := re.fullmatch(r"(\d{1,9})f", text):
        return Duration(frames=int(match[1]))
    if match := re.fullmatch(r"(?:(\d{1,3}):)?(\d{1,4}):([0-5]?\d(?:\.\d{1,6})?)", text):
        hours, minutes = int(match[1] or 0), int(match[2])
        return Duration(seconds=Fraction(match[3]) + 60 * minutes + 3600 * hours)
    if match := re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*s?", text):
        return Duration(seconds=Fraction(match[1]))
    raise ValueError(help_text)


def _decimal(value: Fraction) -> str:
    text = f"{float(value):.6f}".rstrip("0").rstrip(".")
    return text


@dataclass(frozen=True, order=True)
class Size:
    """A picture size in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def parse_size(value: object) -> Size:
    """`960x544`; raises ValueError."""
    if isinstance(value, Size):
        return value
    match = re.fullmatch(r"(\d{1,5})\s*[x×*]\s*(\d{1,5})", str(value).strip().lower())  # noqa: RUF001
    if not match or not (16 <= int(match[1]) <= 8192 and 16 <= int(match[2]) <= 8192):
        raise ValueError("a picture size is WIDTHxHEIGHT in pixels, such as 960x544")
    return Size(int(match[1]), int(match[2]))
