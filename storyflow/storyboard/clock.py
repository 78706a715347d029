"""From what authors write about time to whole frames.

Seconds are counted at the film's nominal rate. A time between two frames goes to the nearest one,
and the author is told.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor

from storyflow.storyboard.model import Defaults, Shot
from storyflow.storyboard.report import Report, Spot
from storyflow.timing import Duration, nominal

SHOT_SECONDS = Duration(seconds=Fraction(4))
"""How long a shot lasts when neither it nor any default says."""


def to_frames(
    duration: Duration, rate: Fraction, spot: Spot, at: str, report: Report, *, least: int = 0
) -> int:
    """The nearest whole number of frames, with a notice where that is not what was written."""
    exact = duration.to_frames(rate)
    frames = exact.numerator if exact.denominator == 1 else floor(exact + Fraction(1, 2))
    if frames < least:
        cure = f"one frame is 1/{nominal(rate)} s"
        report.error(
            spot, at, "absurd-duration", "shorter than a frame", value=str(duration), cure=cure
        )
    elif frames != exact:
        what = f"{duration} falls between two frames: {frames} frames are used"
        report.notice(spot, at, "rounded-duration", what, cure=f"write {frames}f")
    return max(frames, least)


def as_time(frames: int, rate: Fraction) -> str:
    """Frames for messages: `8s`, `1:30` or, between seconds, `100f`."""
    seconds, rest = divmod(frames, nominal(rate))
    if rest:
        return f"{frames}f"
    return f"{seconds // 60}:{seconds % 60:02}" if seconds >= 60 else f"{seconds}s"


def beat_frames(
    shot: Shot, defaults: list[Defaults | None], rate: Fraction, spot: Spot, report: Report
) -> list[int]:
    """Screen time of each beat, in frames; a shot without beats is one beat.

    `defaults` are the film's and the scene's. A shot's time is the sum of its beats'; one beat
    without a time takes the rest of the shot's.
    """
    said = [level.dur for level in defaults if level is not None and level.dur is not None]
    fallback = said[-1] if said else SHOT_SECONDS
    beats = shot.beats or ()
    if len(beats) <= 1:
        only = beats[0].dur if beats else None
        if only is None:
            return [to_frames(shot.dur or fallback, rate, spot, "dur", report, least=1)]
        times = [to_frames(only, rate, spot, "beats.0.dur", report, least=1)]
    else:
        times = [
            0
            if beat.dur is None
            else to_frames(beat.dur, rate, spot, f"beats.{n}.dur", report, least=1)
            for n, beat in enumerate(beats)
        ]
    silent = [number for number, beat in enumerate(beats) if beat.dur is None]
    if len(silent) > 1:
        cure = "give all but one of them a dur"
        for number in silent[1:]:
            what = "only one beat of a shot can take the rest of its time"
            report.error(spot, f"beats.{number}", "beats-without-dur", what, cure=cure)
        return [time or 1 for time in times]
    if shot.dur is None:
        if silent:
            what = "nothing says how long this beat lasts"
            cure = "give it a dur, or give the shot one"
            report.error(spot, f"beats.{silent[0]}", "beats-without-dur", what, cure=cure)
        return [time or 1 for time in times]
    whole = to_frames(shot.dur, rate, spot, "dur", report, least=1)
    sum_, length = as_time(sum(times), rate), as_time(whole, rate)
    if silent and whole > sum(times):
        times[silent[0]] = whole - sum(times)
    elif silent:
        what = f"the other beats last {sum_}, so nothing of {length} is left for this one"
        cure = "make the shot longer or a beat shorter"
        report.error(spot, f"beats.{silent[0]}", "beats-differ", what, cure=cure)
    elif whole != sum(times):
        what = f"the beats last {sum_}, the shot's dur says {length}"
        report.error(spot, "dur", "beats-differ", what, cure="remove the shot's dur, or change one")
    return [time or 1 for time in times]
