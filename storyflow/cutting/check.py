"""A film file, opened again and compared with the plan before it gets its name."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from storyflow.cutting.encoders import BT709
from storyflow.errors import CutError
from storyflow.store.clip import ticks
from storyflow.timing import Size


def check_film(path: Path, frames: int, fps: Fraction, size: Size, *, codec: str = "h264") -> None:
    """One video stream of that codec and size, its colour tags, and the time of every frame.

    Exactly on its tick or, in Matroska, which knows milliseconds only, on the nearest one. No frame
    is decoded. Raises CutError naming the first difference.
    """
    import av

    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise _differs(path, "content that can't be read", error, "a film") from error
    with container:
        # Chapters and timecode are streams too, of other kinds.
        if len(container.streams.video) != 1:
            raise _differs(path, "video streams", len(container.streams.video), 1)
        stream = container.streams.video[0]
        context = stream.codec_context
        if context.codec.canonical_name != codec:
            raise _differs(path, "codec", context.codec.canonical_name, codec)
        for name, value in BT709.items():
            if getattr(context, name) != value:
                raise _differs(path, name, getattr(context, name), value)
        if (context.width, context.height) != (size.width, size.height):
            raise _differs(path, "size", f"{context.width}x{context.height}", size)
        base = stream.time_base
        if base is None or stream.average_rate != fps:
            raise _differs(path, "frame rate", stream.average_rate, fps)
        rounded = "matroska" in container.format.name
        packets = (packet for packet in container.demux(stream) if packet.size)
        # Eight bytes a frame: the times come in the order of decoding.
        times = np.sort(np.fromiter((-1 if p.pts is None else p.pts for p in packets), np.int64))
    if len(times) != frames:
        raise _differs(path, "frames", len(times), frames)
    step = 1 / (fps * base)
    if rounded:
        top, bottom = step.numerator, step.denominator
        expected = (2 * np.arange(frames, dtype=np.int64) * top + bottom) // (2 * bottom)
    else:
        if step != ticks(fps):
            raise _differs(path, "ticks per frame", step, ticks(fps))
        expected = np.arange(frames, dtype=np.int64) * ticks(fps)
    wrong = np.flatnonzero(times != expected)
    if wrong.size:
        index = int(wrong[0])
        raise _differs(path, f"time of frame {index}", int(times[index]) * base, index / fps)


def _differs(path: Path, what: str, found: object, expected: object) -> CutError:
    return CutError(
        f"the film just written ({path}) has {what} {found} instead of {expected}",
        cure="cut again; if it happens again, report it",
    )
