"""Opening clips and turning their frames into pictures as they are meant to be seen."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from storyflow.media.reading import BadMedia, refuse_huge

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

_OPTIONS = {
    # The containers that `from:` takes. A playlist or a list of files would lead elsewhere.
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi",
    "protocol_whitelist": "file",
}

_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""swscale's matrix by a file's tag (ITU-T H.273); everything else is taken for bt709, 1."""

_HDR = {16: "PQ", 18: "HLG"}


def upright(frame: VideoFrame, stretch: float) -> tuple[Image.Image, float]:
    """A decoded frame in RGB the way it is to be seen, and the shape of its pixels then."""
    turns = round(frame.rotation / 90) % 4  # counter-clockwise
    pixels = np.ascontiguousarray(np.rot90(rgb(frame), turns))
    return Image.fromarray(pixels), 1 / stretch if turns % 2 else stretch


def rgb(frame: VideoFrame) -> NDArray[np.uint8]:
    """A decoded frame as uint8 [height, width, 3], by its own tags or, without any, as bt709."""
    from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

    exact = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
    full = int(frame.color_range) == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    made = VideoReformatter().reformat(
        frame,
        format="rgb24",
        src_colorspace=_MATRICES.get(int(frame.colorspace), 1),
        src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=exact | Interpolation.BITEXACT,
        threads=1,
    )
    return cast("NDArray[np.uint8]", made.to_ndarray())


def open_clip(path: Path) -> InputContainer:
    """A file in one of the containers that `from:` takes. Raises av.FFmpegError."""
    import av

    return av.open(str(path), options=_OPTIONS)


def video_of(container: InputContainer) -> VideoStream:
    """The clip's own pictures: a cover inside a sound file is none. Raises BadMedia."""
    from av.stream import Disposition

    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if not s.disposition & covers]
    if not streams:
        what = (
            "this clip has no pictures, only sound"
            if container.streams.audio
            else ("this clip has no pictures")
        )
        raise BadMedia("empty-clip", what, "name a clip with a picture track")
    stream = streams[0]
    context: Any = stream.codec_context
    if context is None:
        what = "this clip's pictures are in a format that storyflow's decoder does not know"
        raise BadMedia("unknown-media", what, "export it again, as MP4 with H.264")
    refuse_huge(context.width, context.height, "clip")
    if (name := _HDR.get(context.color_trc)) is not None:
        what = f"this clip is HDR ({name}), the model knows SDR only"
        raise BadMedia("hdr-clip", what, "export it as SDR (bt709)")
    return stream


def pixel_shape(stream: VideoStream) -> float:
    """A pixel's width over its height; what no camera makes is a mistake in the file."""
    shape = stream.sample_aspect_ratio
    return float(shape) if shape is not None and Fraction(1, 4) < shape < 4 else 1.0


def brief(error: Exception) -> str:
    """What FFmpeg says about a file, in one short line."""
    text = getattr(error, "strerror", None) or str(error)
    return (text or type(error).__name__).splitlines()[0][:100]
