"""The film in one streaming pass: pictures in, H.264 out, checked before it gets its name.

Colour is converted to bt709 limited range and tagged as such. Every frame starts exactly on its
tick. x264 runs with a fixed number of threads and without macroblock-tree rate control, the one
part of it whose output varies from run to run: equal pictures give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from storyflow.cutting.aside import written_aside
from storyflow.cutting.geometry import geometry
from storyflow.cutting.pictures import Entry, Footage, Missing, film_pictures
from storyflow.errors import CutError
from storyflow.pipeline import DeliverSection
from storyflow.stopping import Check, go_on
from storyflow.store.clip import mov_options, ticks
from storyflow.store.hashing import Digest, file_hash
from storyflow.timing import Size

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

THREADS = 4
"""Encoder threads, on every machine: the number enters the bytes."""

KEYFRAMES = 48
"""Longest distance of key frames: players seek within two seconds."""

_BT709 = {"color_primaries": 1, "color_trc": 1, "colorspace": 1, "color_range": 1}


@dataclass(frozen=True)
class CutReport:
    """A finished film file.

    `sha256` is the file's, `frames_sha256` the digest over its raw frames before encoding (see
    `digest_of`). `missing` are the shots whose place a card holds.
    """

    path: Path
    frames: int
    fps: Fraction
    size: Size
    sha256: str
    frames_sha256: str
    missing: tuple[str, ...] = ()


def assemble(
    entries: Sequence[Entry],
    path: Path,
    *,
    fps: Fraction,
    size: Size,
    deliver: DeliverSection,
    check: Check = go_on,
) -> CutReport:
    """Join entries into the film at `path`. `size` is the masters' picture size.

    Memory does not grow with the film. The file is written aside, opened again and checked
    (frame count, every timestamp, colour tags, size), then renamed. `check` is called between
    frames. Raises CutError; the film that was at `path` is then untouched.
    """
    expected = sum(entry.frames for entry in entries)
    if expected == 0:
        raise CutError("there is nothing to cut: no shot has a frame", cure="check the storyboard")
    for entry in entries:
        if isinstance(entry, Footage) and len(entry.hashes) != entry.last - entry.first:
            raise CutError(
                f"shot {entry.shot} asks for frames {entry.first} to {entry.last} of a take of "
                f"which only {len(entry.hashes)} of them exist",
                cure="plan and render the film again",
            )
    delivered = geometry(size, deliver).delivered
    with written_aside(path) as target:
        digest = _encode(entries, target, fps, size, deliver, check)
        check_film(target, expected, fps, delivered)
        sha256 = file_hash(target)
    return CutReport(
        path=path,
        frames=expected,
        fps=fps,
        size=delivered,
        sha256=sha256,
        frames_sha256=digest.text,
        missing=tuple(entry.shot for entry in entries if isinstance(entry, Missing)),
    )


def _encode(
    entries: Sequence[Entry],
    target: Path,
    fps: Fraction,
    size: Size,
    deliver: DeliverSection,
    check: Check,
) -> Digest:
    """Encode every picture; the digest over their hashes is all that is kept."""
    import av

    shape = geometry(size, deliver)
    delivered = shape.delivered
    options = {**mov_options(fps), "movflags": "+faststart"}
    digest = Digest()
    converter = _Bt709()
    try:
        with av.open(str(target), "w", format="mp4", options=options) as container:
            stream = container.add_stream("libx264", rate=fps)
            stream.width, stream.height = delivered.width, delivered.height
            stream.pix_fmt = "yuv420p"
            context = stream.codec_context
            context.time_base = 1 / fps
            context.gop_size = KEYFRAMES
            context.thread_count = THREADS
            context.options = {
                "preset": deliver.preset,
                "crf": str(deliver.crf),
                "x264-params": "mbtree=0",
            }
            for name, value in _BT709.items():
                setattr(context, name, value)
            for picture in film_pictures(entries, shape):
                check()
                frame = converter.frame(picture.pixels)
                frame.pts = digest.count
                frame.time_base = 1 / fps
                container.mux(stream.encode(frame))
                digest.add(picture.sha256)
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise CutError(
            f"the encoder refused {delivered} at {fps} fps for {target.parent}: {error}",
            cure="check `frame` and `deliver` in the pipeline profile",
        ) from error
    return digest


class _Bt709:
    """RGB to planar YUV 4:2:0 with the bt709 matrix and limited range, one converter per film."""

    def __init__(self) -> None:
        from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

        self._converter = VideoReformatter()
        self._matrix, self._range = Colorspace.ITU709, ColorRange.MPEG

    def frame(self, pixels: NDArray[np.uint8]) -> VideoFrame:
        """One frame from uint8 [height, width, 3] with even sides."""
        import av

        rgb = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        return self._converter.reformat(
            rgb, format="yuv420p", dst_colorspace=self._matrix, dst_color_range=self._range
        )


def check_film(path: Path, frames: int, fps: Fraction, size: Size) -> None:
    """Open a film again and compare it with the plan: one video stream, its size and tags, and the
    timestamp of every frame. Raises CutError naming the first difference."""
    import av

    with av.open(str(path)) as container:
        if len(container.streams) != 1:
            raise _differs("streams", len(container.streams), 1)
        stream = container.streams.video[0]
        context = stream.codec_context
        for name, value in _BT709.items():
            if getattr(context, name) != value:
                raise _differs(name, getattr(context, name), value)
        if (context.width, context.height) != (size.width, size.height):
            raise _differs("size", f"{context.width}x{context.height}", size)
        base = stream.time_base
        if base is None or stream.average_rate != fps:
            raise _differs("frame rate", stream.average_rate, fps)
        step = 1 / (fps * base)
        packets = (packet for packet in container.demux(stream) if packet.size)
        # Eight bytes a frame: the times come in the order of decoding.
        times = np.sort(np.fromiter((-1 if p.pts is None else p.pts for p in packets), np.int64))
    if len(times) != frames:
        raise _differs("frames", len(times), frames)
    if step != ticks(fps):
        raise _differs("ticks per frame", step, ticks(fps))
    wrong = np.flatnonzero(times != np.arange(frames) * ticks(fps))
    if wrong.size:
        index = int(wrong[0])
        raise _differs(f"time of frame {index}", int(times[index]) * base, index / fps)


def _differs(what: str, found: object, expected: object) -> CutError:
    return CutError(
        f"the film just written has {what} {found} instead of {expected}",
        cure="cut again; if it happens again, report it",
    )
