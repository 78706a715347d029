"""From stored segments to the film: masters, the pass over the cut, partial films, damage."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from cutting import SIZE, Sketch, drawn, plan_of, render
from numpy.typing import NDArray

from storyflow.cutting.assemble import CutReport
from storyflow.cutting.cut import cut_film
from storyflow.cutting.masters import master
from storyflow.errors import Cancelled, CutError, DamagedError, StoreError
from storyflow.pipeline import DeliverSection
from storyflow.planning.nodes import Plan
from storyflow.store.artifacts import Artifact
from storyflow.store.clip import ClipWriter, iter_clip
from storyflow.store.hashing import digest_of, file_hash, frame_hashes
from storyflow.store.store import Store
from storyflow.timing import Size

QUICK = DeliverSection(preset="ultrafast")
SHOTS = (Sketch("1A"), Sketch("1B", (9,), (2, 9)), Sketch("2A", (9, 8, 4), (3, 20)))


class Film:
    """A rendered film in a temporary folder, ready to be cut."""

    def __init__(self, root: Path, plan: Plan, without: frozenset[str] = frozenset()) -> None:
        self.root, self.plan = root, plan
        self.store = Store(root / "store")
        self.artifacts = render(self.store, plan, root / "scratch", without)
        self.folder = root / "out"

    def cut(self, deliver: DeliverSection = QUICK, **missing: str) -> CutReport:
        named = {shot.lstrip("_"): cause for shot, cause in missing.items()}
        # A store opened anew, as by the next run: nothing counts as verified.
        store = Store(self.store.root)
        return cut_film(self.plan, self.artifacts, store, self.folder, deliver, named)

    def segments(self, shot: str, take: int = 1) -> list[Artifact]:
        return [self.artifacts[s.recipe] for s in self.plan.take(shot, take).segments]

    def master(self, shot: str) -> Path:
        return self.folder / "shots" / f"{shot}.mov"


@pytest.fixture
def film(tmp_path: Path) -> Film:
    return Film(tmp_path, plan_of(SHOTS))


def test_the_film_has_exactly_the_planned_frames_in_order(film: Film) -> None:
    report = film.cut()
    assert report.path == film.folder / "film.mp4"
    assert report.frames == film.plan.frames == 14 + 7 + 17
    expected = [
        sha256
        for entry in film.plan.cut
        for sha256 in [h for a in film.segments(entry.shot) for h in a.frames][
            entry.start : entry.stop
        ]
    ]
    assert report.frames_sha256 == digest_of(expected)
    assert report.sha256 == file_hash(report.path)
    assert report.missing == ()


def test_a_master_is_lossless_and_holds_every_generated_frame(film: Film) -> None:
    film.cut()
    for take in film.plan.takes:
        frames = list(iter_clip(film.master(take.shot.id)))
        assert frame_hashes(np.stack(frames)) == tuple(
            h for a in film.segments(take.shot.id) for h in a.frames
        )


@pytest.mark.parametrize("fps", [Fraction(24), Fraction(25), Fraction(24000, 1001)], ids=str)
def test_master_and_film_have_one_exact_frame_rate(tmp_path: Path, fps: Fraction) -> None:
    film = Film(tmp_path, plan_of(SHOTS, fps))
    report = film.cut()
    for path, frames in [(report.path, 38), (film.master("2A"), 21)]:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            base = stream.time_base
            assert base is not None
            times = sorted((p.pts or 0) * base for p in container.demux(stream) if p.size)
            assert times == [n / fps for n in range(frames)]
            assert stream.average_rate == fps
            assert stream.duration is not None
            assert stream.duration * base == frames / fps
            assert container.duration is not None
            assert abs(container.duration - frames / fps * 1_000_000) <= 1


def test_cutting_again_gives_the_same_bytes_and_leaves_the_masters_alone(film: Film) -> None:
    first = film.cut()
    before = {path: path.stat().st_mtime_ns for path in (film.folder / "shots").iterdir()}
    second = film.cut()
    assert second == first
    assert {path: path.stat().st_mtime_ns for path in (film.folder / "shots").iterdir()} == before


def test_nothing_is_left_beside_the_film_and_its_masters(film: Film) -> None:
    film.cut()
    names = sorted(str(p.relative_to(film.folder)) for p in film.folder.rglob("*") if p.is_file())
    assert names == ["film.jpg", "film.mp4", "shots/1A.mov", "shots/1B.mov", "shots/2A.mov"]


def test_every_whole_take_has_a_master_and_the_cut_shows_the_chosen_one(tmp_path: Path) -> None:
    film = Film(tmp_path, plan_of([Sketch("1A", takes=2, take=2), Sketch("1A.2", (9,), (0, 9))]))
    report = film.cut()
    names = {path.name for path in (film.folder / "shots").iterdir()}
    assert names == {"1A.mov", "1A.2.mov", "1A%2E2.mov"}
    shown = [h for a in film.segments("1A", 2) for h in a.frames][:14]
    shown += [h for a in film.segments("1A.2") for h in a.frames]
    assert report.frames_sha256 == digest_of(shown)


def test_a_missing_shot_is_a_card_of_its_exact_length(tmp_path: Path) -> None:
    film = Film(tmp_path, plan_of(SHOTS), without=frozenset({"1B"}))
    report = film.cut(_1B="segment 1B/1: out of memory")
    assert report.path.name == "film.partial.mp4"
    assert report.frames == film.plan.frames
    assert report.missing == ("1B",)
    pictures = list(iter_clip(report.path))
    card = np.stack(pictures[14:21]).astype(int)
    assert np.abs(card - card[0]).mean() < 3, "the card stands still"
    assert abs(np.median(card) - 38) <= 4, "on dark grey"


def test_a_partial_film_leaves_the_whole_one_and_a_whole_one_replaces_it(film: Film) -> None:
    film.cut()
    whole = film.artifacts
    lost = {s.recipe for s in film.plan.take("2A", 1).segments[1:]}
    film.artifacts = {r: a for r, a in whole.items() if r not in lost}
    film.cut(_2A="lost")
    assert {p.name for p in film.folder.glob("*.mp4")} == {"film.mp4", "film.partial.mp4"}
    film.artifacts = whole
    film.cut()
    assert {p.name for p in film.folder.glob("*.mp4")} == {"film.mp4"}


def test_a_segment_that_nobody_explains_is_an_error_and_not_a_card(tmp_path: Path) -> None:
    film = Film(tmp_path, plan_of(SHOTS), without=frozenset({"1B"}))
    with pytest.raises(CutError, match="shot 1B can't be cut: segment 1B/1 is not in the store"):
        film.cut()


@pytest.mark.parametrize(
    "harm",
    [
        Path.unlink,
        lambda path: os.truncate(path, 1000),
        lambda path: path.write_bytes(b"not a film"),
        lambda path: flip(path, 0.4),
    ],
    ids=["missing", "truncated", "foreign", "flipped"],
)
def test_a_damaged_master_is_made_again(film: Film, harm: Callable[[Path], object]) -> None:
    first = film.cut()
    harm(film.master("2A"))
    assert film.cut() == first
    frames = np.stack(list(iter_clip(film.master("2A"))))
    assert frame_hashes(frames) == tuple(h for a in film.segments("2A") for h in a.frames)


def flip(path: Path, where: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * where)] ^= 16
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_damaged_segment_leaves_the_old_film_and_says_so(film: Film) -> None:
    film.cut()
    before = (film.folder / "film.mp4").read_bytes()
    film.master("1A").unlink()
    flip(film.store.path(film.segments("1A")[0], "frames.mov"), 0.5)
    with pytest.raises(DamagedError, match="was set aside; run the same command again"):
        film.cut()
    assert (film.folder / "film.mp4").read_bytes() == before
    assert Store(film.store.root).find(film.segments("1A")[0].key) is None


def test_segments_of_another_encoder_are_joined_without_loss(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    pieces, artifacts = [drawn(9, 1), drawn(6, 2)], []
    for index, frames in enumerate(pieces):
        clip = tmp_path / f"{index}.mov"
        write_with_preset(clip, frames, ["ultrafast", "medium"][index])
        hashes = frame_hashes(frames)
        artifacts.append(
            store.commit(
                key=f"key{index}",
                recipe=f"recipe{index}",
                kind="segment",
                digest=digest_of(hashes),
                inputs="",
                files={"frames.mov": clip},
                frames=hashes,
            )
        )
    path = master(store, artifacts, tmp_path / "1A.mov", Fraction(24))
    assert np.array_equal(np.stack(list(iter_clip(path))), np.concatenate(pieces))


def write_with_preset(path: Path, frames: NDArray[np.uint8], preset: str) -> None:
    with ClipWriter(path, frames.shape[2], frames.shape[1], Fraction(24)) as writer:
        writer._stream.codec_context.options = {"preset": preset, "qp": "0", "bf": "0"}
        writer.write(frames)


def test_a_segment_with_the_wrong_number_of_frames_is_refused(film: Film) -> None:
    artifact = film.segments("1B")[0]
    clip = film.root / "short.mov"
    with ClipWriter(clip, SIZE.width, SIZE.height, Fraction(24)) as writer:
        writer.write(drawn(5, 3))
    wrong = film.store.commit(
        key="wrong",
        recipe="wrong",
        kind="segment",
        digest="",
        inputs="",
        files={"frames.mov": clip},
        frames=artifact.frames,
    )
    with pytest.raises(CutError, match=r"segments of 1B\.mov hold 5 frames instead of 9"):
        master(film.store, [wrong], film.folder / "1B.mov", Fraction(24))
    assert not (film.folder / "1B.mov").exists()


def test_a_film_of_another_size_than_its_masters_is_refused(film: Film) -> None:
    film.plan = plan_of(SHOTS, size=Size(64, 32))
    with pytest.raises(CutError, match=r"master of shot 1A, .* is 48x32, the film is 64x32"):
        film.cut()
    assert not (film.folder / "film.mp4").exists()


def test_a_folder_that_cannot_be_written_is_one_clear_error(film: Film) -> None:
    film.folder.write_text("a file in the way")
    with pytest.raises(CutError, match=r"can't write .*1A\.mov: .*; name a folder"):
        film.cut()


def test_a_disk_that_fills_up_leaves_the_old_film(film: Film) -> None:
    film.cut()
    before = (film.folder / "film.mp4").read_bytes()
    program = f"""
import resource, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from cutting import plan_of, render
from test_cut_film import SHOTS, Film
from storyflow.errors import CutError
from storyflow.pipeline import DeliverSection
film = Film(Path({str(film.root)!r}), plan_of(SHOTS))
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    film.cut(DeliverSection(preset="ultrafast", crf=1))
except CutError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "film.mp4: a file grew past the allowed size" in done.stdout, done.stderr
    assert (film.folder / "film.mp4").read_bytes() == before
    assert {p.name for p in film.folder.iterdir()} == {"film.mp4", "film.jpg", "shots"}


@pytest.mark.parametrize("frames", [0, 20, 60], ids=["first master", "last master", "film"])
def test_a_cut_that_is_stopped_leaves_what_was_there(film: Film, frames: int) -> None:
    film.cut()
    before = {path: path.read_bytes() for path in film.folder.rglob("*") if path.is_file()}
    for shot in ("1A", "1B", "2A"):
        film.master(shot).unlink()
    left = iter(range(frames))

    def check() -> None:
        if next(left, None) is None:
            raise Cancelled("the run was stopped")

    with pytest.raises(Cancelled):
        cut_film(film.plan, film.artifacts, film.store, film.folder, QUICK, {}, check)
    after = {path: path.read_bytes() for path in film.folder.rglob("*") if path.is_file()}
    assert after.items() <= before.items(), "no new name, no new bytes"
    assert film.folder / "film.mp4" in after
    assert (film.master("1A") in after, film.master("2A") in after) == (frames > 17, frames > 47)


def test_a_store_that_vanished_is_one_clear_error(film: Film) -> None:
    film.store.root.rename(film.root / "unmounted")
    with pytest.raises(StoreError, match="it does not exist or vanished; check that its disk"):
        film.cut()
