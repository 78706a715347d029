"""Pictures and clips for tests, made on the spot: real ones, odd ones and broken ones."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray
from PIL import Image


def quadrants(width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """Red, green / blue, white: any turn or flip of it is another picture."""
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = slice(None, height // 2), slice(None, width // 2)
    bottom, right = slice(height // 2, None), slice(width // 2, None)
    picture[top, left] = (200, 40, 40)
    picture[top, right] = (40, 200, 40)
    picture[bottom, left] = (40, 40, 200)
    picture[bottom, right] = (220, 220, 220)
    return picture


def grey(value: int, width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, dtype=np.uint8)


def counting(count: int, width: int = 96, height: int = 64) -> list[NDArray[np.uint8]]:
    """Frame n is grey 20 + 2n: its number can be read back after any codec (see `numbers`)."""
    return [grey(20 + 2 * n, width, height) for n in range(count)]


def numbers(frames: NDArray[np.uint8]) -> list[int]:
    """Which frames of `counting` these are."""
    return [round((float(frame.mean()) - 20) / 2) for frame in frames]


def picture_file(path: Path, pixels: NDArray[np.uint8] | None = None) -> Path:
    Image.fromarray(quadrants() if pixels is None else pixels).save(path)
    return path


def clip_file(
    path: Path,
    frames: Sequence[NDArray[np.uint8]],
    fps: Fraction = Fraction(24),
    *,
    times: Sequence[Fraction] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    tags: dict[str, int] | None = None,
    matrix: int = 1,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    gop: int = 12,
) -> Path:
    """A clip of these frames; `times` are seconds, else the frames follow at `fps`."""
    height, width = frames[0].shape[:2]
    base = Fraction(1, 90_000)
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        context = stream.codec_context
        context.time_base = base if times is not None else 1 / fps
        context.gop_size = gop
        context.options = options or ({"crf": "1", "preset": "veryfast"} if "264" in codec else {})
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        for name, value in (tags or {}).items():
            setattr(context, name, value)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            if not pix_fmt.startswith(("rgb", "gbr")):
                full = (tags or {}).get("color_range") == 2
                frame = frame.reformat(
                    format=pix_fmt, dst_colorspace=matrix, dst_color_range=2 if full else 1
                )
            frame.time_base = context.time_base
            frame.pts = number if times is None else round(times[number] / base)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def sound_file(
    path: Path, frames: Sequence[NDArray[np.uint8]] = (), *, cover: bool = False
) -> Path:
    """A second of silence, with a picture track of `frames`, or with the first as its `cover`."""
    with av.open(str(path), "w") as file:
        sound = file.add_stream("aac", rate=44100)
        sound.layout = "mono"
        pictures: Any = None
        if frames:
            pictures = file.add_stream("png" if cover else "libx264", rate=24)
            pictures.height, pictures.width = frames[0].shape[:2]
            pictures.pix_fmt = "rgb24" if cover else "yuv420p"
            if cover:
                pictures.disposition = Disposition.attached_pic
        for number in range(44):
            samples = np.zeros((1, 1024), dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, number * 1024
            file.mux(sound.encode(frame))
        for number, pixels in enumerate(frames[:1] if cover else frames):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if not cover:
                picture = picture.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1)
            picture.pts, picture.time_base = number, Fraction(1, 24)
            file.mux(pictures.encode(picture))
        for stream in (sound, pictures):
            if stream is not None:
                file.mux(stream.encode(None))
    return path


def turned(source: Path, target: Path, *, clockwise: int) -> Path:
    """A copy of an MP4 whose track says that it is to be shown turned, as phones write it."""
    one = (0x10000).to_bytes(4, "big", signed=True)
    minus = (-0x10000).to_bytes(4, "big", signed=True)
    zero, last = bytes(4), (0x40000000).to_bytes(4, "big")
    upright = one + zero * 3 + one + zero * 3 + last
    rows = {90: (zero, one, minus, zero), 180: (minus, zero, zero, minus),
            270: (zero, minus, one, zero)}[clockwise]  # fmt: skip
    a, b, c, d = rows
    matrix = a + b + zero + c + d + zero * 3 + last
    data = source.read_bytes()
    place = data.index(b"tkhd")
    head, track = data[:place], data[place:]
    assert upright in track
    target.write_bytes(head + track.replace(upright, matrix, 1))
    return target
