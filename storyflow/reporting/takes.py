"""Takes to play side by side: small copies of masters that every browser plays.

A master is lossless RGB, which browsers don't decode.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from storyflow.cutting.aside import written_aside
from storyflow.cutting.masters import tag_of
from storyflow.reporting.look import fit_into
from storyflow.store.clip import iter_clip, mov_options
from storyflow.timing import Size

FOLDER = "takes"
"""Where a film's folder has them."""

LARGEST = Size(640, 480)
"""They fit into this; pictures of less than half of it are enlarged, pixel for pixel."""

_BT709 = {"color_primaries": 1, "color_trc": 1, "colorspace": 1, "color_range": 1}


def playable(folder: Path, master: Path, tag: str, fps: Fraction) -> Path:
    """The small copy of a master, H.264 in bt709, made where there is none of this content.

    Raises CutError, DamagedError for a master that can't be read.
    """
    path = folder / FOLDER / f"{master.stem}.mp4"
    if tag_of(path) != tag:
        with written_aside(path) as target:
            _encode(master, target, tag, fps)
    return path


def forget_others(folder: Path, stems: Collection[str]) -> None:
    """Remove the copies of masters that are not compared any more, and the folder when empty."""
    for path in (folder / FOLDER).glob("*.mp4"):
        if path.stem not in stems:
            with suppress(OSError):
                path.unlink()
    with suppress(OSError):
        (folder / FOLDER).rmdir()


def _encode(master: Path, target: Path, tag: str, fps: Fraction) -> None:
    import av
    from av.video.reformatter import ColorRange, Colorspace

    options = {**mov_options(fps), "movflags": "+faststart"}
    with av.open(str(target), "w", format="mp4", options=options) as container:
        container.metadata["comment"] = tag
        stream = None
        for index, pixels in enumerate(iter_clip(master)):
            if stream is None:
                size = _size(Size(pixels.shape[1], pixels.shape[0]))
                stream = container.add_stream("libx264", rate=fps)
                stream.width, stream.height = size.width, size.height
                stream.pix_fmt = "yuv420p"
                context = stream.codec_context
                context.time_base = 1 / fps
                # Comparing is jumping to and fro.
                context.gop_size = 12
                context.options = {"preset": "veryfast", "crf": "20"}
                for name, value in _BT709.items():
                    setattr(context, name, value)
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                width=stream.width,
                height=stream.height,
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation="POINT" if stream.width > pixels.shape[1] else "AREA",
            )
            picture.pts, picture.time_base = index, 1 / fps
            container.mux(stream.encode(picture))
        if stream is not None:
            container.mux(stream.encode(None))


def _size(size: Size) -> Size:
    enlarged = max(1, min(LARGEST.width // size.width, LARGEST.height // size.height))
    width, height = fit_into(Size(size.width * enlarged, size.height * enlarged), LARGEST)
    return Size(width + width % 2, height + height % 2)
