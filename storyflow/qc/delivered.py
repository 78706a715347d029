"""The delivered file against the pictures that went into it: SSIM, and VMAF where it is asked for.

The pictures are made again from the masters as the cut made them and go to ffmpeg through a pipe,
which compares them with the file, frame by frame. Frames on which a transition or a title lies are
left out: they show more than a master.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, cast

from storyflow.cutting.cut import master_of
from storyflow.cutting.geometry import Geometry
from storyflow.cutting.manifest import Manifest, ManifestFilm, ManifestShot
from storyflow.errors import InputError
from storyflow.qc.measure import reading
from storyflow.qc.verdicts import Delivery
from storyflow.stopping import Check, go_on
from storyflow.store.hashing import file_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def film_sha256(folder: Path, film: ManifestFilm) -> str:
    """The film file's sha256. Raises InputError: it is gone, or another than the manifest's."""
    path = folder / film.file
    try:
        sha256 = file_hash(path)
    except OSError as error:
        raise InputError(
            f"{path} can't be read: {error.strerror}", cure="cut the film again: storyflow cut"
        ) from error
    if sha256 != film.sha256:
        raise InputError(
            f"{path} is not the film that film.json tells of", cure="cut it again: storyflow cut"
        )
    return sha256


def compare(
    folder: Path,
    manifest: Manifest,
    film: ManifestFilm,
    geometry: Geometry,
    *,
    vmaf: bool,
    check: Check = go_on,
) -> Delivery | None:
    """Compare the film of a folder with its masters; None where no frame shows a master alone.

    Raises InputError: a film that isn't the manifest's, masters that can't be read.
    """
    path, sha256 = folder / film.file, film_sha256(folder, film)
    with TemporaryDirectory(prefix="storyflow-qc-") as scratch:
        kept = _run(folder, manifest, geometry, path, Path(scratch), vmaf, check)
        ssim = _ssim(Path(scratch) / "ssim")
        marks = _vmaf(Path(scratch) / "vmaf") if vmaf else []
    if len(ssim) != manifest.frames:
        raise InputError(
            f"{path} shows {len(ssim)} frames instead of {manifest.frames}",
            cure="cut the film again: storyflow cut",
        )
    if not kept:
        return None
    least = min(kept, key=ssim.__getitem__)
    return Delivery(
        file=film.file,
        sha256=sha256,
        ssim=sum(ssim[frame] for frame in kept) / len(kept),
        worst=ssim[least],
        frame=least,
        vmaf=sum(marks[frame] for frame in kept) / len(kept) if marks else None,
    )


def _run(
    folder: Path,
    manifest: Manifest,
    geometry: Geometry,
    path: Path,
    scratch: Path,
    vmaf: bool,
    check: Check,
) -> list[int]:
    """Let ffmpeg compare; the frames of the film that count."""
    import ffmpeg
    import imageio_ffmpeg

    command = ffmpeg.compile(
        _graph(manifest, geometry, path, vmaf), cmd=imageio_ffmpeg.get_ffmpeg_exe()
    )
    kept = []
    with (scratch / "told").open("w+b") as told:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=told, cwd=scratch
        )
        try:
            # Where ffmpeg ends early it says why; the pipe that breaks is only the consequence.
            with suppress(BrokenPipeError), cast("IO[bytes]", process.stdin) as pipe:
                for frame, (picture, counts) in enumerate(_pictures(folder, manifest, geometry)):
                    check()
                    pipe.write(picture.data)
                    kept += [frame] if counts else []
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        told.seek(0)
        why = told.read().decode(errors="replace").strip().splitlines()
    if process.returncode:
        raise InputError(
            f"{path} can't be compared with its masters: {why[-1] if why else 'ffmpeg failed'}",
            cure="cut the film again: storyflow cut",
        )
    return kept


def _graph(manifest: Manifest, geometry: Geometry, path: Path, vmaf: bool) -> Any:
    """Both as planar YUV of bt709, counted frame by frame, into the comparing filters."""
    import ffmpeg

    rate = Fraction(manifest.fps)
    fps = f"{rate.numerator}/{rate.denominator}"
    raw = ffmpeg.input(
        "pipe:", format="rawvideo", pix_fmt="rgb24", s=str(geometry.delivered), framerate=fps
    )
    made = ffmpeg.input(str(path.absolute())).video
    streams = [
        raw.filter("scale", out_color_matrix="bt709", out_range="tv"),
        made,
    ]
    ready = [
        stream.filter("format", "yuv420p")
        .filter("settb", f"1/{rate.numerator}")
        .filter("setpts", f"N*{rate.denominator}")
        for stream in streams
    ]
    reference, film = ready
    again = None
    if vmaf:
        split = reference.filter_multi_output("split")
        reference, again = split[0], split[1]
    compared = ffmpeg.filter([film, reference], "ssim", stats_file="ssim")
    if again is not None:
        compared = ffmpeg.filter([compared, again], "libvmaf", log_path="vmaf", log_fmt="json")
    return compared.output("-", format="null").global_args("-loglevel", "error")


def _pictures(
    folder: Path, manifest: Manifest, geometry: Geometry
) -> Iterator[tuple[NDArray[np.uint8], bool]]:
    """The film's pictures without transitions and titles, and whether each is as delivered."""
    import numpy as np

    size = geometry.delivered
    black = np.zeros((size.height, size.width, 3), np.uint8)
    for shot in manifest.shots:
        if shot.film is None or shot.cut is None:
            continue
        first, last = shot.film
        if shot.missing is not None:
            yield from ((black, False) for _ in range(first, last))
            continue
        covered = _covered(shot)
        with reading(master_of(folder, shot.id, shot.take), *shot.cut) as frames:
            for place, frame in enumerate(frames):
                if shot.match is not None:
                    frame = shot.match.apply(shot.cut[0] + place, frame)
                picture = np.ascontiguousarray(geometry.apply(frame))
                yield picture, first + place not in covered


def _covered(shot: ManifestShot) -> frozenset[int]:
    ranges = [each.frames for each in (shot.into, shot.out) if each is not None]
    ranges += [title.frames for title in shot.titles]
    return frozenset(frame for start, stop in ranges for frame in range(start, stop))


def _ssim(path: Path) -> list[float]:
    """Luma's SSIM of each frame, from lines as `n:1 Y:0.99 U:... All:... (20.0)`."""
    lines = path.read_text("ascii").splitlines()
    return [float(line.split("Y:")[1].split()[0]) for line in lines]


def _vmaf(path: Path) -> list[float]:
    told = json.loads(path.read_text("utf-8"))
    return [float(frame["metrics"]["vmaf"]) for frame in told["frames"]]
