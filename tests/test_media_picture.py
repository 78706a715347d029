"""Pictures of all sorts become one frame, or one clear refusal."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from media_files import picture_file, quadrants
from numpy.typing import NDArray
from PIL import Image, ImageCms

from storyflow.media.fit import Fit
from storyflow.media.picture import read_picture
from storyflow.media.reading import BadMedia
from storyflow.timing import Size

FRAME = Size(96, 64)


def read(path: Path, size: Size = FRAME, fit: Fit = "crop") -> NDArray[np.uint8]:
    reading = read_picture(path, size, fit)
    assert reading.frames.shape == (1, size.height, size.width, 3)
    assert reading.frames.dtype == np.uint8
    return reading.frames[0]


def corners(frame: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """Well inside each quarter: top left, top right, bottom left, bottom right."""
    high, wide = frame.shape[0] // 4, frame.shape[1] // 4
    return [tuple(map(int, frame[y, x])) for y in (high, 3 * high) for x in (wide, 3 * wide)]


def near(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp", "a.jpg"])
def test_every_format_gives_the_same_picture(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    options = {"lossless": True} if name == "a.webp" else {"quality": 100, "subsampling": 0}
    Image.fromarray(quadrants()).save(path, **({} if name == "a.bmp" else options))
    assert near(read(path), quadrants()) <= (3 if name == "a.jpg" else 0)


def test_a_picture_of_the_frames_size_is_taken_bit_for_bit(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    assert (read(picture_file(tmp_path / "a.png", noise)) == noise).all()


@pytest.mark.parametrize(("width", "height"), [(300, 64), (96, 200), (1, 1), (5000, 3), (3, 5000)])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_any_shape_fits(tmp_path: Path, width: int, height: int, fit: Fit) -> None:
    white = np.full((height, width, 3), 255, dtype=np.uint8)
    frame = read(picture_file(tmp_path / "a.png", white), fit=fit)
    if fit == "crop":
        assert (frame == 255).all(), "the frame is filled"
    else:
        shown = (frame == 255).all(axis=2)
        rows, columns = shown.any(axis=1), shown.any(axis=0)
        assert shown.sum() == rows.sum() * columns.sum(), "a whole rectangle on black"
        assert (frame[~shown] == 0).all()
        assert rows.all() or columns.all(), "as large as it can be"
        assert abs(int(rows[::-1].argmax()) - int(rows.argmax())) <= 1, "in the middle"


def test_a_crop_keeps_the_middle_and_the_aspect(tmp_path: Path) -> None:
    wide = np.zeros((64, 192, 3), dtype=np.uint8)
    wide[:, 48:144] = quadrants()
    assert near(read(picture_file(tmp_path / "a.png", wide)), quadrants()) == 0
    circle = np.hypot(*np.mgrid[-100:100, -200:200]) < 90
    frame = read(
        picture_file(tmp_path / "b.png", np.repeat(circle[..., None] * 255, 3, 2).astype("u1"))
    )
    inside = frame[..., 0] > 127
    assert abs(inside.any(axis=0).sum() - inside.any(axis=1).sum()) <= 1, "a circle stays round"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_phones_picture_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    flips: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: np.rot90(p, 1)[:, ::-1],
        8: lambda p: np.rot90(p, -1),
    }
    if orientation == 7:
        flips[7] = lambda p: p[::-1, ::-1].transpose(1, 0, 2)
    image = Image.fromarray(np.ascontiguousarray(flips[orientation](quadrants())))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    assert corners(read(tmp_path / "a.png")) == corners(quadrants())


def test_transparent_parts_are_black(tmp_path: Path) -> None:
    alpha = np.zeros((64, 96), dtype=np.uint8)
    alpha[:, :48], alpha[:32, 48:] = 255, 128
    Image.fromarray(np.dstack([quadrants(), alpha])).save(tmp_path / "a.png")
    shown = corners(read(tmp_path / "a.png"))
    assert shown == [(200, 40, 40), (20, 100, 20), (40, 40, 200), (0, 0, 0)]


def test_palettes_greys_and_sixteen_bits_are_read(tmp_path: Path) -> None:
    Image.fromarray(quadrants()).quantize(8).save(tmp_path / "p.png", transparency=0)
    read(tmp_path / "p.png")
    Image.fromarray(np.full((64, 96), 77, np.uint8)).save(tmp_path / "g.png")
    assert (read(tmp_path / "g.png") == 77).all()
    Image.fromarray(np.full((64, 96), 77 * 257, np.uint16)).save(tmp_path / "w.png")
    assert (read(tmp_path / "w.png") == 77).all()
    Image.fromarray(quadrants()).convert("CMYK").save(tmp_path / "c.tif")
    assert near(read(tmp_path / "c.tif"), quadrants()) < 3


def test_a_colour_profile_is_honoured_and_a_broken_one_passed_over(tmp_path: Path) -> None:
    plain = read(picture_file(tmp_path / "a.png"))
    image = Image.fromarray(quadrants())
    image.save(tmp_path / "b.png", icc_profile=b"no profile at all")
    assert near(read(tmp_path / "b.png"), plain) == 0
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(tmp_path / "c.png", icc_profile=srgb)
    assert near(read(tmp_path / "c.png"), plain) <= 1


def test_of_several_pictures_the_first_is_used_and_told(tmp_path: Path) -> None:
    first, second = Image.fromarray(quadrants()), Image.new("RGB", (96, 64))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    reading = read_picture(tmp_path / "a.tif", FRAME, "crop")
    assert corners(reading.frames[0]) == corners(quadrants())
    assert reading.notices == ("it holds 2 pictures, the first is used",)


def chunk(name: bytes, body: bytes) -> bytes:
    """A part of a PNG file."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def unpacking_text() -> bytes:
    """A PNG with a text of 50 MB in a few kilobytes."""
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 50_000_000))
    return png()[:33] + text + png()[33:]


def bomb() -> bytes:
    """A PNG of a few bytes that says it is 50,000 pixels on each side."""
    size = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    head = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head


def png(**options: object) -> bytes:
    data = io.BytesIO()
    Image.fromarray(quadrants()).save(data, "PNG", **options)
    return data.getvalue()


def large() -> bytes:
    data = io.BytesIO()
    Image.new("1", (20_000, 6_000)).save(data, "PNG")
    return data.getvalue()


def floats() -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.ones((64, 96), dtype=np.float32)).save(data, "TIFF")
    return data.getvalue()


BROKEN: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "empty": (lambda: b"", "broken-media", "not a picture"),
    "text": (lambda: b"a door, seen from inside\n" * 20, "broken-media", "not a picture"),
    "only the first bytes": (lambda: png()[:30], "broken-media", "can't be read as a picture"),
    "truncated": (lambda: png()[:-60], "broken-media", "can't be read as a picture"),
    "a text chunk that unpacks to gigabytes": (
        unpacking_text,
        "broken-media",
        "can't be read as a picture",
    ),
    "a decompression bomb": (bomb, "huge-media", "far more pixels"),
    "too large": (large, "huge-media", "20000x6000 pixels"),
    "numbers that are no colours": (floats, "unknown-media", "floating-point"),
    "another format": (
        lambda: b"P6 1 1 255\n\0\0\0" + b"\0" * 60, "broken-media", "not a picture",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.filterwarnings("error")
def test_what_is_no_usable_picture_is_refused_with_a_cure(tmp_path: Path, name: str) -> None:
    make, code, what = BROKEN[name]
    (tmp_path / "a.png").write_bytes(make())
    with pytest.raises(BadMedia) as refused:
        read_picture(tmp_path / "a.png", FRAME, "crop")
    assert (refused.value.code, what in refused.value.what) == (code, True), refused.value.what
    assert refused.value.cure
