"""The last frames before a clip's end: what an extension continues.

The file is read as a stream, twice: once for the times of its pictures, without decoding any, and
once from the key frame before the first picture that is wanted. Memory does not grow with the
clip's length.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from storyflow.media.decoding import brief, open_clip, pixel_shape, upright, video_of
from storyflow.media.fit import Fit, on_frame
from storyflow.media.reading import BadMedia, Reading, refuse_huge
from storyflow.timing import Size

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

_MOST_RECENT = 10_000
"""Time stamps held at once while a clip is read."""

_SEEK_MARGIN = Fraction(1)
"""Seconds before the first wanted picture: a key frame may stand a little after its own time."""


def read_tail(path: Path, frames: int, fps: Fraction, size: Size, fit: Fit) -> Reading:
    """The `frames` pictures before a clip's end at `fps` a second, the last one included.

    In a clip of another rate, or of a changing one, each is the picture that is seen when the model
    expects one, and a notice says so. Colours are converted by the file's tags, bt709
    where it has none; a phone's clip is turned upright. Raises BadMedia: no video, broken, cut
    off, too short, HDR, absurdly large.
    """
    import av

    try:
        times = _times(path, frames / fps + 2)
        chosen = _chosen(times, frames, fps)
        return Reading(_pictures(path, times, chosen, size, fit), _notices(times, chosen, fps))
    except BadMedia:
        raise
    except (av.FFmpegError, ValueError, ArithmeticError) as error:
        what = f"this can't be read as a clip ({brief(error)})"
        raise BadMedia("broken-media", what, "export it again, as MP4 with H.264") from None


@dataclass(frozen=True)
class _Times:
    """When the pictures of a clip's end stand, in ascending seconds.

    `names` are what they are called when they are decoded: their time stamps, or, where the file
    has none (`counted`), their numbers from the first.
    """

    names: Sequence[int]
    seconds: Sequence[Fraction]
    counted: bool


def _times(path: Path, span: Fraction) -> _Times:
    """The times of all pictures in the last `span` seconds."""
    with open_clip(path) as container:
        stream = video_of(container)
        base, rate, promised = stream.time_base, stream.average_rate, stream.frames
        read = _read_stamps(container, stream, span)
        # Only a Matroska file hides that it was cut off: others have an index, or no end.
        lasts = container.duration if "matroska" in container.format.name else None
        start = container.start_time or 0
        counted = "avi" in container.format.name  # its times are those of decoding
    if not read.count:
        raise BadMedia("empty-clip", "this clip holds no pictures", "export it again")
    if promised - read.count > max(2, promised // 100):
        what = f"this clip is cut off: {read.count} of its {promised} pictures are there"
        raise BadMedia("broken-media", what, "copy or export it again")
    if lasts is not None and Fraction(start + lasts, 1_000_000) - read.reached > 1:
        seconds = f"{float(read.reached):.1f} of its {lasts / 1_000_000:.1f} seconds are there"
        raise BadMedia("broken-media", f"this clip is cut off: {seconds}", "copy it again")
    if counted or read.stamps is None or base is None:
        return _counted_times(path, span, rate)
    return _Times(read.stamps, [stamp * base for stamp in read.stamps], counted=False)


@dataclass(frozen=True)
class _Stamps:
    """Time stamps of the last pictures in ticks, ascending, None where any has none; how many
    pictures there are in all; and the time, in seconds, that any of the file's streams reaches."""

    stamps: list[int] | None
    count: int
    reached: Fraction


def _read_stamps(container: InputContainer, stream: VideoStream, span: Fraction) -> _Stamps:
    recent: set[int] = set()
    last, count, reached = 0, 0, Fraction(0)
    timed = stream.time_base is not None
    room = int(span / stream.time_base) if stream.time_base else 0
    for packet in container.demux():
        if not packet.size:
            continue
        if packet.pts is not None and packet.time_base is not None:
            reached = max(reached, packet.pts * packet.time_base)
        if packet.stream_index != stream.index:
            continue
        count += 1
        timed = timed and packet.pts is not None
        if packet.pts is None or packet.is_discard:
            continue
        last = max(last, packet.pts) if recent else packet.pts
        recent.add(packet.pts)
        if len(recent) > _MOST_RECENT:
            recent = set(_from(recent, last - room))
            if len(recent) > _MOST_RECENT // 2:
                what = f"this clip has {len(recent):,} pictures within {float(span):.1f}s"
                raise BadMedia("broken-media", what, "export it again at a common frame rate")
    stamps = _from(recent, last - room) if timed else []
    return _Stamps(stamps or None, count, reached)


def _from(stamps: set[int], start: int) -> list[int]:
    """Those from `start` on, and the one before: its picture may still be seen then."""
    ordered = sorted(stamps)
    return ordered[max(0, bisect_left(ordered, start) - 1) :]


def _counted_times(path: Path, span: Fraction, rate: Fraction | None) -> _Times:
    """Times by counting, for containers that keep none: every picture is decoded."""
    rate = rate or Fraction(24)
    with open_clip(path) as container:
        count = sum(1 for _ in container.decode(video_of(container)))
    if not count:
        raise BadMedia("empty-clip", "this clip holds no pictures", "export it again")
    numbers = range(max(0, count - int(span * rate) - 1), count)
    return _Times(numbers, [number / rate for number in numbers], counted=True)


def _chosen(times: _Times, frames: int, fps: Fraction) -> list[int]:
    """Places in `times` of the pictures nearest to the model's times, the last one the last."""
    end = times.seconds[-1]
    first = end - (frames - 1) / fps
    # A whole picture early is too short; what rounded time stamps cost is not.
    if first < times.seconds[0] - Fraction(1, 2) / fps:
        length = end - times.seconds[0] + 1 / fps
        what = (
            f"this clip lasts {float(length):.2f}s; the model reads its last {frames} frames, "
            f"{float(frames / fps):.2f}s"
        )
        raise BadMedia("short-clip", what, "give a longer clip, or start from a picture of it")
    wanted = (first + number / fps for number in range(frames))
    return [_seen(times.seconds, time, Fraction(1, 2) / fps) for time in wanted]


def _seen(seconds: Sequence[Fraction], time: Fraction, reach: Fraction) -> int:
    """The picture that is seen at a time, or the next where that is nearer and within `reach`."""
    after = bisect_left(seconds, time)
    if after == 0:
        return 0
    early, late = time - seconds[after - 1], seconds[after] - time
    return after if late <= min(early, reach) else after - 1


def _notices(times: _Times, chosen: Sequence[int], fps: Fraction) -> tuple[str, ...]:
    if all(b == a + 1 for a, b in pairwise(chosen)):
        return ()
    read = times.seconds[chosen[0] :]
    steps = [b - a for a, b in pairwise(read)]
    # Containers round times to milliseconds: 41 and 42 are one rate.
    if max(steps) - min(steps) > max(Fraction(1, 400), min(steps) / 10):
        return ("the clip's frame rate varies: frames are chosen by their times",)
    rate = len(steps) / (read[-1] - read[0])
    return (
        f"the clip plays at {float(rate):.4g} frames a second, the model at {float(fps):.4g}: "
        "frames are chosen by their times",
    )


def _pictures(
    path: Path, times: _Times, chosen: Sequence[int], size: Size, fit: Fit
) -> NDArray[np.uint8]:
    """The chosen pictures, uint8 [n, height, width, 3]."""
    import av

    wanted = {times.names[place] for place in chosen}
    found: dict[int, NDArray[np.uint8]] = {}
    if not times.counted:
        near = times.seconds[chosen[0]] - _SEEK_MARGIN
        with suppress(av.FFmpegError):  # not every file can be sought in
            found = _decode(path, wanted, near, counted=False, size=size, fit=fit)
    if len(found) < len(wanted):
        found = _decode(path, wanted, None, counted=times.counted, size=size, fit=fit)
    if len(found) < len(wanted):
        what = "the end of this clip can't be decoded"
        raise BadMedia("broken-media", what, "export it again, as MP4 with H.264")
    return np.stack([found[times.names[place]] for place in chosen])


def _decode(
    path: Path, wanted: set[int], near: Fraction | None, *, counted: bool, size: Size, fit: Fit
) -> dict[int, NDArray[np.uint8]]:
    """The wanted pictures by name, as far as they are found, decoding from the key frame before
    `near` seconds, or all that comes before them."""
    found: dict[int, NDArray[np.uint8]] = {}
    with open_clip(path) as container:
        stream = video_of(container)
        stream.codec_context.thread_type = "AUTO"
        if near is not None and stream.time_base is not None:
            container.seek(int(near / stream.time_base), stream=stream, backward=True)
        for number, frame in enumerate(container.decode(stream)):
            name = number if counted else frame.pts
            if name in wanted and not frame.is_corrupt:
                refuse_huge(frame.width, frame.height, "clip")
                image, stretch = upright(frame, pixel_shape(stream))
                found[name] = on_frame(image, size, fit, stretch=stretch)
                if len(found) == len(wanted):
                    break
    return found
