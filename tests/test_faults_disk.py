"""Whole films on disks that refuse, fill up or rot: one clear error, nothing lost, the same command
goes on. Every film is a process of its own, started as `storyflow render`."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from campaign.play import Theatre
from campaign.stage import Stage

SEGMENTS = 7


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    theatre = Theatre(tmp_path_factory.mktemp("faults"))
    yield theatre
    theatre.close()


@pytest.fixture
def stage(theatre: Theatre, request: pytest.FixtureRequest) -> Iterator[Stage]:
    theatre.undisturbed("slate")
    yield Stage(theatre.work, f"{abs(hash(request.node.name))}", "slate")
    (theatre.work / "fault.json").unlink(missing_ok=True)


def render(stage: Stage) -> int:
    return stage.finish(stage.start("in-process"))


def begun(stage: Stage, after: int = 0) -> list[str]:
    """Names of the segments that were begun, in order."""
    return [line["job"] for line in stage.trace(after) if line["verb"] == "begin"]


REFUSALS = [
    ("store/", errno.EIO, 10, "the disk reports an error; check the disk, then run the same"),
    ("store/", errno.ENOSPC, 25, "the disk is full; free some space and run the same command"),
    ("store/artifacts", errno.EIO, 2, "the disk reports an error"),
    ("store/blobs", errno.ESTALE, 3, "the network folder was lost; mount it again"),
    ("store/", errno.EROFS, 1, "the file system is read-only; name a folder that can be written"),
    ("out/film", errno.EIO, 1, "can't write .*film.mp4: the disk reports an error"),
]


@pytest.mark.parametrize(("place", "error", "every", "told"), REFUSALS)
def test_a_disk_that_refuses_stops_the_film_and_the_same_command_goes_on(
    theatre: Theatre, stage: Stage, place: str, error: int, every: int, told: str
) -> None:
    """A process is refused every so many writes; each run gets on by what it wrote before that."""
    fault = {"place": place, "errno": error, "every": every}
    (theatre.work / "fault.json").write_text(json.dumps(fault))
    kept: set[str] = set()
    for run in range(3):
        code = render(stage)
        if code == 0 and run > 0:
            return  # it got to the end, a few writes at a time
        assert code == 5
        assert re.search(told, stage.said()), stage.log().read_text()
        assert "Traceback" not in stage.log().read_text()
        now = set(stage.committed())
        assert kept <= now
        kept = now
    (theatre.work / "fault.json").unlink()
    seen = len(stage.trace())
    assert render(stage) == 0
    assert stage.outcome() == theatre.undisturbed("slate")
    assert len(begun(stage, seen)) == SEGMENTS - len(kept), "what was committed is reused"


def test_a_disk_that_is_too_small_keeps_what_fits(
    theatre: Theatre, stage: Stage, small_disk: Callable[[str], None]
) -> None:
    """A store of 0.4 MB on a disk of 0.25 MB, which is then enlarged."""
    small_disk("size=256k")
    assert render(stage) == 5
    assert "the disk is full; free some space and run the same command again" in stage.said()
    kept = stage.committed()
    assert 0 < len(kept) < SEGMENTS
    assert render(stage) == 5, "it stays full"
    assert stage.committed().keys() >= kept.keys()
    small_disk("remount,size=4m")
    assert render(stage) == 0
    assert stage.outcome() == theatre.undisturbed("slate")


@pytest.fixture
def small_disk(stage: Stage) -> Iterator[Callable[[str], None]]:
    """Mounts a disk of its own at the store's place."""
    stage.store.mkdir()

    def mount(options: str) -> None:
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(stage.store)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")

    yield mount
    subprocess.run(["umount", str(stage.store)], capture_output=True)


def flip(path: Path) -> None:
    """One bit, with size and time as they were: what a disk does by itself."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def truncate(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)


HARM: dict[str, Callable[[Path], None]] = {
    "flipped": flip,
    "truncated": truncate,
    "emptied": lambda path: (path.chmod(0o644), path.write_bytes(b""))[0],
    "gone": Path.unlink,
}


@pytest.mark.parametrize("harm", list(HARM.values()), ids=list(HARM))
def test_a_damaged_segment_is_found_and_rendered_again(
    theatre: Theatre, stage: Stage, harm: Callable[[Path], None]
) -> None:
    """The film's last segment, whose pixels the next cut reads from the store."""
    assert render(stage) == 0
    name, key, _ = stage.outcome().segments[-1]
    (blob,) = stage.committed()[key].blobs
    (path,) = stage.store.glob(f"blobs/*/{blob}")
    harm(path)
    for made in (*stage.out.glob("*.mp4"), *stage.out.glob("shots/*")):
        made.unlink()
    seen, runs = len(stage.trace()), 0
    while (code := render(stage)) != 0:
        runs += 1
        assert (code, runs) == (5, 1), stage.log().read_text()
        assert "damaged and was set aside; run the same command again" in stage.said()
    assert begun(stage, seen) == [name]
    assert stage.outcome() == theatre.undisturbed("slate")


def test_an_artifact_cut_short_is_rendered_again(theatre: Theatre, stage: Stage) -> None:
    assert render(stage) == 0
    name, key, _ = stage.outcome().segments[0]
    truncate(stage.store / "artifacts" / key[:2] / key / "done.json")
    seen = len(stage.trace())
    assert render(stage) == 0
    assert begun(stage, seen) == [name]
    assert stage.outcome() == theatre.undisturbed("slate")
