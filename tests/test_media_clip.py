"""The last frames of clips of all sorts: the right ones, the right way up, in the right colours."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import clip_file, counting, numbers, quadrants, sound_file, turned
from numpy.typing import NDArray

from storyflow.media.clip import read_tail
from storyflow.media.reading import BadMedia, Reading
from storyflow.timing import Size

FRAME = Size(96, 64)
FPS = Fraction(24)
OVERLAP = 17


def tail(path: Path, size: Size = FRAME, frames: int = OVERLAP) -> Reading:
    reading = read_tail(path, frames, FPS, size, "crop")
    assert reading.frames.shape == (frames, size.height, size.width, 3)
    assert reading.frames.dtype == np.uint8
    return reading


def same(found: list[int], wanted: list[int]) -> bool:
    """Equal but for what a lossy codec makes of a grey."""
    return len(found) == len(wanted) and all(
        abs(a - b) <= 1 for a, b in zip(found, wanted, strict=True)
    )


CONTAINERS = {
    "a.mp4": {},
    "open.mp4": {"options": {"crf": "1", "x264-params": "open-gop=1:bframes=3:keyint=30"}},
    "a.mkv": {},
    "a.webm": {"codec": "libvpx-vp9", "options": {"crf": "10", "cpu-used": "8", "b": "0"}},
    "a.avi": {},
    "a.mov": {"codec": "libx264rgb", "pix_fmt": "rgb24", "options": {"qp": "0"}},
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_last_frames_are_read_from_every_container(tmp_path: Path, name: str) -> None:
    clip = clip_file(tmp_path / name, counting(100), **CONTAINERS[name])  # type: ignore[arg-type]
    reading = tail(clip)
    assert same(numbers(reading.frames), list(range(83, 100)))
    assert reading.notices == ()


def test_a_lossless_clip_of_the_frames_size_is_taken_bit_for_bit(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    noise = [draw.integers(0, 256, (64, 96, 3)).astype(np.uint8) for _ in range(20)]
    clip = clip_file(tmp_path / "a.mov", noise, codec="libx264rgb", pix_fmt="rgb24",
                     options={"qp": "0"})  # fmt: skip
    assert (tail(clip).frames == np.stack(noise[3:])).all()


RATES = [
    (Fraction(12), [91, 91, 92, 92, 93, 93, 94, 94, 95, 95, 96, 96, 97, 97, 98, 98, 99], "12"),
    (Fraction(24000, 1001), list(range(83, 100)), None),
    (Fraction(25), [82, 83, 84, 85, *range(87, 100)], "25"),
    (Fraction(30000, 1001), [79, 80, 82, 83, 84, 85, 87, 88, 89, 90, 91, 93, 94, 95, 96, 98, 99],
     "29.97"),
    (Fraction(48), list(range(67, 100, 2)), "48"),
]  # fmt: skip


@pytest.mark.parametrize(("rate", "wanted", "told"), RATES)
def test_another_rate_is_read_by_the_clock_and_told(
    tmp_path: Path, rate: Fraction, wanted: list[int], told: str | None
) -> None:
    reading = tail(clip_file(tmp_path / "a.mp4", counting(100), rate))
    assert same(numbers(reading.frames), wanted)
    assert numbers(reading.frames)[-1] == 99, "the last frame is always the clip's last"
    if told is None:
        assert reading.notices == ()
    else:
        assert reading.notices[0].startswith(f"the clip plays at {told} frames a second, the model")


def test_a_changing_rate_is_read_by_the_clock_and_told(tmp_path: Path) -> None:
    """Every third frame stands twice as long: of 48 frames a second, 16 remain, at 36 steps."""
    times, now = [], Fraction(0)
    for number in range(100):
        times.append(now)
        now += Fraction(1, 24) if number % 3 == 0 else Fraction(1, 48)
    reading = tail(clip_file(tmp_path / "a.mp4", counting(100), Fraction(48), times=times))
    wanted = [min(range(100), key=lambda n: (abs(times[n] - at), -n))
              for at in (times[-1] - Fraction(back, 24) for back in range(16, -1, -1))]  # fmt: skip
    assert same(numbers(reading.frames), wanted)
    assert reading.notices == ("the clip's frame rate varies: frames are chosen by their times",)


def test_a_picture_that_stands_for_long_is_history_too(tmp_path: Path) -> None:
    """As in a recording of a screen on which little happens."""
    times = [Fraction(0), Fraction(1, 24), Fraction(10), Fraction(10) + Fraction(8, 24)]
    reading = tail(clip_file(tmp_path / "a.mp4", counting(4), times=times))
    assert same(numbers(reading.frames), [1] * 8 + [2] * 8 + [3])
    assert reading.notices == ("the clip's frame rate varies: frames are chosen by their times",)


def test_times_in_whole_milliseconds_are_no_changing_rate(tmp_path: Path) -> None:
    reading = tail(clip_file(tmp_path / "a.mkv", counting(60), Fraction(25)))
    assert "plays at 25 frames" in reading.notices[0]


@pytest.mark.parametrize("clockwise", [90, 180, 270])
def test_a_phones_clip_is_turned_upright(tmp_path: Path, clockwise: int) -> None:
    clip = clip_file(tmp_path / "a.mp4", [quadrants()] * 20)
    phone = turned(clip, tmp_path / "b.mp4", clockwise=clockwise)
    seen = np.rot90(quadrants(), -clockwise // 90)
    frame = tail(phone, Size(seen.shape[1], seen.shape[0])).frames[-1]
    assert np.abs(frame.astype(int) - seen).mean() < 3
    assert np.abs(frame[8, 8].astype(int) - seen[8, 8]).max() <= 2


COLOURS = {
    "untagged": ({}, 1),
    "bt709": ({"colorspace": 1}, 1),
    "bt601": ({"colorspace": 5}, 5),
    "smpte170m": ({"colorspace": 6}, 5),
    "bt2020": ({"colorspace": 9}, 9),
    "full range": ({"colorspace": 1, "color_range": 2}, 1),
}


@pytest.mark.parametrize("name", COLOURS)
def test_colours_are_converted_by_the_files_tags(tmp_path: Path, name: str) -> None:
    tags, matrix = COLOURS[name]
    clip = clip_file(tmp_path / "a.mp4", [quadrants()] * 20, tags=tags, matrix=matrix)
    frame = tail(clip).frames[-1].astype(int)
    for y, x in ((16, 24), (16, 72), (48, 24), (48, 72)):
        assert np.abs(frame[y, x] - quadrants()[y, x]).max() <= 3


def test_pixels_that_are_not_square_are_made_so(tmp_path: Path) -> None:
    clip = clip_file(tmp_path / "a.mp4", [quadrants(48, 64)] * 20, aspect=Fraction(2))
    frame = tail(clip).frames[-1].astype(int)
    assert np.abs(frame - quadrants()).mean() < 5


def test_a_wide_clip_is_cropped_or_padded_never_stretched(tmp_path: Path) -> None:
    wide = np.zeros((64, 192, 3), dtype=np.uint8)
    wide[:, 48:144] = quadrants()
    clip = clip_file(tmp_path / "a.mp4", [wide] * 20)
    cropped = read_tail(clip, OVERLAP, FPS, FRAME, "crop").frames[-1].astype(int)
    assert np.abs(cropped - quadrants()).mean() < 3
    padded = read_tail(clip, OVERLAP, FPS, FRAME, "pad").frames[-1]
    assert padded[:15].max() == 0 and padded[-15:].max() == 0 and padded[20:40].max() > 150


def test_exactly_the_overlap_is_enough(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv"):
        assert same(numbers(tail(clip_file(tmp_path / name, counting(17))).frames), list(range(17)))


def test_a_file_with_sound_and_picture_gives_its_picture(tmp_path: Path) -> None:
    both = sound_file(tmp_path / "both.mp4", counting(40))
    assert same(numbers(tail(both).frames), list(range(23, 40)))


def test_memory_stays_flat_however_long_the_clip(tmp_path: Path) -> None:
    def peak(frames: int) -> int:
        stills = [np.full((64, 96, 3), 20 + n % 100, dtype=np.uint8) for n in range(frames)]
        clip = clip_file(tmp_path / f"{frames}.mp4", stills, options={"preset": "ultrafast"})
        del stills
        tracemalloc.start()
        tail(clip)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(30)  # what is imported and cached on first use
    assert peak(1500) < peak(60) * 1.3 + 50_000


def noise(count: int = 60) -> list[NDArray[np.uint8]]:
    draw = np.random.default_rng(2)
    return [draw.integers(0, 256, (64, 96, 3)).astype(np.uint8) for _ in range(count)]


def cut_off(path: Path, part: float, **options: object) -> None:
    clip_file(path, noise(), **options)  # type: ignore[arg-type]
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])


def damaged(path: Path) -> None:
    """Bytes of the last pictures replaced, as a bad disk does."""
    clip_file(path, noise(), container={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    draw = random.Random(1)
    for _ in range(3000):
        data[draw.randrange(len(data) * 3 // 4, len(data))] = draw.randrange(256)
    path.write_bytes(bytes(data))


def without_frames(path: Path) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        file.start_encoding()


BROKEN: dict[str, tuple[str, Callable[[Path], object], str, str]] = {
    "empty": ("a.mp4", lambda p: p.write_bytes(b""), "broken-media", "can't be read as a clip"),
    "text": ("a.mp4", lambda p: p.write_text("a door\n" * 90), "broken-media", "can't be read"),
    "only a header": ("a.mp4", lambda p: p.write_bytes(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"),
                      "broken-media", "can't be read"),
    "cut off before its index": ("a.mp4", lambda p: cut_off(p, 0.7), "broken-media", "can't be"),
    "cut off after its index": (
        "a.mp4", lambda p: cut_off(p, 0.7, container={"movflags": "faststart"}),
        "broken-media", "cut off",
    ),
    "a cut off mkv": ("a.mkv", lambda p: cut_off(p, 0.5), "broken-media", "cut off"),
    "damaged": ("a.mp4", damaged, "broken-media", "can't be"),
    "no frames": ("a.mp4", without_frames, "empty-clip", "no pictures"),
    "only sound": ("a.mp4", sound_file, "empty-clip", "only sound"),
    "sound with a cover": ("a.mp4", lambda p: sound_file(p, [quadrants()], cover=True),
                           "empty-clip", "only sound"),
    "a playlist": ("a.mp4", lambda p: p.write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"),
                   "broken-media", "can't be read"),
    "one frame too short": ("a.mp4", lambda p: clip_file(p, counting(16)), "short-clip",
                            "lasts 0.67s; the model reads its last 17 frames, 0.71s"),
    "HDR": ("a.mp4", lambda p: clip_file(p, counting(30), tags={"color_trc": 16}), "hdr-clip",
            "HDR (PQ)"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_usable_clip_is_refused_with_a_cure(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file, make, code, what = BROKEN[name]
    make(tmp_path / file)
    capfd.readouterr()
    with pytest.raises(BadMedia) as refused:
        tail(tmp_path / file)
    assert (refused.value.code, what in refused.value.what) == (code, True), refused.value.what
    assert refused.value.cure
    assert capfd.readouterr() == ("", ""), "the decoder is silent"


def test_a_clip_of_absurd_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """Matroska says the size in two elements: 256x256 becomes 12288x12288."""
    squares = [np.zeros((256, 256, 3), dtype=np.uint8)] * 20
    clip = clip_file(tmp_path / "a.mkv", squares, codec="ffv1")
    data = clip.read_bytes()
    for element in (b"\xb0", b"\xba"):
        assert data.count(element + b"\x82\x01\x00") == 1
        data = data.replace(element + b"\x82\x01\x00", element + b"\x82\x30\x00")
    clip.write_bytes(data)
    with pytest.raises(BadMedia, match="12288x12288 pixels") as refused:
        tail(clip)
    assert refused.value.code == "huge-media"
