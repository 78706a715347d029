"""Dissolves, wipes and fades: which frames they change, and into what."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from cutting import SIZE, drawn
from numpy.typing import NDArray

from storyflow.cutting.assemble import assemble
from storyflow.cutting.card import missing_card
from storyflow.cutting.geometry import geometry
from storyflow.cutting.pictures import (
    Entry,
    Footage,
    Missing,
    film_pictures,
    shot_pictures,
)
from storyflow.cutting.transitions import blend, fade, mix
from storyflow.errors import CutError
from storyflow.pipeline import DeliverSection
from storyflow.store.clip import ClipWriter, iter_clip
from storyflow.store.hashing import frame_hashes
from storyflow.storyboard.resolved import Title, Transition, Way

FILM24 = Fraction(24)
PLAIN = geometry(SIZE, DeliverSection())
TAKE = 40
"""Frames of every take here."""


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, NDArray[np.uint8]]]:
    """Three masters and their frames."""
    folder = tmp_path_factory.mktemp("masters")
    made = {}
    for number, shot in enumerate("ABC", 1):
        frames = drawn(TAKE, number)
        with ClipWriter(folder / f"{shot}.mov", SIZE.width, SIZE.height, FILM24) as writer:
            writer.write(frames)
        made[shot] = folder / f"{shot}.mov", frames
    return made


class Film:
    """Entries over the masters, as the planner would give them."""

    def __init__(self, takes: dict[str, tuple[Path, NDArray[np.uint8]]]) -> None:
        self.takes = takes

    def shot(
        self,
        shot: str,
        start: int,
        stop: int,
        into: Transition = Transition(),  # noqa: B008 - frozen
        out: Transition = Transition(),  # noqa: B008 - frozen
        titles: tuple[Title, ...] = (),
    ) -> Footage:
        master, frames = self.takes[shot]
        hold = max(0, into.before - start)
        first, last = start - into.before + hold, stop + out.after
        hashes = frame_hashes(frames[first:last])
        return Footage(shot, master, start, stop, hashes, hold, into, out, titles)

    def frame(self, shot: str, index: int) -> NDArray[np.uint8]:
        return self.takes[shot][1][index]


@pytest.fixture
def film(takes: dict[str, tuple[Path, NDArray[np.uint8]]]) -> Film:
    return Film(takes)


def pictures(entries: Sequence[Entry]) -> list[NDArray[np.uint8]]:
    return [picture.pixels for picture in film_pictures(entries, PLAIN)]


def digests(entries: Sequence[Entry]) -> list[str]:
    return [picture.sha256 for picture in film_pictures(entries, PLAIN)]


def between(a: NDArray[np.uint8], b: NDArray[np.uint8], part: Fraction) -> NDArray[np.float64]:
    return a + (b.astype(float) - a) * float(part)


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 16])
def test_a_dissolve_is_centred_on_the_cut_and_changes_nothing_else(film: Film, frames: int) -> None:
    joint = Transition("dissolve", frames)
    entries = [film.shot("A", 2, 22, out=joint), film.shot("B", 10, 28, into=joint)]
    shown = pictures(entries)
    assert len(shown) == 20 + 18, "a dissolve does not change the length of the film"
    before = frames // 2
    for place, picture in enumerate(shown):
        step = place - (20 - before)
        old = film.frame("A", 2 + place) if place < 20 + frames - before else None
        new = film.frame("B", 10 + place - 20) if place >= 20 - before else None
        if 0 <= step < frames:
            assert old is not None and new is not None
            exact = between(old, new, Fraction(2 * step + 1, 2 * frames))
            assert np.abs(picture - exact).max() <= 1, place
        else:
            assert np.array_equal(picture, old if step < 0 else new), place


def test_a_dissolve_takes_as_much_from_one_side_as_from_the_other() -> None:
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    joint = Transition("dissolve", 24)
    levels = [int(mix(black, white, joint, step)[0, 0, 0]) for step in range(24)]
    assert levels == sorted(levels) and len(set(levels)) == 24
    assert np.abs(np.add(levels, levels[::-1]) - 255).max() <= 1
    assert levels[0] > 0 and levels[-1] < 255, "its first frame shows some of the next shot"


def test_a_blend_is_rounded_to_the_nearest_level() -> None:
    levels = np.arange(256, dtype=np.uint8)
    a, b = np.repeat(levels, 256), np.tile(levels, 256)
    for share in (0, 1, 100, 128, 255, 256):
        exact = (a.astype(int) * (256 - share) + b.astype(int) * share + 128) // 256
        assert np.array_equal(blend(a, b, share), exact)


def test_a_shot_without_frames_before_its_first_holds_that_under_a_dissolve(film: Film) -> None:
    joint = Transition("dissolve", 8)
    entry = film.shot("B", 0, 12, into=joint)
    assert (entry.hold, entry.first) == (4, 0)
    shown = pictures([film.shot("A", 0, 12, out=joint), entry])
    for step in range(8):
        old, new = film.frame("A", 8 + step), film.frame("B", max(0, step - 4))
        assert np.array_equal(shown[8 + step], mix(old, new, joint, step))


def test_a_shot_with_too_few_frames_before_holds_the_first_of_them(film: Film) -> None:
    joint = Transition("dissolve", 8)
    entry = film.shot("B", 1, 12, into=joint)
    assert (entry.hold, entry.first) == (3, 0)
    shown = pictures([film.shot("A", 0, 12, out=joint), entry])
    held = [film.frame("B", max(0, 1 + step - 4)) for step in range(8)]
    for step in range(8):
        assert np.array_equal(
            shown[8 + step], mix(film.frame("A", 8 + step), held[step], joint, step)
        )


@pytest.mark.parametrize(
    ("way", "seen"),
    [
        ("left", (slice(None), slice(-6, None))),
        ("right", (slice(None), slice(0, 6))),
        ("up", (slice(-4, None),)),
        ("down", (slice(0, 4),)),
    ],
)
def test_a_wipes_edge_moves_where_it_is_told(way: Way, seen: tuple[slice, ...]) -> None:
    old, new = np.zeros((32, 48, 3), np.uint8), np.full((32, 48, 3), 9, np.uint8)
    joint = Transition("wipe", 4, way=way)
    first = mix(old, new, joint, 0)  # an eighth of the picture
    assert (first[seen] == 9).all() and first.sum() == 9 * 32 * 48 * 3 // 8
    shares = [int(mix(old, new, joint, step).sum()) * 8 // (9 * 32 * 48 * 3) for step in range(4)]
    assert shares == [1, 3, 5, 7]


def test_a_wipe_is_centred_on_the_cut(film: Film) -> None:
    joint = Transition("wipe", 6, way="left")
    shown = pictures([film.shot("A", 0, 12, out=joint), film.shot("B", 5, 17, into=joint)])
    assert len(shown) == 24
    assert np.array_equal(shown[8], film.frame("A", 8))
    assert np.array_equal(shown[15], film.frame("B", 8))
    assert np.array_equal(shown[9][:, -4:], film.frame("B", 2)[:, -4:])
    assert np.array_equal(shown[9][:, :-4], film.frame("A", 9)[:, :-4])


@pytest.mark.parametrize("color", ["black", "white", "#204060"])
def test_fades_lie_inside_the_shot_and_end_in_nothing_but_colour(film: Film, color: str) -> None:
    edge, out = Transition("fade", 5, color), Transition("fade", 3, color)
    shown = pictures([film.shot("A", 4, 24, into=edge, out=out)])
    rgb = {"black": (0, 0, 0), "white": (255, 255, 255), "#204060": (32, 64, 96)}[color]
    assert len(shown) == 20
    assert (shown[0] == rgb).all() and (shown[-1] == rgb).all()
    for place in range(5):
        exact = between(np.array(rgb), film.frame("A", 4 + place), Fraction(place, 5))
        assert np.abs(shown[place] - exact).max() <= 1
    for place in range(5, 17):
        assert np.array_equal(shown[place], film.frame("A", 4 + place))
    assert np.array_equal(shown[18], fade(film.frame("A", 22), color, 85))


def test_three_shots_in_a_row_dissolve_into_each_other(film: Film) -> None:
    one, two = Transition("dissolve", 7), Transition("dissolve", 5)
    entries = [
        film.shot("A", 0, 10, out=one),
        film.shot("B", 6, 12, into=one, out=two),  # six frames: four and two of them are mixed
        film.shot("C", 9, 19, into=two),
    ]
    shown = pictures(entries)
    assert len(shown) == 26
    for step in range(7):
        old, new = film.frame("A", 7 + step), film.frame("B", 3 + step)
        assert np.array_equal(shown[7 + step], mix(old, new, one, step))
    for step in range(5):
        old, new = film.frame("B", 10 + step), film.frame("C", 7 + step)
        assert np.array_equal(shown[14 + step], mix(old, new, two, step))


def test_one_shots_pictures_can_be_had_without_those_before_it(film: Film) -> None:
    joint, end = Transition("dissolve", 6), Transition("fade", 4)
    entries = [
        film.shot("A", 0, 12, out=joint),
        film.shot("B", 8, 20, into=joint, out=joint),
        film.shot("C", 3, 15, into=joint, out=end),
    ]
    alone = [p.sha256 for index in (2, 1, 0) for p in shot_pictures(entries, index, PLAIN)]
    whole = digests(entries)
    assert alone == whole[24:] + whole[12:24] + whole[:12]


def test_a_card_stands_in_for_a_missing_shot_under_its_transitions(film: Film) -> None:
    joint, end = Transition("dissolve", 6), Transition("fade", 4)
    lost = Missing("B", "out of memory", 12, into=joint, out=end)
    shown = pictures([film.shot("A", 0, 12, out=joint), lost])
    card = missing_card("B", "out of memory", SIZE)
    assert len(shown) == 24
    for step in range(6):
        assert np.array_equal(shown[9 + step], mix(film.frame("A", 9 + step), card, joint, step))
    assert np.array_equal(shown[16], card)
    assert not shown[-1].any()


@pytest.mark.parametrize(
    ("kind", "frames"),
    [
        ("cut", []),
        ("dissolve", [*range(9, 16)]),
        ("wipe", [*range(9, 16)]),
        ("fade", [*range(5, 19)]),
    ],
)
def test_a_transition_changes_the_digests_of_its_frames_and_no_others(
    film: Film, kind: str, frames: list[int]
) -> None:
    joint = Transition(kind, 7 if kind != "cut" else 0, way="up" if kind == "wipe" else None)  # type: ignore[arg-type]
    plain = digests([film.shot("A", 0, 12), film.shot("B", 8, 20)])
    joined = digests([film.shot("A", 0, 12, out=joint), film.shot("B", 8, 20, into=joint)])
    assert [n for n, (a, b) in enumerate(zip(plain, joined, strict=True)) if a != b] == frames


def test_the_digest_of_a_picture_tells_what_was_done_to_it(film: Film) -> None:
    def told(joint: Transition) -> str:
        entries = [film.shot("A", 0, 12, out=joint), film.shot("B", 8, 20, into=joint)]
        return digests(entries)[11]

    joints = [
        Transition(),
        Transition("dissolve", 6),
        Transition("dissolve", 7),
        Transition("wipe", 6, way="left"),
        Transition("wipe", 6, way="up"),
        Transition("fade", 6),
        Transition("fade", 6, "white"),
    ]
    first = [told(joint) for joint in joints]
    assert len(set(first)) == len(joints)
    assert first == [told(joint) for joint in joints]


def test_the_digest_does_not_depend_on_the_delivered_size(film: Film) -> None:
    joint = Transition("dissolve", 6)
    entries = [film.shot("A", 0, 12, out=joint), film.shot("B", 8, 20, into=joint)]
    large = geometry(SIZE, DeliverSection(scale=2))
    assert [p.sha256 for p in film_pictures(entries, large)] == digests(entries)


def test_the_delivered_film_shows_the_dissolve(film: Film, tmp_path: Path) -> None:
    joint = Transition("dissolve", 6)
    entries = [film.shot("A", 0, 12, out=joint), film.shot("B", 8, 20, into=joint)]
    deliver = DeliverSection(preset="veryfast", crf=1)

    def cut(name: str) -> str:
        path = tmp_path / name
        return assemble(entries, path, fps=FILM24, size=SIZE, deliver=deliver).sha256

    assert cut("film.mp4") == cut("again.mp4")
    shown = list(iter_clip(tmp_path / "film.mp4"))
    assert len(shown) == 24
    for got, asked in zip(shown, pictures(entries), strict=True):
        # 4:2:0 halves the colour's resolution.
        assert np.abs(got.mean((0, 1)) - asked.mean((0, 1))).max() < 3


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda a, b: [b], "shot B has a dissolve at the edge of the film"),
        (lambda a, b: [a], "shot A has a dissolve at the edge of the film"),
        (
            lambda a, b: [a, replace(b, into=Transition("wipe", 6, way="up"))],
            "shots A and B are joined by two transitions, a dissolve and a wipe",
        ),
        (
            lambda a, b: [replace(a, hashes=a.hashes[:-1]), b],
            "shot A asks for frames 0 to 15 of a take of which only 14",
        ),
    ],
    ids=["no-before", "no-after", "two-sides", "too-few-frames"],
)
def test_a_plan_that_can_not_be_cut_is_refused(
    film: Film,
    tmp_path: Path,
    break_it: object,
    message: str,
) -> None:
    joint = Transition("dissolve", 6)
    a, b = film.shot("A", 0, 12, out=joint), film.shot("B", 8, 20, into=joint)
    entries = break_it(a, b)  # type: ignore[operator]
    with pytest.raises(CutError, match=message):
        assemble(entries, tmp_path / "film.mp4", fps=FILM24, size=SIZE, deliver=DeliverSection())
    assert list(tmp_path.iterdir()) == []


def test_a_grade_changes_the_takes_own_frames_before_they_are_mixed(film: Film) -> None:
    class Darker:
        name = "darker 1/2"

        def apply(self, index: int, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
            return frame // 2 if index >= 5 else frame

    joint = Transition("dissolve", 4)
    a = replace(film.shot("A", 0, 10, out=joint), grade=Darker())
    entries = [a, film.shot("B", 8, 18, into=joint)]
    shown = pictures(entries)
    assert np.array_equal(shown[4], film.frame("A", 4))
    assert np.array_equal(shown[5], film.frame("A", 5) // 2)
    assert np.array_equal(shown[10], mix(film.frame("A", 10) // 2, film.frame("B", 8), joint, 2))
    plain = digests([replace(a, grade=None), entries[1]])
    # A grade's name counts for every frame of its take, also those that it happens to leave.
    assert all(x != y for x, y in zip(plain[:12], digests(entries)[:12], strict=True))
    assert plain[12:] == digests(entries)[12:]


def test_no_more_than_the_pictures_that_are_mixed_are_held(film: Film) -> None:
    alive = most = 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    class Counting:
        size = delivered = SIZE

        def apply(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
            nonlocal alive, most
            made = PLAIN.apply(frame).copy()
            weakref.finalize(made, gone)
            alive += 1
            most = max(most, alive)
            return made

    joint = Transition("dissolve", 16)
    middle = [film.shot("B", 10, 30, into=joint, out=joint) for _ in range(12)]
    entries = [film.shot("A", 0, 20, out=joint), *middle, film.shot("C", 10, 30, into=joint)]
    shown = film_pictures(entries, Counting())  # type: ignore[arg-type]
    assert sum(1 for _ in shown) == 14 * 20
    # Both that are mixed, the last ones read, and the next one.
    assert most <= 5
