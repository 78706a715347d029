"""The film as an HLS folder: fragmented MP4 in pieces of about four seconds, not encoded again."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from storyflow.cutting.aside import folder_aside, refused
from storyflow.errors import CutError

SECONDS = 4
"""A piece ends with the first key frame after so long."""

PLAYLIST = "film.m3u8"


def write_hls(film: Path, folder: Path, frames: int, fps: Fraction) -> Path:
    """Copy the film's packets into `folder`, which is written aside and then put in its place.

    The playlist's path. Frame count and rate are checked before. Raises CutError.
    """
    with folder_aside(folder) as target:
        _copy(film, target, folder)
        _check(target / PLAYLIST, folder, frames, fps)
    return folder / PLAYLIST


def _copy(film: Path, target: Path, folder: Path) -> None:
    import ffmpeg
    import imageio_ffmpeg

    command = ffmpeg.input(str(film.resolve())).output(
        PLAYLIST,
        # Chapters and timecode are streams that players of HLS don't know.
        **{"map": "0:v:0", "c": "copy", "map_metadata": "-1", "map_metadata:s:v": "-1"},
        map_chapters="-1",
        f="hls",
        hls_time=SECONDS,
        hls_playlist_type="vod",
        hls_segment_type="fmp4",
        hls_fmp4_init_filename="init.mp4",
        hls_segment_filename="%05d.m4s",
        hls_flags="independent_segments",
    )
    arguments = ffmpeg.compile(command, cmd=imageio_ffmpeg.get_ffmpeg_exe(), overwrite_output=True)
    arguments[1:1] = ["-nostdin", "-loglevel", "error"]
    try:
        # Its folder is the current one, so that the playlist names its pieces relatively.
        subprocess.run(arguments, cwd=target, check=True, capture_output=True, text=True)
    except OSError as error:
        raise refused("write", folder, error) from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["it said nothing"]
        raise CutError(
            f"ffmpeg could not write {folder}: {lines[-1]}",
            cure="check the disk, then cut again",
        ) from error


def _check(playlist: Path, folder: Path, frames: int, fps: Fraction) -> None:
    import av

    try:
        with av.open(str(playlist), format="hls") as container:
            stream = container.streams.video[0]
            base = stream.time_base or Fraction(0)
            packets = (packet for packet in container.demux(stream) if packet.size)
            times = sorted(-1 if packet.pts is None else packet.pts for packet in packets)
    except (av.FFmpegError, IndexError) as error:
        raise CutError(f"{folder} can't be read back: {error}", cure="cut again") from error
    steps = {(later - time) * base for time, later in pairwise(times)}
    if len(times) != frames or steps - {1 / fps}:
        raise CutError(
            f"{folder} holds {len(times)} frames at intervals of {sorted(map(str, steps))} s "
            f"instead of {frames} of {1 / fps} s",
            cure="cut again; if it happens again, report it",
        )
