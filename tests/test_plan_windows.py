"""Frames to segments: every division legal, exact where it must be, no frame lost or doubled."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from storyflow.forcing.lattice import ForcingLattice
from storyflow.planning.layout import BeatTooShort, Layout, Needs, Rendered, lay_out
from storyflow.planning.windows import NoWindows, Windows


def cost(window: int) -> float:
    """Like a transformer's: attention grows with the square."""
    return 700.0 * window + 3.0 * window * window


FULL = Windows(ForcingLattice(97, 17), floor=57, policy="full", cost=cost)
BALANCED = replace(FULL, policy="balanced")


@st.composite
def any_windows(draw: st.DrawFn) -> Windows:
    overlap = 4 * draw(st.integers(0, 9)) + 1
    window = draw(st.sampled_from([2 * overlap + 3 + 4 * n for n in range(0, 30, 3)]))
    window = max(window, 9)
    floor = draw(st.integers(5, window))
    windows = Windows(ForcingLattice(window, overlap), floor, "full", cost)
    return replace(windows, policy="balanced") if draw(st.booleans()) else windows


needs = st.builds(
    Needs,
    beats=st.lists(st.integers(1, 500), min_size=1, max_size=4).map(tuple),
    head=st.integers(0, 30),
    tail=st.integers(0, 30),
    marked_end=st.booleans(),
)


@st.composite
def any_needs(draw: st.DrawFn) -> Needs:
    made = draw(needs)
    kind = draw(st.sampled_from(["text", "image", "first-last", "continue"]))
    if kind == "text":
        return made
    return replace(
        made,
        head=0,
        free_head=False,
        fresh=kind != "continue",
        border_at_end=kind == "first-last",
    )


def laid(needs: Needs, windows: Windows, pinned: Rendered | None = None) -> Layout:
    try:
        return lay_out(needs, windows, pinned)
    except BeatTooShort:
        assume(False)
        raise


def check(layout: Layout, needs: Needs, windows: Windows) -> None:
    """What holds for every layout."""
    flat = [length for beat in layout.beats for length in beat]
    assert flat[0] in windows.lengths(fresh=needs.fresh)
    assert all(length in windows.lengths(fresh=False) for length in flat[1:])
    assert len(layout.beats) == len(needs.beats)
    # A beat starts exactly where a segment ends, and no frame lies outside a beat.
    assert layout.starts == tuple(accumulate(map(sum, layout.beats[:-1]), initial=0))
    asked = list(accumulate(needs.beats[:-1], initial=layout.head - layout.slip))
    for start, wanted in zip(layout.starts[1:], asked[1:], strict=True):
        assert abs(start - wanted) <= windows.lattice.grid // 2
    # At least what is asked is generated, and the last segment is needed.
    assert layout.frames == needs.frames
    assert layout.head >= needs.head
    needed = layout.head + needs.frames + needs.tail
    assert layout.generated >= needed
    if needs.border_at_end and layout.generated == layout.end:
        assert layout.end - needed < windows.lattice.grid
    else:
        assert layout.generated - flat[-1] < needed
    ends = set(accumulate(flat))
    if needs.border_at_end:
        assert layout.end in ends
        assert abs(layout.end - layout.head - needs.frames) < windows.lattice.grid
    else:
        assert 0 <= layout.head + needs.frames - layout.end < windows.lattice.grid
        assert (layout.end - flat[0]) % windows.lattice.grid == 0


@settings(max_examples=120, deadline=None)
@given(any_needs(), any_windows())
def test_no_frame_is_lost_or_doubled(needs: Needs, windows: Windows) -> None:
    check(laid(needs, windows), needs, windows)


@settings(max_examples=80, deadline=None)
@given(any_needs(), any_windows())
def test_pinned_windows_are_planned_again_as_they_were(needs: Needs, windows: Windows) -> None:
    first = laid(needs, windows)
    assert lay_out(needs, windows, Rendered(first.head, first.beats)) == first


@settings(max_examples=100, deadline=None)
@given(any_needs(), any_windows(), st.integers(1, 400), st.data())
def test_a_changed_duration_leaves_earlier_beats_alone(
    needs: Needs, windows: Windows, frames: int, data: st.DataObject
) -> None:
    first = laid(needs, windows)
    which = data.draw(st.integers(0, len(needs.beats) - 1))
    beats = (*needs.beats[:which], frames, *needs.beats[which + 1 :])
    changed = replace(needs, beats=beats)
    second = laid(changed, windows, Rendered(first.head, first.beats))
    check(second, changed, windows)
    assert second.beats[:which] == first.beats[:which]
    if which < len(needs.beats) - 1 or needs.border_at_end:
        return
    old, new = first.beats[-1], second.beats[-1]
    if frames >= needs.beats[-1]:
        assert new[: len(old)] == old, "a longer shot appends segments"
    else:
        assert new == old[: len(new)], "a shorter shot renders nothing again"


@settings(max_examples=80, deadline=None)
@given(needs, any_windows(), st.integers(0, 40), st.integers(0, 40))
def test_a_transition_changes_no_segment_that_exists(
    needs: Needs, windows: Windows, head: int, tail: int
) -> None:
    first = laid(needs, windows)
    assume(len(needs.beats) == 1 or head - first.head < needs.beats[0])
    changed = replace(needs, head=head, tail=tail)
    second = laid(changed, windows, Rendered(first.head, first.beats))
    check(second, changed, windows)
    old = [length for beat in first.beats for length in beat]
    new = [length for beat in second.beats for length in beat]
    shared = min(len(old), len(new))
    assert new[:shared] == old[:shared]
    assert second.head == max(first.head, head)


@settings(max_examples=80, deadline=None)
@given(any_windows(), st.booleans(), st.integers(1, 1500))
def test_windows_below_the_floor_are_never_a_choice(
    windows: Windows, fresh: bool, frames: int
) -> None:
    frames = windows.round_up(frames, fresh=fresh)
    overlap = windows.lattice.overlap

    def whole(lengths: tuple[int, ...]) -> list[int]:
        first = lengths[0] + (0 if fresh else overlap)
        return [first, *(length + overlap for length in lengths[1:])]

    try:
        exact = windows.divide(frames, fresh=fresh, exact=True)
    except NoWindows:
        assert not windows.fits(frames, fresh=fresh)
        return
    assert sum(exact) == frames
    loose = windows.divide(frames, fresh=fresh, exact=False)
    assert sum(loose) >= frames
    if len(loose) == 1:
        assert min(whole(loose)) >= min(windows.floor, windows.lengths(fresh=fresh)[-1])
    if min(whole(exact)) >= windows.floor or len(exact) > 30:
        return
    lengths = windows.lengths(fresh=False)
    least_first = next(
        (n for n in windows.lengths(fresh=fresh) if whole((n,))[0] >= windows.floor), None
    )
    least = next((n for n in lengths if n + overlap >= windows.floor), None)
    if least_first is None or least is None:
        return
    for count in range(1, 40):
        possible = (
            least_first + (count - 1) * least
            <= frames
            <= windows.lengths(fresh=fresh)[-1] + (count - 1) * lengths[-1]
        )
        assert not possible or (windows.policy == "full" and count > len(exact))


def test_full_windows_have_the_trained_length() -> None:
    assert FULL.divide(97 + 80 * 3, fresh=True, exact=True) == (97, 80, 80, 80)
    assert FULL.divide(97 + 80 * 17, fresh=True, exact=False) == (97, *[80] * 17)


def test_a_short_remainder_shares_with_the_window_before() -> None:
    assert FULL.divide(97 + 80 + 40, fresh=True, exact=True) == (97, 80, 40)
    assert FULL.divide(97 + 80 + 24, fresh=True, exact=True) == (97, 52, 52)
    assert FULL.divide(101, fresh=True, exact=True) == (61, 40)


def test_a_short_last_beat_is_raised_to_the_floor_and_keeps_the_surplus() -> None:
    assert FULL.divide(24, fresh=True, exact=False) == (57,)
    assert FULL.divide(24, fresh=False, exact=False) == (40,)
    assert FULL.divide(24, fresh=False, exact=True) == (24,)


def test_balanced_windows_are_equal_and_cost_least() -> None:
    lengths = BALANCED.divide(1437, fresh=True, exact=True)
    whole = [lengths[0], *(length + 17 for length in lengths[1:])]
    assert max(whole) - min(whole) <= 4
    assert min(whole) >= 57
    others = []
    for count in range(2, 60):
        total = 1437 + 17 * (count - 1)
        whole_grid = [4 * (total // count // 4) + 1, 4 * (total // count // 4) + 5]
        if whole_grid[0] >= 57 and whole_grid[1] <= 97:
            longer = (total - count * whole_grid[0]) // 4
            others.append((count - longer) * cost(whole_grid[0]) + longer * cost(whole_grid[1]))
    assert sum(map(cost, whole)) <= min(others)


def test_a_stretch_that_no_segments_fill_is_refused_with_the_shortest_length() -> None:
    with pytest.raises(NoWindows) as error:
        FULL.divide(13, fresh=True, exact=True)
    assert error.value.least == 17
    with pytest.raises(NoWindows):
        FULL.divide(22, fresh=False, exact=True)


def test_beats_of_whole_seconds_start_exactly_where_asked() -> None:
    for handles in range(0, 25):
        asked = Needs(beats=(192, 288, 240), head=handles, tail=handles)
        layout = lay_out(asked, FULL)
        assert layout.late(asked) == (0, 0, 0)
        assert handles <= layout.head <= handles + 3


def test_a_first_beat_shorter_than_a_segment_gets_a_longer_head() -> None:
    asked = Needs(beats=(8, 96))
    layout = lay_out(asked, FULL)
    assert layout.beats[0] == (17,)
    assert layout.head == 9
    assert layout.late(asked) == (0, 0)


def test_an_inner_beat_shorter_than_a_segment_is_refused() -> None:
    with pytest.raises(BeatTooShort) as error:
        lay_out(Needs(beats=(96, 12, 96)), FULL)
    assert error.value.beat == 1
    assert error.value.least == 20


def test_long_beats_divide_quickly() -> None:
    for windows in (FULL, BALANCED, replace(FULL, floor=97)):
        lengths = windows.divide(80 * 10_000 + 97 + 8, fresh=True, exact=True)
        assert len(lengths) >= 10_001
