"""Lossless clips and tensors: what goes in comes out, bit for bit, or an error tells."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from storyflow.errors import DamagedError
from storyflow.store.clip import ClipWriter, iter_clip, read_clip
from storyflow.store.hashing import array_hash, digest_of, frame_hashes, latent_hashes
from storyflow.store.tensors import load_tensor, save_tensor

RATES = [Fraction(24), Fraction(25), Fraction(24000, 1001)]


def noise(frames: int, width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def write(path: Path, frames: NDArray[np.uint8], fps: Fraction = Fraction(24)) -> Path:
    with ClipWriter(path, frames.shape[2], frames.shape[1], fps) as writer:
        for start in range(0, len(frames), 7):
            writer.write(frames[start : start + 7])
    return path


@pytest.mark.parametrize("fps", RATES, ids=str)
@pytest.mark.parametrize("size", [(96, 64), (97, 63), (16, 16), (33, 130)], ids=str)
def test_a_clip_gives_back_the_same_rgb_frames_at_any_size_and_rate(
    tmp_path: Path, size: tuple[int, int], fps: Fraction
) -> None:
    frames = noise(30, *size)
    path = write(tmp_path / "clip.mov", frames, fps)
    assert np.array_equal(read_clip(path, 0, 30, frame_hashes(frames)), frames)


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_every_frame_of_a_clip_lasts_exactly_one_frame(tmp_path: Path, fps: Fraction) -> None:
    path = write(tmp_path / "clip.mov", noise(30, 32, 32), fps)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = stream.time_base
        assert base is not None
        packets = [packet for packet in container.demux(stream) if packet.size]
        times = [(packet.pts or 0) * base for packet in packets]
        assert stream.average_rate == fps
    assert times == [index / fps for index in range(30)]


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (13, 30), (12, 13), (23, 25), (29, 30)])
def test_any_stretch_of_a_clip_can_be_read(tmp_path: Path, start: int, stop: int) -> None:
    frames = noise(30, 32, 16)
    path = write(tmp_path / "clip.mov", frames)
    hashes = frame_hashes(frames)[start:stop]
    assert np.array_equal(read_clip(path, start, stop, hashes), frames[start:stop])


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    frames = noise(20, 48, 32)
    files = {write(tmp_path / f"{n}.mov", frames).read_bytes() for n in range(5)}
    assert len(files) == 1


def test_a_clip_takes_only_frames_of_its_size(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"takes uint8 frames of \(16, 32, 3\)"),
        ClipWriter(tmp_path / "clip.mov", 32, 16, Fraction(24)) as writer,
    ):
        writer.write(noise(2, 16, 32))


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_clip_is_damaged(tmp_path: Path, keep: float) -> None:
    frames = noise(30, 32, 16)
    path = write(tmp_path / "clip.mov", frames)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DamagedError, match=r"clip\.mov"):
        read_clip(path, 0, 30, frame_hashes(frames))


def test_a_clip_with_a_flipped_bit_differs_from_its_hashes(tmp_path: Path) -> None:
    frames = noise(30, 32, 16)
    path = write(tmp_path / "clip.mov", frames)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=r"clip\.mov"):
        read_clip(path, 0, 30, frame_hashes(frames))


def test_reading_past_the_end_names_the_last_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mov", noise(30, 32, 16))
    with pytest.raises(DamagedError, match="ends at frame 30 instead of 31"):
        read_clip(path, 20, 31)


def test_more_frames_than_hashes_is_damage(tmp_path: Path) -> None:
    frames = noise(8, 32, 16)
    path = write(tmp_path / "clip.mov", frames)
    with pytest.raises(DamagedError, match="frame 7"):
        list(iter_clip(path, hashes=frame_hashes(frames)[:7]))


def test_a_missing_clip_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_clip(tmp_path / "none.mov", 0, 1)


def test_a_full_disk_under_a_clip_is_an_oserror(tmp_path: Path) -> None:
    program = f"""
import numpy as np, resource
from fractions import Fraction
from pathlib import Path
from storyflow.store.clip import ClipWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
frames = np.random.default_rng(0).integers(0, 256, (30, 64, 96, 3), dtype=np.uint8)
try:
    with ClipWriter(Path({str(tmp_path / "clip.mov")!r}), 96, 64, Fraction(24)) as writer:
        writer.write(frames)
except OSError as error:
    print("refused", error.errno)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.startswith("refused"), done.stderr


def test_hashes_are_of_raw_bytes_per_frame_and_per_latent_frame() -> None:
    frames = noise(3, 4, 2)
    assert frame_hashes(frames)[1] == array_hash(frames[1].copy())
    latents = np.arange(48, dtype=np.float32).reshape(4, 3, 2, 2)
    assert latent_hashes(latents)[2] == array_hash(np.ascontiguousarray(latents[:, 2]))
    assert digest_of(()) == array_hash(np.zeros(0, np.uint8))


def test_a_tensor_comes_back_bit_for_bit_and_its_file_is_deterministic(tmp_path: Path) -> None:
    tensor = np.random.default_rng(1).normal(size=(4, 5, 3, 2)).astype(np.float32)
    tensor[0, 0, 0, 0] = np.nan
    save_tensor(tmp_path / "a.safetensors", tensor)
    save_tensor(tmp_path / "b.safetensors", tensor[:, :, :, ::-1][:, :, :, ::-1])
    assert load_tensor(tmp_path / "a.safetensors", array_hash(tensor)).tobytes() == tensor.tobytes()
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_broken_tensor_file_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensor(path, np.zeros((2, 2), np.float32))
    with pytest.raises(DamagedError, match="differs"):
        load_tensor(path, "0" * 64)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DamagedError, match="not a readable tensor file"):
        load_tensor(path)
