"""A picture file as one frame of the film."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from storyflow.media.fit import Fit, on_frame
from storyflow.media.reading import BadMedia, Reading, refuse_huge
from storyflow.timing import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""Pillow knows many more; these are what `from:` takes, so no other parser meets the file."""

MAX_BYTES = 400_000_000
"""A file larger than this is not read."""


def read_picture(path: Path, size: Size, fit: Fit) -> Reading:
    """One frame: the right way up by its EXIF orientation, on black where it is transparent, in
    sRGB by its colour profile, cropped or padded to `size`.

    Raises BadMedia for what is no picture, is broken or absurdly large, OSError for a file that
    can't be read.
    """
    image, notices = open_picture(path)
    try:
        return Reading(on_frame(image, size, fit)[None], notices)
    except Exception as error:
        raise _broken(error) from None


def open_picture(path: Path) -> tuple[Image.Image, tuple[str, ...]]:
    """A picture in RGB as `read_picture` takes it, of its own size, and what was adjusted.

    Raises like `read_picture`.
    """
    if path.stat().st_size > MAX_BYTES:
        what = f"this file has more than {MAX_BYTES // 1_000_000} MB"
        raise BadMedia("huge-media", what, "export it smaller")
    data = path.read_bytes()
    try:
        with warnings.catch_warnings():
            # Of damaged tags Pillow warns, of bombs too, but at more pixels than are taken here.
            warnings.simplefilter("ignore")
            return _decoded(data)
    except BadMedia:
        raise
    except Exception as error:  # a hostile file makes a decoder raise anything
        raise _broken(error) from None


def _broken(error: Exception) -> BadMedia:
    what = f"this can't be read as a picture ({_brief(error)})"
    return BadMedia("broken-media", what, "export it again")


def _decoded(data: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        what = "this picture unpacks to far more pixels than a film needs"
        raise BadMedia("huge-media", what, "export it smaller") from None
    with image:
        refuse_huge(*image.size, "picture")
        notices: tuple[str, ...] = ()
        if (count := getattr(image, "n_frames", 1)) > 1:
            notices = (f"it holds {count} pictures, the first is used",)
            image.seek(0)
        image.load()
        profile = image.info.get("icc_profile")
        upright = ImageOps.exif_transpose(image)
        return _rgb(upright, profile if isinstance(profile, bytes) else None), notices


def _rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Eight bits of sRGB per colour."""
    if image.mode == "F":
        what = "this picture holds floating-point numbers"
        raise BadMedia("unknown-media", what, "export it with 8 or 16 bits per colour")
    if image.mode.startswith("I"):
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        opaque = _in_srgb(image.convert("RGB"), profile)
        black = Image.new("RGB", image.size)
        black.paste(opaque, mask=image.getchannel("A"))
        return black
    return _in_srgb(image, profile)


def _eight_bits(grey: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Grey of 16 bits, however Pillow stores them, as grey of 8."""
    return np.rint(np.clip(grey.astype(np.int64), 0, 65535) / 257).astype(np.uint8)


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile and image.mode in ("RGB", "CMYK", "L"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            made = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            made = None  # a broken profile, or another colour space's: without it, then
        if made is not None:
            return made
    return image.convert("RGB")


def _brief(error: BaseException) -> str:
    # Pillow names the memory object that it read from, which says nothing to anybody.
    text = "not a picture" if isinstance(error, UnidentifiedImageError) else str(error)
    return (text or type(error).__name__).splitlines()[0][:100]
