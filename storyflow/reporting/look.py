"""One quick look at a take's master: the pictures of its strip, and how its frames measure.

A master has a key frame every `GOP` frames and at each segment's beginning, and nothing between
depends on what comes later. So only the packets that lead to a wanted frame are decoded: five of
every other group for brightness, colour, sharpness and motion (a VAE writes four frames at a time,
and they differ), and the frames around each seam. That is about a third of a master; where its
series are known already, only the pictures.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from storyflow.errors import DamagedError
from storyflow.timing import Size

if TYPE_CHECKING:
    import numpy as np
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

AROUND = 12
"""Frames on each side of a seam that its motion is compared with."""

MEASURED = Size(480, 272)
"""Pictures are measured at this size at most."""

STRIP = Size(240, 240)
"""A strip's pictures fit into this."""

SHEET = Size(480, 480)
"""The contact sheet's pictures fit into this."""


@dataclass(frozen=True)
class Shown:
    """One picture of a take: its frame, and itself as WebP in base64."""

    frame: int
    webp: str
    width: int
    height: int

    @property
    def uri(self) -> str:
        """As a data URI."""
        return f"data:image/webp;base64,{self.webp}"


@dataclass(frozen=True)
class Samples:
    """What was measured of some `frames` of a take, one value each.

    As in `qc.series.Series`: mean CIE L*, a*, b* and distance from grey, variance of the luma's
    Laplacian, mean absolute difference of 8-bit luma to the frame before (None where that frame
    was not decoded).
    """

    frames: tuple[int, ...] = ()
    luma: tuple[float, ...] = ()
    a: tuple[float, ...] = ()
    b: tuple[float, ...] = ()
    chroma: tuple[float, ...] = ()
    sharpness: tuple[float, ...] = ()
    motion: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What to look at: frames for the strip, one for the contact sheet, first frames of segments.

    Without `measure` nothing is measured.
    """

    strip: tuple[int, ...]
    middle: int
    seams: tuple[int, ...]
    measure: bool


@dataclass(frozen=True)
class Look:
    """What was seen of the master with this tag. `samples` is None where nothing was measured."""

    tag: str
    asked: Asked
    strip: tuple[Shown, ...]
    middle: Shown
    samples: Samples | None = None


def look_at(master: Path, tag: str, asked: Asked) -> Look:
    """Look at a master. Memory is flat.

    Raises DamagedError for one that is truncated or unreadable, OSError for one that can't be
    opened.
    """
    strip: dict[int, Shown] = {}
    middle: Shown | None = None
    measured = _Measured()
    for index, frame in _decoded(master, asked):
        if index in asked.strip:
            strip[index] = _shown(index, frame, STRIP, 72)
        if index == asked.middle:
            middle = _shown(index, frame, SHEET, 88)
        if asked.measure:
            measured.add(index, _fitted(frame, MEASURED))
    absent = [frame for frame in asked.strip if frame not in strip]
    if middle is None or absent:
        last = absent[0] if absent else asked.middle
        raise DamagedError(f"{master} ends before frame {last}", cure="cut the film again")
    return Look(
        tag=tag,
        asked=asked,
        strip=tuple(strip[frame] for frame in asked.strip),
        middle=middle,
        samples=measured.samples if asked.measure else None,
    )


def _decoded(master: Path, asked: Asked) -> Iterator[tuple[int, VideoFrame]]:
    import av

    try:
        with av.open(str(master)) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            # Frame threads would hold frames back that end a group.
            context.thread_type = "SLICE"
            context.thread_count = 1
            group: list[Packet[VideoStream]] = []
            start = number = 0
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                if packet.is_keyframe and group:
                    yield from _group(context, group, start, number, asked)
                    start, number = start + len(group), number + 1
                    group = []
                group.append(packet)
            yield from _group(context, group, start, number, asked)
    except (av.FFmpegError, IndexError) as error:
        if isinstance(error, OSError):
            raise
        raise DamagedError(f"{master} can't be read: {error}", cure="cut the film again") from None


def _group(
    context: VideoCodecContext,
    packets: Sequence[Packet[VideoStream]],
    start: int,
    number: int,
    asked: Asked,
) -> Iterator[tuple[int, VideoFrame]]:
    """The first frames of a group, up to the last that is wanted."""
    stop = start + len(packets)
    wanted = [frame for frame in (*asked.strip, asked.middle) if start <= frame < stop]
    if asked.measure:
        if number % 2 == 0:
            wanted.append(min(start + 4, stop - 1))
        for seam in asked.seams:
            if seam - AROUND < stop and start < seam + AROUND:
                wanted.append(min(stop, seam + AROUND) - 1)
    if not wanted:
        return
    index = start
    for packet in packets[: max(wanted) + 1 - start]:
        for frame in context.decode(packet):
            yield index, frame
            index += 1
    for frame in context.decode(None):
        yield index, frame
        index += 1
    context.flush_buffers()


class _Measured:
    """Measures frames as they come."""

    def __init__(self) -> None:
        self._frames: list[int] = []
        self._values: list[tuple[float, ...]] = []
        self._motion: list[float | None] = []
        self._before: tuple[int, Pixels] | None = None

    def add(self, index: int, pixels: Pixels) -> None:
        """Take in one frame, uint8 [height, width, 3]."""
        import cv2
        import numpy as np

        grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
        # Means of colour need no detail, and the conversion is slow.
        half = (max(1, pixels.shape[1] // 2), max(1, pixels.shape[0] // 2))
        small = pixels if pixels.shape[1] < 200 else cv2.resize(pixels, half)
        lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        light, a, b = (float(lab[..., channel].mean()) for channel in range(3))
        chroma = float(np.hypot(lab[..., 1], lab[..., 2]).mean())
        sharpness = float(cv2.Laplacian(grey, cv2.CV_32F).var())
        motion = None
        if self._before is not None and self._before[0] == index - 1:
            motion = round(float(cv2.absdiff(grey, self._before[1]).mean()), 4)
        self._before = index, grey
        self._frames.append(index)
        self._values.append(tuple(round(v, 4) for v in (light, a, b, chroma, sharpness)))
        self._motion.append(motion)

    @property
    def samples(self) -> Samples:
        """All that was measured."""
        columns = list(zip(*self._values, strict=True)) or [()] * 5
        luma, a, b, chroma, sharpness = columns
        frames, motion = tuple(self._frames), tuple(self._motion)
        return Samples(frames, luma, a, b, chroma, sharpness, motion)


def _fitted(frame: VideoFrame, most: Size) -> Pixels:
    """uint8 [height, width, 3]: scaled down to fit, never up."""
    from typing import cast

    width, height = fit_into(Size(frame.width, frame.height), most)
    small = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
    return cast("Pixels", small.to_ndarray())


def fit_into(size: Size, most: Size) -> tuple[int, int]:
    """(width, height) of a picture scaled down into `most`, its shape kept; never enlarged."""
    scale = min(1.0, most.width / size.width, most.height / size.height)
    return max(1, round(size.width * scale)), max(1, round(size.height * scale))


def _shown(index: int, frame: VideoFrame, most: Size, quality: int) -> Shown:
    from PIL import Image

    image = Image.fromarray(_fitted(frame, most))
    buffer = io.BytesIO()
    # Coarse pixels are seen one by one: they are kept as they are.
    coarse = frame.width <= most.width // 2
    image.save(buffer, "WEBP", quality=95 if coarse else quality, method=2)
    text = base64.b64encode(buffer.getvalue()).decode()
    return Shown(index, text, image.width, image.height)
