"""Pictures into a video file: converted to bt709, tagged, every frame exactly on its tick."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from storyflow.cutting.aside import refused
from storyflow.cutting.coding import THREADS, Coding
from storyflow.cutting.label import Label
from storyflow.errors import CutError
from storyflow.store.clip import ContainerFile, mov_options, ticks, timescale
from storyflow.timing import Size

if TYPE_CHECKING:
    from av.container.output import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

BT709 = {"color_primaries": 1, "color_trc": 1, "colorspace": 1, "color_range": 1}
"""bt709 primaries, transfer and matrix, limited range, as PyAV's numbers."""


class VideoFile(ContainerFile):
    """Writes one video file picture by picture; memory is flat.

    Errors speak of `path`, which may be the final name of what is
    written to `target`. Raises CutError.
    """

    def __init__(
        self, target: Path, path: Path, coding: Coding, size: Size, fps: Fraction, label: Label
    ) -> None:
        self.path, self.coding, self.frames = path, coding, 0
        self._reel = label.reel
        self._size, self._fps = size, fps
        self._converter = _Bt709(coding.pixels)
        with self._telling():
            self._container = opened(target, coding, fps, label)
            self._begin()

    def write(self, pixels: NDArray[np.uint8]) -> None:
        """Append uint8 [height, width, 3] of the file's size."""
        with self._telling():
            frame = self._converter.frame(pixels)
            frame.pts = self.frames
            frame.time_base = 1 / self._fps
            self._container.mux(self._stream.encode(frame))
            self.frames += 1

    def close(self) -> None:
        """Flush the encoder and finish the file."""
        with self._telling():
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def _begin(self) -> None:
        coding = self.coding
        # Its type is known from the codec's name where that is a constant; here it is not.
        stream = self._container.add_stream(coding.codec, rate=self._fps)
        self._stream = cast("VideoStream", stream)
        self._stream.width, self._stream.height = self._size.width, self._size.height
        self._stream.pix_fmt = coding.pixels
        context = self._stream.codec_context
        context.time_base = 1 / self._fps
        context.thread_count = THREADS
        context.options = dict(coding.options)
        if self._reel:
            # The muxer moves it to the timecode track.
            self._stream.metadata["reel_name"] = self._reel
        if coding.keyframes is not None:
            context.gop_size = coding.keyframes
        if coding.tag is not None:
            context.codec_tag = coding.tag
        for name, value in BT709.items():
            setattr(context, name, value)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        import av

        try:
            yield
        except OSError as error:
            raise refused("write", self.path, error) from error
        except av.FFmpegError as error:
            raise CutError(
                f"the {self.coding.name} encoder refused {self._size} at {self._fps} fps for "
                f"{self.path}: {error}",
                cure="check `frame` and `deliver` in the pipeline profile",
            ) from error


def opened(target: Path, coding: Coding, fps: Fraction, label: Label) -> OutputContainer:
    """A container to write to, on exact ticks and with its label. Raises OSError."""
    import av

    options: dict[str, str] = {}
    if coding.container != "matroska":
        options = {**mov_options(fps), "movflags": "+faststart"}
    container = av.open(str(target), "w", format=coding.container, options=options)
    tags = {"title": label.title, "description": label.about, "timecode": label.timecode}
    container.metadata.update({name: text for name, text in tags.items() if text})
    # In the movie's ticks, so that the times stay exact.
    length = ticks(fps)
    container.set_chapters(
        [
            {
                "id": number,
                "start": chapter.start * length,
                "end": chapter.stop * length,
                "time_base": Fraction(1, timescale(fps)),
                "metadata": {"title": chapter.name},
            }
            for number, chapter in enumerate(label.chapters)
        ]
    )
    return container


class _Bt709:
    """RGB to YUV with the bt709 matrix and limited range, one converter per file."""

    def __init__(self, pixels: str) -> None:
        from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

        self._converter, self._pixels = VideoReformatter(), pixels
        self._matrix, self._range = Colorspace.ITU709, ColorRange.MPEG

    def frame(self, pixels: NDArray[np.uint8]) -> VideoFrame:
        """One frame from uint8 [height, width, 3] with even sides."""
        import av

        rgb = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        return self._converter.reformat(
            rgb, format=self._pixels, dst_colorspace=self._matrix, dst_color_range=self._range
        )
