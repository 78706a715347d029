"""Shot masters: all generated frames of a take in one lossless clip.

The segments' packets are copied, not encoded again, with timestamps counted anew, so a master is
made at disk speed. A tag in the file holds the digest of its content: one that is up to date is
left alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from storyflow.cutting.aside import written_aside
from storyflow.errors import CutError
from storyflow.stopping import Check, go_on
from storyflow.store.artifacts import FRAMES, Artifact
from storyflow.store.clip import ClipWriter, iter_clip, mov_options, ticks, timescale
from storyflow.store.store import Store

if TYPE_CHECKING:
    from av.video.stream import VideoStream

_FORMAT = "storyflow master 1"


def master(
    store: Store,
    artifacts: Sequence[Artifact],
    path: Path,
    fps: Fraction,
    check: Check = go_on,
) -> Path:
    """The lossless master of a take at `path`, made if it is missing or of other content.

    `artifacts` are the take's segments in order. Written aside and renamed; `check` is called
    between frames. Raises DamagedError for a segment whose content is damaged (it is then out of
    the store), StoreError for a store that can't be read, CutError for a master that can't be
    written.
    """
    tag = master_tag(artifacts, fps)
    if tag_of(path) == tag:
        return path
    clips = [store.path(artifact, FRAMES) for artifact in artifacts]
    expected = sum(len(artifact.frames) for artifact in artifacts)
    with written_aside(path) as target:
        copied = _copy(clips, target, fps, tag, check)
        if copied is None:
            copied = _encode(clips, target, fps, tag, check)
        if copied != expected:
            raise CutError(
                f"the segments of {path.name} hold {copied} frames instead of {expected}",
                cure="check the store and render again",
            )
    return path


def master_tag(artifacts: Sequence[Artifact], fps: Fraction) -> str:
    """What decides a master's content, as the text of its tag."""
    body = "\n".join([str(fps), *(artifact.digest for artifact in artifacts)])
    return f"{_FORMAT} {hashlib.sha256(body.encode()).hexdigest()}"


def tag_of(path: Path) -> str | None:
    """The tag of a master's content, None for a file that isn't there or can't be read."""
    import av

    with suppress(av.FFmpegError, OSError), av.open(str(path)) as container:
        return container.metadata.get("comment")
    return None


def _copy(clips: Sequence[Path], target: Path, fps: Fraction, tag: str, check: Check) -> int | None:
    """Join by copying packets; the number of frames, or None where the clips' headers differ."""
    import av

    with av.open(str(clips[0])) as first:
        head = _header(first.streams.video[0])
        with av.open(str(target), "w", format="mov", options=mov_options(fps)) as joined:
            joined.metadata["comment"] = tag
            stream = joined.add_stream_from_template(first.streams.video[0])
            count, length = 0, ticks(fps)
            for clip in clips:
                with av.open(str(clip)) as container:
                    source = container.streams.video[0]
                    if _header(source) != head:
                        return None
                    for packet in container.demux(source):
                        if packet.size == 0:
                            continue
                        check()
                        packet.stream = stream
                        packet.time_base = Fraction(1, timescale(fps))
                        packet.pts = packet.dts = count * length
                        packet.duration = length
                        joined.mux(packet)
                        count += 1
    return count


def _header(stream: VideoStream) -> tuple[bytes | None, int, int]:
    context = stream.codec_context
    return context.extradata, context.width, context.height


def _encode(clips: Sequence[Path], target: Path, fps: Fraction, tag: str, check: Check) -> int:
    """Join by decoding and encoding losslessly, for clips that another encoder wrote."""
    shape = next(iter_clip(clips[0])).shape
    with ClipWriter(target, shape[1], shape[0], fps, tag) as writer:
        for clip in clips:
            for frame in iter_clip(clip):
                check()
                if frame.shape != shape:
                    raise CutError(
                        f"{clip} is {frame.shape[1]}x{frame.shape[0]}, its shot began with "
                        f"{shape[1]}x{shape[0]}",
                        cure="render the shot again",
                    )
                writer.write(frame[None])
    return writer.frames
