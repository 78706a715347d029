"""Lock files: what is written is read back, and nothing is lost or written for nothing."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_films import film, planned, rendered

from storyflow.errors import InfrastructureError, InputError, StoryboardError
from storyflow.lock import (
    Branch,
    Held,
    Lock,
    LockedPrompt,
    LockedPrompts,
    LockedShot,
    LockedTake,
    PinnedWindows,
)
from storyflow.lockfile import (
    choose_take,
    lock_path,
    pin,
    pin_windows,
    planned_takes,
    read_lock,
    write_lock,
)
from storyflow.locktext import lock_text
from storyflow.seeds import shot_seed

text = st.text(max_size=30)
number = st.integers(1, 9)
seeds = st.integers(0, 2**53 - 1)
windows = st.lists(st.lists(st.integers(1, 200), max_size=5).map(tuple), max_size=4).map(tuple)
takes = st.builds(LockedTake, number, seeds, st.none() | st.builds(Branch, number, number))
held = st.builds(
    Held,
    text,
    number,
    st.lists(text, max_size=3).map(tuple),
    windows,
    st.lists(st.tuples(text, text), max_size=3).map(tuple),
    st.integers(0, 50),
)
prompts = st.builds(
    LockedPrompt,
    text=text,
    stamp=text,
    source=text | st.just("composer"),
    hand=st.booleans(),
    provisional=st.booleans(),
    caption=text,
    dropped=st.lists(text, max_size=2).map(tuple),
)
shots = st.builds(
    LockedShot,
    id=text | st.sampled_from(["1E2", "007", "null", "yes", "1:30", "~", "", "- a", "#", "\x85"]),
    fingerprint=text,
    takes=st.lists(takes, max_size=3).map(tuple),
    chosen=st.none() | number,
    windows=st.lists(st.builds(PinnedWindows, text, windows, st.integers(0, 50)), max_size=2).map(
        tuple
    ),
    held=st.none() | held,
    prompts=st.lists(
        st.builds(LockedPrompts, text, st.lists(prompts, max_size=2).map(tuple)),
        max_size=2,
    ).map(tuple),
)
locks = st.builds(Lock, st.lists(shots, max_size=3).map(tuple), st.none() | seeds)

STORY = """
film: Locked
shots:
- {id: A, dur: 10s, takes: 2, do: waves break}
- {id: B, dur: 4s, do: a gull cries}
"""


@settings(max_examples=100, deadline=None)
@given(locks)
def test_reading_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, lock: Lock
) -> None:
    path = tmp_path_factory.getbasetemp() / "property.lock.yaml"
    write_lock(path, lock)
    assert read_lock(path) == lock
    assert lock_text(read_lock(path)) == lock_text(lock)


def test_the_lock_stands_beside_the_storyboard() -> None:
    assert lock_path(Path("films/swan.yaml")) == Path("films/swan.lock.yaml")


def test_no_file_is_an_empty_lock(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "none.lock.yaml") == Lock()


def test_a_lock_is_readable_text_with_one_line_per_fact(tmp_path: Path) -> None:
    lock = Lock(
        seed=3,
        shots=(
            LockedShot(
                "1E2",
                "f",
                (LockedTake(1, 11), LockedTake(2, 22, Branch(1, 3))),
                chosen=2,
                windows=(PinnedWindows("toybox", ((97, 80), (80,)), 13),),
                prompts=(
                    LockedPrompts(
                        "toybox",
                        (
                            LockedPrompt("Waves break.", "f1-w1"),
                            LockedPrompt("A gull: 'Ah!'", "f2-w2", source="m@1", hand=True),
                        ),
                    ),
                ),
            ),
        ),
    )
    path = tmp_path / "x.lock.yaml"
    write_lock(path, lock)
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# Written by storyflow; keep it in git")
    assert lines[2:] == [
        "storyflow: 1",
        "seed: 3",
        "shots:",
        '- id: "1E2"',
        "  fingerprint: f",
        "  chosen: 2",
        "  takes:",
        "  - {take: 1, seed: 11}",
        "  - {take: 2, seed: 22, branch: {take: 1, segments: 3}}",
        "  windows:",
        "  - {pipeline: toybox, head: 13, beats: [[97, 80], [80]]}",
        "  prompts:",
        "  - profile: toybox",
        "    beats:",
        '    - text: "Waves break."',
        '      stamp: "f1-w1"',
        """    - text: "A gull: 'Ah!'\"""",
        "      hand: true",
        '      source: "m@1"',
        '      stamp: "f2-w2"',
    ]


def test_an_unchanged_lock_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "x.lock.yaml"
    lock = pin(Lock(), film(STORY))
    write_lock(path, lock)
    os.utime(path, ns=(1, 1))
    write_lock(path, lock)
    assert path.stat().st_mtime_ns == 1
    write_lock(path, choose_take(lock, "A", 2))
    assert path.stat().st_mtime_ns != 1


def test_writing_leaves_nothing_but_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "x.lock.yaml"
    write_lock(path, Lock())
    path.chmod(0o600)
    write_lock(path, Lock(seed=1))
    assert [p.name for p in tmp_path.iterdir()] == ["x.lock.yaml"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_lock_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"can't write the lock .*gone"):
        write_lock(tmp_path / "gone" / "x.lock.yaml", Lock())


BROKEN = {
    "yaml": ("storyflow: 1\nshots: [\n", 3),
    "unknown key": ("storyflow: 1\nshots:\n- {id: A, fingerprint: f, takes: [], chosn: 1}\n", 3),
    "wrong type": ("storyflow: 1\nshots:\n- id: A\n  fingerprint: f\n  takes: many\n", 5),
    "missing key": ("storyflow: 1\nshots:\n- {id: A, takes: []}\n", 3),
    "conflict markers": ("<<<<<<< ours\nstoryflow: 1\n=======\nstoryflow: 1\n>>>>>>> theirs\n", 1),
    "version": ("storyflow: 9\nshots: []\n", 1),
    "no mapping": ("- a\n", 1),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_lock_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    content, line = BROKEN[name]
    path = tmp_path / "x.lock.yaml"
    path.write_text(content)
    with pytest.raises(StoryboardError) as error:
        read_lock(path)
    problem = error.value.problems[0]
    assert (problem.file, problem.line) == (str(path), line)
    assert isinstance(error.value, InputError)


def test_a_merge_conflict_in_a_lock_is_called_one(tmp_path: Path) -> None:
    path = tmp_path / "x.lock.yaml"
    path.write_text(BROKEN["conflict markers"][0])
    with pytest.raises(StoryboardError, match=r"x.lock.yaml:1:1: .*merge conflict"):
        read_lock(path)


def test_pinning_gives_every_take_a_seed_and_stays() -> None:
    resolved = film(STORY)
    lock = pin(Lock(), resolved)
    assert [(s.id, [t.take for t in s.takes]) for s in lock.shots] == [("A", [1, 2]), ("B", [1])]
    assert lock.shots[0].takes[1].seed == shot_seed(0, "A", 2)
    assert pin(lock, resolved) == lock


def test_fewer_takes_keep_the_seeds_of_the_others() -> None:
    lock = pin(Lock(), film(STORY))
    fewer = film(STORY.replace("takes: 2", "takes: 1"))
    assert pin(lock, fewer).shots[0].takes == lock.shots[0].takes
    assert planned_takes(fewer.shots[0], lock.shots[0]) == (1,)
    assert planned_takes(fewer.shots[0], choose_take(lock, "A", 2).shots[0]) == (1, 2)


def test_shots_that_left_the_film_stay_listed() -> None:
    lock = choose_take(pin(Lock(), film(STORY)), "A", 2)
    without = pin(lock, film(STORY.replace("- {id: A, dur: 10s, takes: 2, do: waves break}\n", "")))
    assert [s.id for s in without.shots] == ["B", "A"]
    assert pin(without, film(STORY)) == lock


def test_a_renamed_shot_keeps_its_entry() -> None:
    lock = choose_take(pin(Lock(), film(STORY)), "A", 2)
    renamed = pin(lock, film(STORY.replace("id: A", "id: Sea")))
    assert [s.id for s in renamed.shots] == ["Sea", "B"]
    assert renamed.shots[0] == replace(lock.shots[0], id="Sea")


def test_a_copied_shot_gets_its_own_seed() -> None:
    lock = pin(Lock(), film(STORY))
    copied = STORY + "- {id: C, dur: 4s, do: a gull cries}\n"
    after = pin(lock, film(copied))
    assert len({t.seed for s in after.shots for t in s.takes}) == 4


def test_shots_without_ids_find_theirs_again() -> None:
    story = "film: X\nshots:\n- waves break on the rocks\n- a gull cries in the wind\n"
    lock = pin(Lock(), film(story))
    moved = "film: X\nshots:\n- a new shot of a boat\n- a gull cries in the wind\n" + (
        "- waves break on the rocks\n"
    )
    after = pin(lock, film(moved, lock))
    seeds = {s.fingerprint: s.takes[0].seed for s in lock.shots}
    kept = [s for s in after.shots if s.fingerprint in seeds]
    assert len(kept) == 2
    assert all(s.takes[0].seed == seeds[s.fingerprint] for s in kept)


def test_a_written_seed_is_pinned_and_stays_when_it_is_removed() -> None:
    seeded = STORY.replace("id: B,", "id: B, seed: 7,")
    lock = pin(pin(Lock(), film(STORY)), film(seeded))
    assert lock.shots[1].takes[0].seed == 7
    assert pin(lock, film(STORY)).shots[1].takes[0].seed == 7


def test_another_film_seed_gives_other_seeds() -> None:
    lock = pin(Lock(), film(STORY))
    other = pin(lock, film(STORY.replace("film: Locked", "film: Locked\nseed: 5")))
    assert other.seed == 5
    assert other.shots[0].takes[0].seed == shot_seed(5, "A", 1)
    assert pin(other, film(STORY)) == lock


def test_windows_are_pinned_for_shots_that_were_begun() -> None:
    plan = planned(STORY)
    lock = pin(Lock(), film(STORY))
    begun = pin_windows(lock, plan, {plan.take("A", 2).segments[0].recipe})
    assert begun.shots[0].windows == (PinnedWindows("toybox", ((97, 80, 63 + 1),), 0),)
    assert begun.shots[1].windows == ()
    assert pin_windows(begun, plan, set()) == begun


def test_windows_of_a_trimmed_shot_stay_pinned() -> None:
    _, lock = rendered(STORY)
    short = STORY.replace("10s", "4s")
    plan = planned(short, lock)
    trimmed = pin_windows(pin(lock, film(short)), plan, {s.recipe for s in plan.segments})
    assert trimmed.shots[0].windows == lock.shots[0].windows


def test_only_known_takes_can_be_chosen() -> None:
    lock = pin(Lock(), film(STORY))
    with pytest.raises(InputError, match="shot A has no take 3; choose one of 1, 2"):
        choose_take(lock, "A", 3)
    with pytest.raises(InputError, match="knows no shot X; it knows A, B"):
        choose_take(lock, "X", 1)
