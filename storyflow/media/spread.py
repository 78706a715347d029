"""A few frames of a clip, spread evenly from its first to its last: what a captioner looks at.

The file is read as a stream, once for the times of its pictures and once for those that are wanted,
from key frame to key frame; memory does not grow with the clip's length.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from storyflow.media.decoding import brief, open_clip, pixel_shape, upright, video_of
from storyflow.media.fit import on_frame
from storyflow.media.picture import open_picture
from storyflow.media.reading import BadMedia, refuse_huge
from storyflow.timing import Size

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray
    from PIL import Image


@dataclass(frozen=True)
class Sight:
    """How much is looked at: so many frames, each of at most `area` pixels and of sides that are
    multiples of `grid`."""

    frames: int = 16
    area: int = 360 * 420
    grid: int = 28


@dataclass(frozen=True, eq=False)
class Spread:
    """Frames, uint8 [n, height, width, 3] RGB, `fps` of them a second (0 of a single one), from a
    clip of `seconds`."""

    frames: NDArray[np.uint8]
    fps: Fraction
    seconds: Fraction


@dataclass(frozen=True)
class _Index:
    """What a clip's pictures are called, in the order of their times; `keys` are key frames, none
    where the container has no times and pictures are counted instead."""

    names: Sequence[int]
    base: Fraction
    keys: Sequence[int]


def read_spread(path: Path, sight: Sight = Sight()) -> Spread:
    """The first frame of a clip, the last one and those evenly between, the right way up.

    A clip with fewer frames is read whole. The aspect is kept, and nothing is enlarged beyond the
    grid. Raises BadMedia for what is no clip, broken, HDR or absurdly large; OSError.
    """
    import av

    path.stat()
    try:
        index = _index(path)
        chosen = [index.names[place] for place in places(len(index.names), sight.frames)]
        found = _decode(path, index, chosen, sight)
    except BadMedia:
        raise
    except (av.FFmpegError, ValueError, ArithmeticError) as error:
        what = f"this can't be read as a clip ({brief(error)})"
        raise BadMedia("broken-media", what, "export it again, as MP4 with H.264") from None
    lasts = (index.names[-1] - index.names[0]) * index.base
    step = lasts / (len(index.names) - 1) if lasts else index.base
    apart = (chosen[-1] - chosen[0]) * index.base
    fps = (len(chosen) - 1) / apart if apart else Fraction(0)
    return Spread(np.stack([found[name] for name in chosen]), fps, lasts + step)


def read_still(path: Path, sight: Sight = Sight()) -> Spread:
    """A picture as a spread of one frame. Raises like `read_picture`."""
    image, _ = open_picture(path)
    return Spread(_seen(image, 1.0, sight)[None], Fraction(0), Fraction(0))


def spread_of(
    frames: Iterable[NDArray[np.uint8]],
    count: int,
    fps: Fraction,
    sight: Sight = Sight(),
) -> Spread:
    """The spread of a stream of `count` frames, uint8 [height, width, 3], at `fps`.

    The stream is read to its end; only the chosen frames are kept.
    """
    from PIL import Image

    chosen = places(count, sight.frames)
    wanted = set(chosen)
    kept = [
        _seen(Image.fromarray(frame), 1.0, sight)
        for number, frame in enumerate(frames)
        if number in wanted
    ]
    apart = (chosen[-1] - chosen[0]) / fps
    rate = (len(chosen) - 1) / apart if apart else Fraction(0)
    return Spread(np.stack(kept), rate, count / fps)


def places(count: int, wanted: int) -> list[int]:
    """`wanted` places in `count`, the first and the last included, as evenly as whole ones can be.

    >>> places(97, 5)
    [0, 24, 48, 72, 96]
    """
    if count <= wanted:
        return list(range(count))
    if wanted == 1:
        return [0]
    return [round(Fraction(place * (count - 1), wanted - 1)) for place in range(wanted)]


def fitted(width: float, height: float, sight: Sight) -> Size:
    """The size at which a picture of this shape is looked at.

    >>> fitted(1920, 1080, Sight())
    Size(width=532, height=280)
    """
    scale = min(1.0, sqrt(sight.area / (width * height)))
    across = max(1, round(width * scale / sight.grid))
    down = max(1, round(height * scale / sight.grid))
    while across * down * sight.grid**2 > sight.area and max(across, down) > 1:
        across, down = (across - 1, down) if across >= down else (across, down - 1)
    return Size(across * sight.grid, down * sight.grid)


def _seen(image: Image.Image, stretch: float, sight: Sight) -> NDArray[np.uint8]:
    size = fitted(image.width * stretch, image.height, sight)
    return on_frame(image, size, "crop", stretch=stretch)


def _index(path: Path) -> _Index:
    with open_clip(path) as container:
        stream = video_of(container)
        base = stream.time_base
        counted = base is None or "avi" in container.format.name
        stamps: list[int] = []
        keys: list[int] = []
        for packet in container.demux(stream):
            if not packet.size or packet.is_discard:
                continue
            if packet.pts is None:
                counted = True
                break
            stamps.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
        rate = stream.average_rate or Fraction(24)
    if counted or base is None:
        with open_clip(path) as container:
            count = sum(1 for _ in container.decode(video_of(container)))
        stamps, keys, base = list(range(count)), [], 1 / rate
    if not stamps:
        raise BadMedia("empty-clip", "this clip holds no pictures", "export it again")
    return _Index(sorted(set(stamps)), base, sorted(keys))


def _decode(
    path: Path, index: _Index, chosen: Sequence[int], sight: Sight
) -> dict[int, NDArray[np.uint8]]:
    """The chosen pictures by name."""
    import av

    found: dict[int, NDArray[np.uint8]] = {}
    with open_clip(path) as container:
        stream = video_of(container)
        stream.codec_context.thread_type = "AUTO"
        with suppress(av.FFmpegError):  # not every file can be sought in
            _collect(container, stream, index, chosen, sight, found, seeks=bool(index.keys))
    if len(found) < len(chosen) and index.keys:
        with open_clip(path) as container:
            stream = video_of(container)
            _collect(container, stream, index, chosen, sight, found, seeks=False)
    if len(found) < len(chosen):
        what = f"only {len(found)} of {len(chosen)} frames of this clip can be decoded"
        raise BadMedia("broken-media", what, "export it again, as MP4 with H.264")
    return found


def _collect(
    container: InputContainer,
    stream: VideoStream,
    index: _Index,
    chosen: Sequence[int],
    sight: Sight,
    found: dict[int, NDArray[np.uint8]],
    *,
    seeks: bool,
) -> None:
    shape = pixel_shape(stream)
    wanted = [name for name in chosen if name not in found]
    while wanted:
        before = len(wanted)
        if seeks:
            container.seek(wanted[0], stream=stream, backward=True)
        for number, frame in enumerate(container.decode(stream)):
            name = number if not index.keys else frame.pts
            if name is not None and name in wanted and not frame.is_corrupt:
                refuse_huge(frame.width, frame.height, "clip")
                found[name] = _seen(*upright(frame, shape), sight)
                wanted.remove(name)
            if not wanted:
                return
            # Only after a find: frames that lead a key frame have earlier times than it.
            if seeks and len(wanted) < before and _far(frame.pts, wanted[0], index.keys):
                break
        else:
            return


def _far(here: int | None, there: int, keys: Sequence[int]) -> bool:
    """Whether a key frame lies between, so that seeking saves decoding."""
    return here is not None and bisect_right(keys, there) > bisect_right(keys, here)
