"""Locks that changed apart: what is joined, and what is a conflict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storyflow.jobs.merge import merge_locks
from storyflow.lock import Branch, Held, Lock, LockedShot, LockedTake, PinnedWindows

SLATE = PinnedWindows("slate", ((97,),))
TOYBOX = PinnedWindows("toybox", ((33, 16),))
HELD = Held("slate", 1, ("k",), ((97,),), ())
BASE = LockedShot("1A", "f", (LockedTake(1, 11),))


def lock(*shots: LockedShot, seed: int | None = 0) -> Lock:
    return Lock(shots=shots, seed=seed)


SECOND = replace(BASE, takes=(*BASE.takes, LockedTake(2, 22)))
OTHER = LockedShot("1B", "g", (LockedTake(1, 12),))

JOINED = {
    "nothing changed": (BASE, BASE, BASE),
    "only here": (replace(BASE, chosen=2), BASE, replace(BASE, chosen=2)),
    "only there": (BASE, replace(BASE, windows=(SLATE,)), replace(BASE, windows=(SLATE,))),
    "the same on both sides": (replace(BASE, chosen=2),) * 3,
    "a choice here, windows there": (
        replace(BASE, chosen=2),
        replace(BASE, windows=(SLATE,)),
        replace(BASE, chosen=2, windows=(SLATE,)),
    ),
    "windows of two pipelines": (
        replace(BASE, windows=(TOYBOX,)),
        replace(BASE, windows=(SLATE,)),
        replace(BASE, windows=(SLATE, TOYBOX)),
    ),
    "a take here, a hold there": (SECOND, replace(BASE, held=HELD), replace(SECOND, held=HELD)),
}


@pytest.mark.parametrize("case", JOINED)
def test_what_one_side_changed_is_joined(case: str) -> None:
    here, there, joined = JOINED[case]
    merged = merge_locks(lock(BASE), lock(here), lock(there))
    assert merged.conflicts == ()
    assert merged.lock == lock(joined)


CONFLICTS = {
    "chosen take": (replace(BASE, chosen=2), replace(BASE, chosen=3), "2", "3"),
    "windows on slate": (
        replace(BASE, windows=(PinnedWindows("slate", ((40, 8), (9,))),)),
        replace(BASE, windows=(SLATE,)),
        "40+8/9",
        "97",
    ),
    "held take": (replace(BASE, held=HELD), replace(BASE, held=replace(HELD, take=2)),
                  "take 1 on slate", "take 2 on slate"),
    "take 2": (
        replace(BASE, takes=(*BASE.takes, LockedTake(2, 5, Branch(1, 3)))),
        SECOND,
        "seed 5, 3 segments of take 1",
        "seed 22",
    ),
    "text": (replace(BASE, fingerprint="x"), replace(BASE, fingerprint="y"), "x", "y"),
}  # fmt: skip


@pytest.mark.parametrize("what", CONFLICTS)
def test_what_both_sides_changed_is_a_conflict_and_stays_as_it_is_here(what: str) -> None:
    here, there, mine, theirs = CONFLICTS[what]
    merged = merge_locks(lock(BASE, OTHER), lock(here, OTHER), lock(there, OTHER))
    (conflict,) = merged.conflicts
    assert (conflict.shot, conflict.what) == ("1A", what)
    assert (conflict.here, conflict.there) == (mine, theirs)
    assert merged.lock == lock(here, OTHER)
    assert str(conflict) == f"shot 1A: {what} is {mine} here, {theirs} in the fetched film"


def test_a_choice_that_both_took_back_differently_is_a_conflict() -> None:
    chosen = replace(BASE, chosen=2)
    merged = merge_locks(lock(chosen), lock(BASE), lock(replace(BASE, chosen=3)))
    assert [c.here for c in merged.conflicts] == ["none"]
    assert merged.lock == lock(BASE)


def test_shots_of_both_sides_stay_in_this_machines_order() -> None:
    new = LockedShot("1C", "h", (LockedTake(1, 13),))
    merged = merge_locks(lock(BASE), lock(OTHER, BASE), lock(BASE, new))
    assert [shot.id for shot in merged.lock.shots] == ["1B", "1A", "1C"]
    assert not merged.conflicts


def test_a_seed_that_both_changed_is_the_films_conflict() -> None:
    merged = merge_locks(lock(seed=0), lock(seed=1), lock(seed=2))
    assert [str(c) for c in merged.conflicts] == ["film: seed is 1 here, 2 in the fetched film"]
    assert merged.lock.seed == 1
