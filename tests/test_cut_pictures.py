"""What the delivered file holds: colour, tags, scale, cards, equal bytes, flat memory."""

from __future__ import annotations

import gc
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from cutting import SIZE, drawn
from numpy.typing import NDArray

from storyflow.cutting.assemble import CutReport, assemble
from storyflow.cutting.card import missing_card
from storyflow.cutting.check import check_film
from storyflow.cutting.geometry import geometry
from storyflow.cutting.pictures import Footage, MasterError, Missing
from storyflow.errors import CutError
from storyflow.pipeline import DeliverSection
from storyflow.store.clip import ClipWriter, iter_clip
from storyflow.store.hashing import frame_hashes
from storyflow.timing import Size

FILM24 = Fraction(24)


def footage(path: Path, frames: NDArray[np.uint8], shot: str = "1A") -> Footage:
    with ClipWriter(path, frames.shape[2], frames.shape[1], FILM24) as writer:
        writer.write(frames)
    return Footage(shot, path, 0, len(frames), frame_hashes(frames))


def deliver(
    tmp_path: Path, frames: NDArray[np.uint8], *, scale: int = 1, crf: int = 1
) -> CutReport:
    return assemble(
        [footage(tmp_path / "1A.mov", frames)],
        tmp_path / "film.mp4",
        fps=FILM24,
        size=Size(frames.shape[2], frames.shape[1]),
        deliver=DeliverSection(preset="veryfast", crf=crf, scale=scale),
    )


@pytest.mark.parametrize(
    ("rgb", "yuv"),
    [
        ((200, 50, 50), (86, 113, 194)),
        ((255, 255, 255), (235, 128, 128)),
        ((0, 0, 0), (16, 128, 128)),
        ((0, 0, 255), (32, 240, 118)),
        ((0, 255, 0), (173, 42, 26)),
    ],
)
def test_colour_is_converted_to_bt709_limited_range_and_tagged_so(
    tmp_path: Path, rgb: tuple[int, int, int], yuv: tuple[int, int, int]
) -> None:
    frames = np.broadcast_to(np.array(rgb, np.uint8), (6, 64, 96, 3))
    deliver(tmp_path, frames)
    with av.open(str(tmp_path / "film.mp4")) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        tags = (
            context.color_primaries, context.color_trc, context.colorspace, context.color_range
        )  # fmt: skip
        assert tags == (1, 1, 1, 1)
        frame = next(container.decode(stream))
        assert frame.format.name == "yuv420p"
        planes = [np.asarray(memoryview(plane)) for plane in frame.planes]
        middle = [int(plane[len(plane) // 2 + 8]) for plane in planes]
    assert np.abs(np.subtract(middle, yuv)).max() <= 1


def test_a_player_that_honours_the_tags_sees_the_colour_that_was_rendered(tmp_path: Path) -> None:
    frames = np.broadcast_to(np.array((200, 50, 50), np.uint8), (6, 64, 96, 3))
    deliver(tmp_path, frames)
    shown = next(iter_clip(tmp_path / "film.mp4"))
    assert np.abs(shown[32, 48].astype(int) - (200, 50, 50)).max() <= 2


def test_fifty_encodes_in_one_process_give_one_file(tmp_path: Path) -> None:
    clip = footage(tmp_path / "1A.mov", drawn(12, 1, Size(96, 64)))
    files = {
        assemble(
            [clip], tmp_path / "film.mp4", fps=FILM24, size=Size(96, 64), deliver=DeliverSection()
        ).sha256
        for _ in range(50)
    }
    assert len(files) == 1


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_scaling_repeats_pixels_and_pads_odd_sizes_by_their_edge(scale: int) -> None:
    frame = drawn(1, 1, Size(33, 17))[0]
    large = geometry(Size(33, 17), DeliverSection(scale=scale)).apply(frame)
    height, width = 17 * scale, 33 * scale
    assert large.shape == (height + height % 2, width + width % 2, 3)
    assert np.array_equal(large[:height:scale, :width:scale], frame)
    assert np.array_equal(large[scale - 1 : height : scale, scale - 1 : width : scale], frame)
    assert np.array_equal(large[-1, :width], np.repeat(frame[-1], scale, axis=0))


def test_an_odd_picture_is_delivered_with_even_sides(tmp_path: Path) -> None:
    report = deliver(tmp_path, drawn(6, 1, Size(33, 17)), scale=3)
    assert report.size == Size(100, 52)
    assert next(iter_clip(report.path)).shape == (52, 100, 3)


def test_the_delivered_picture_is_the_master_enlarged(tmp_path: Path) -> None:
    y, x = np.mgrid[0:32, 0:48]
    smooth = np.stack([x * 5, y * 7, (x + y) * 3], -1).clip(0, 255).astype(np.uint8)
    frames = np.stack([np.roll(smooth, n, 0) for n in range(6)])
    report = deliver(tmp_path, frames, scale=4)
    shown = np.stack(list(iter_clip(report.path))).astype(int)
    large = np.stack(
        [geometry(Size(48, 32), DeliverSection(scale=4)).apply(frame) for frame in frames]
    )
    assert np.abs(shown - large).mean() < 3


@pytest.mark.parametrize("size", [(48, 32), (96, 64), (960, 544), (32, 64), (16, 16)], ids=str)
def test_a_card_fits_any_picture_and_any_reason(size: tuple[int, int]) -> None:
    reason = "segment 1C/2: " + "out of memory on every attempt " * 20 + "x" * 500
    card = missing_card("a-very-long-shot-id-nobody-would-write", reason, Size(*size))
    assert card.shape == (size[1], size[0], 3)
    assert card.dtype == np.uint8
    assert len(np.unique(card)) > 2
    assert not np.array_equal(card, missing_card("1C", reason, Size(*size)))
    again = missing_card("1C", reason, Size(*size))
    assert np.array_equal(again, missing_card("1C", reason, Size(*size)))


def test_memory_does_not_grow_with_the_number_of_shots(tmp_path: Path) -> None:
    program = f"""
import resource, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_cut_pictures as t
from dataclasses import replace
size = t.Size(320, 192)
clips = [t.footage(Path({str(tmp_path)!r}) / f"{{n}}.mov", t.drawn(6, n, size)) for n in range(3)]
def cut(count):
    entries = [replace(clips[n % 3], shot=str(n)) for n in range(count)]
    t.assemble(entries, Path({str(tmp_path)!r}) / "film.mp4", fps=t.FILM24, size=size,
               deliver=t.DeliverSection(preset="ultrafast"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
cut(3); few = cut(3); many = cut(60)
print((many - few) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    # 57 more shots are 60 MiB of raw frames.
    assert int(done.stdout) < 12, done.stderr


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frames": 11}, "has frames 12 instead of 11"),
        ({"fps": Fraction(25)}, "has frame rate 24 instead of 25"),
        ({"size": Size(50, 32)}, "has size 48x32 instead of 50x32"),
    ],
    ids=["frames", "rate", "size"],
)
def test_a_film_that_differs_from_its_plan_is_refused(
    tmp_path: Path, wrong: dict[str, object], message: str
) -> None:
    deliver(tmp_path, drawn(12, 1))
    expected: dict[str, object] = {"frames": 12, "fps": FILM24, "size": SIZE} | wrong
    with pytest.raises(CutError, match=message):
        check_film(tmp_path / "film.mp4", **expected)  # type: ignore[arg-type]


def test_an_untagged_film_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w", options={"video_track_timescale": "24000"}) as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for picture in drawn(3, 1):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
    with pytest.raises(CutError, match="has color_primaries 2 instead of 1"):
        check_film(path, 3, FILM24, SIZE)


def test_a_missing_or_broken_master_names_shot_and_file(tmp_path: Path) -> None:
    entry = footage(tmp_path / "1A.mov", drawn(9, 1))
    (tmp_path / "film.mp4").write_bytes(b"the old film")

    def cut(entries: list[Footage | Missing]) -> None:
        assemble(entries, tmp_path / "film.mp4", fps=FILM24, size=SIZE, deliver=DeliverSection())

    entry.master.write_bytes(entry.master.read_bytes()[:500])
    with pytest.raises(MasterError, match=r"shot 1A, .*1A\.mov, is damaged.*; remove .*1A\.mov"):
        cut([entry])
    entry.master.unlink()
    with pytest.raises(MasterError, match=r"shot 1A, .*1A\.mov, can't be read"):
        cut([entry])
    with pytest.raises(CutError, match="nothing to cut"):
        cut([])
    short = Footage("1B", entry.master, 3, 12, entry.hashes[3:])
    with pytest.raises(CutError, match=r"shot 1B asks for frames 3 to 12 of a take .* only 6"):
        cut([short])
    gc.collect()
    assert (tmp_path / "film.mp4").read_bytes() == b"the old film"
    assert not list(tmp_path.glob(".*"))
