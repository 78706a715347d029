"""The kinds of files that a film is delivered in, and how each is encoded.

All are bt709, converted and tagged, at a constant frame rate. The film itself is H.264 in
`film.mp4`; the others lie beside it, named for what they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from storyflow.pipeline import DeliverSection
from storyflow.timing import Size

THREADS = 4
"""Encoder threads, on every machine: the number enters the bytes of H.264."""

KEYFRAMES = 48
"""Longest distance of key frames: players seek within two seconds."""


Options = tuple[tuple[str, str], ...]
"""Names and values, as ffmpeg's encoders call them."""


@dataclass(frozen=True)
class Coding:
    """One kind of file. `ending` follows the film's stem ("film" + ".prores.mov").

    `pixels` is ffmpeg's name of the pixel format, `options` are the encoder's, `tag` names the
    codec in the file where the usual name won't do, `least` is the smallest picture that it takes.
    """

    name: str
    codec: str
    container: Literal["mp4", "mov", "matroska"]
    ending: str
    pixels: str
    options: Options = ()
    tag: str | None = None
    keyframes: int | None = None
    least: Size = field(default=Size(2, 2))

    @property
    def shown_as(self) -> str:
        """The codec as a decoder calls it, which is not always what the encoder is called."""
        return _DECODED.get(self.codec, self.codec)


_DECODED = {"libx264": "h264", "libx265": "hevc", "prores_ks": "prores"}


def film_coding(deliver: DeliverSection) -> Coding:
    """The film: H.264 for every player and browser.

    Macroblock-tree rate control is off: it is the one part of x264 whose output varies from run to
    run.
    """
    options: Options = (
        ("preset", deliver.preset),
        ("crf", str(deliver.crf)),
        ("x264-params", "mbtree=0"),
    )
    return Coding("h264", "libx264", "mp4", ".mp4", "yuv420p", options, keyframes=KEYFRAMES)


def further_codings(deliver: DeliverSection) -> tuple[Coding, ...]:
    """What else is encoded from the film's pictures; HLS is not: it is cut from the film."""
    names = dict.fromkeys(deliver.formats)
    return tuple(_coding(name, deliver) for name in names if name != "hls")


def _coding(name: str, deliver: DeliverSection) -> Coding:
    options: Options
    if name == "h265":
        # crf 28 of x265 is meant to look like 23 of x264 (ffmpeg's wiki, Encode/H.265). hvc1: as
        # hev1 Apple's players refuse it. A fixed number of frame threads: it enters the bytes.
        crf = min(51, deliver.crf + 5)
        options = (
            ("preset", deliver.preset),
            ("crf", str(crf)),
            ("x265-params", "log-level=none:frame-threads=2"),
        )
        return Coding(
            "h265", "libx265", "mp4", ".h265.mp4", "yuv420p", options, "hvc1", KEYFRAMES,
            Size(16, 16),
        )  # fmt: skip
    if name == "prores":
        options = (("profile", "hq"), ("vendor", "apl0"))
        return Coding("prores", "prores_ks", "mov", ".prores.mov", "yuv422p10le", options)
    if name == "dnxhr":
        options = (("profile", "dnxhr_hq"),)
        least = Size(256, 120)
        return Coding("dnxhr", "dnxhd", "mov", ".dnxhr.mov", "yuv422p", options, least=least)
    # Ten bits of 4:4:4 hold what RGB of eight bits becomes in bt709: it comes back exactly.
    # Matroska, as archives take it; the times there are whole milliseconds, the rate is exact.
    options = (("level", "3"), ("slices", "4"), ("slicecrc", "1"))
    return Coding("ffv1", "ffv1", "matroska", ".ffv1.mkv", "yuv444p10le", options)
