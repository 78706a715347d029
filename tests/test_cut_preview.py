"""The fast preview: what is encoded for it, what is copied, and that it is the film."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from cutting import SIZE, Sketch, drawn, plan_of
from test_cut_film import Film

from storyflow.cutting.assemble import CutReport
from storyflow.cutting.check import check_film
from storyflow.cutting.cut import cut_film
from storyflow.errors import Cancelled, CutError
from storyflow.pipeline import DeliverSection
from storyflow.planning.nodes import Plan
from storyflow.store.clip import iter_clip
from storyflow.storyboard.resolved import Title, Transition, Where

SHOTS = (Sketch("1A"), Sketch("1B", (9,), (2, 9)), Sketch("2A", (9, 8, 4), (3, 17)))
FRAMES = 14 + 7 + 14
QUICK = DeliverSection(preview=True)


def cut(film: Film, plan: Plan | None = None, deliver: DeliverSection = QUICK) -> CutReport:
    missing = {"1B": "lost"}
    return cut_film(
        plan or film.plan, film.artifacts, film.store, film.folder, deliver, missing
    )  # fmt: skip


def pieces(film: Film) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in (film.folder / "shots" / "preview").iterdir()}


@pytest.fixture
def film(tmp_path: Path) -> Film:
    return Film(tmp_path, plan_of(SHOTS))


def test_the_preview_holds_the_films_frames_in_order(film: Film) -> None:
    report = cut(film, deliver=DeliverSection(preview=True, scale=2))
    assert report.path == film.folder / "film.preview.mp4"
    assert report.frames == FRAMES
    check_film(report.path, FRAMES, film.plan.fps, report.size)
    whole = [
        frame.repeat(2, 0).repeat(2, 1)
        for shot, (start, stop) in (("1A", (0, 14)), ("1B", (2, 9)), ("2A", (3, 17)))
        for frame in list(iter_clip(film.master(shot)))[start:stop]
    ]
    shown = list(iter_clip(report.path))
    apart = [
        int(np.argmin([np.abs(a.astype(int) - b).mean() for b in whole])) for a in shown
    ]  # fmt: skip
    assert apart == list(range(FRAMES))


def test_only_a_shot_that_looks_different_is_encoded_again(film: Film) -> None:
    cut(film)
    before = pieces(film)
    assert len(before) == 3
    entries = list(film.plan.cut)
    entries[1] = replace(entries[1], stop=8)
    cut(film, replace(film.plan, cut=tuple(entries)))
    after = pieces(film)
    assert len(after) == 3, "the piece that nothing needs any more is gone"
    assert len(before.items() & after.items()) == 2


def test_shots_in_another_order_are_only_copied(film: Film) -> None:
    cut(film)
    before = pieces(film)
    cut(film, replace(film.plan, cut=film.plan.cut[::-1]))
    assert pieces(film) == before


def test_the_same_preview_again_copies_everything_and_has_the_same_bytes(film: Film) -> None:
    first, before = cut(film), pieces(film)
    again = cut(film)
    assert (again, pieces(film)) == (first, before)


def joined(plan: Plan, joint: Transition) -> Plan:
    a, b, c = plan.cut
    return replace(plan, cut=(replace(a, out=joint, stop=12), replace(b, into=joint), c))


def test_a_transition_concerns_the_two_shots_that_it_joins(film: Film) -> None:
    cut(film)
    before = pieces(film)
    cut(film, joined(film.plan, Transition("dissolve", 4)))
    assert len(before.items() & pieces(film).items()) == 1


@pytest.mark.parametrize(
    ("title", "copied"),
    [
        (Title("SWANS", 0, 6), 2),
        (Title("SWAN", 1, 6), 2),
        (Title("SWAN", 0, 6, where=Where("film.yaml", 99, 3)), 3),
    ],
    ids=["other words", "another time", "another line of the file"],
)
def test_a_title_concerns_its_shot(film: Film, title: Title, copied: int) -> None:
    def titled(title: Title) -> Plan:
        first, *rest = film.plan.cut
        return replace(film.plan, cut=(replace(first, titles=(title,)), *rest))

    cut(film, titled(Title("SWAN", 0, 6)))
    before = pieces(film)
    cut(film, titled(title))
    assert len(before.items() & pieces(film).items()) == copied


def test_another_size_is_encoded_anew(film: Film) -> None:
    cut(film)
    before = pieces(film)
    cut(film, deliver=DeliverSection(preview=True, size="64x48"))  # type: ignore[arg-type]
    assert not before.keys() & pieces(film).keys()


@pytest.mark.parametrize(
    ("which", "harm"),
    [
        (1, lambda path: os.truncate(path, path.stat().st_size * 2 // 3)),
        (0, lambda path: path.write_bytes(b"")),
        (2, lambda path: path.write_bytes(b"not a film")),
        (0, lambda path: foreign(path)),
        (1, lambda path: foreign(path)),
    ],
    ids=["truncated", "empty", "no film", "first of other headers", "other headers"],
)
def test_a_damaged_piece_is_made_again(
    film: Film, which: int, harm: Callable[[Path], object]
) -> None:
    first = cut(film)
    before = {path.name: path.read_bytes() for path in (film.folder / "shots/preview").iterdir()}
    newest = sorted((film.folder / "shots/preview").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    harm(newest[which])
    assert cut(film) == first
    after = {path.name: path.read_bytes() for path in (film.folder / "shots/preview").iterdir()}
    assert after == before


def foreign(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = SIZE.width, SIZE.height, "yuv420p"
        stream.codec_context.options = {"preset": "slow", "crf": "40"}
        for picture in drawn(14, 9):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(24000, 1001)], ids=str)
def test_the_preview_has_the_films_exact_rate(tmp_path: Path, fps: Fraction) -> None:
    film = Film(tmp_path, plan_of(SHOTS, fps))
    report = cut(film)
    check_film(report.path, FRAMES, fps, SIZE)


def test_a_preview_leaves_the_film_alone_and_a_new_film_replaces_it(film: Film) -> None:
    whole = DeliverSection(preset="ultrafast")
    cut(film, deliver=whole)
    before = (film.folder / "film.mp4").read_bytes()
    cut(film)
    assert (film.folder / "film.mp4").read_bytes() == before
    cut(film, deliver=whole)
    assert not (film.folder / "film.preview.mp4").exists()
    assert len(pieces(film)) == 3, "kept for the next preview"


def test_a_preview_shows_cards_for_what_is_missing(tmp_path: Path) -> None:
    film = Film(tmp_path, plan_of(SHOTS), without=frozenset({"1B"}))
    report = cut(film)
    assert (report.path.name, report.missing, report.frames) == (
        "film.preview.mp4", ("1B",), FRAMES
    )  # fmt: skip


def test_a_preview_that_is_stopped_leaves_the_old_one_and_keeps_its_pieces(film: Film) -> None:
    cut(film)
    old = (film.folder / "film.preview.mp4").read_bytes()
    left = iter(range(20))

    def check() -> None:
        if next(left, None) is None:
            raise Cancelled("the run was stopped")

    other = DeliverSection(preview=True, scale=2)
    with pytest.raises(Cancelled):
        cut_film(film.plan, film.artifacts, film.store, film.folder, other, {}, check)
    assert (film.folder / "film.preview.mp4").read_bytes() == old
    assert len(pieces(film)) == 4, "the first shot of the new size is there already"
    assert not list(film.folder.rglob(".*"))


def test_a_damaged_master_is_made_again_for_the_preview(film: Film) -> None:
    first = cut(film)
    for piece in (film.folder / "shots" / "preview").iterdir():
        piece.unlink()
    os.truncate(film.master("1B"), 900)
    assert cut(film) == first


def test_a_folder_that_can_not_be_written_is_one_clear_error(film: Film) -> None:
    cut(film)
    old = (film.folder / "film.preview.mp4").read_bytes()
    place = film.folder / "shots" / "preview"
    for piece in place.iterdir():
        piece.unlink()
    place.rmdir()
    place.write_text("a file in the way")
    with pytest.raises(CutError, match=r"can't write .*preview.*; name a folder"):
        cut(film)
    assert (film.folder / "film.preview.mp4").read_bytes() == old


def test_shots_of_a_single_frame_are_pieces_too(tmp_path: Path) -> None:
    film = Film(tmp_path, plan_of([Sketch("1A", (9,), (4, 5)), Sketch("1B", (9,), (0, 1))]))
    report = cut(film)
    check_film(report.path, 2, film.plan.fps, SIZE)
