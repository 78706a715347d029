"""Takes, branches and held takes in the plan."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plan_films import film, new_segments, planned, recipes, rendered

from storyflow.errors import InputError, StoryboardError
from storyflow.lock import Lock
from storyflow.lockfile import branch_take, choose_take, hold, pin, unhold
from storyflow.planning.nodes import Plan
from storyflow.planning.pinning import branch_point, held_take

STORY = """
film: Takes
style: 35mm film
shots:
- {id: A, takes: 2, dur: 14s, do: waves break}
- {id: B, dur: 4s, do: a gull cries}
"""


def keys(plan: Plan) -> dict[str, str]:
    """As if every segment were stored under a key of its own."""
    return {segment.recipe: f"key-of-{segment.name}" for segment in plan.segments}


def test_every_take_is_planned_with_its_own_seeds() -> None:
    plan = planned(STORY)
    assert [(take.shot.id, take.take) for take in plan.takes] == [("A", 1), ("A", 2), ("B", 1)]
    first, second = plan.take("A", 1), plan.take("A", 2)
    assert first.seed != second.seed
    seeds = [s.inputs.spec.seed for s in plan.segments]
    assert len(set(seeds)) == len(seeds)
    assert [s.name for s in second.segments[:2]] == ["A.2/1", "A.2/2"]


def test_the_cut_uses_the_storyboards_take_else_the_locks_else_the_first() -> None:
    lock = pin(Lock(), film(STORY))
    assert planned(STORY, lock).cut[0].take == 1
    chosen = choose_take(lock, "A", 2)
    assert planned(STORY, chosen).cut[0].take == 2
    assert planned(STORY.replace("takes: 2", "takes: 2, take: 1"), chosen).cut[0].take == 1


def test_choosing_a_take_changes_no_key() -> None:
    lock = pin(Lock(), film(STORY))
    assert recipes(planned(STORY, choose_take(lock, "A", 2))) == recipes(planned(STORY, lock))


def test_a_branch_shares_what_lies_before_it() -> None:
    before, lock = rendered(STORY)
    take = before.take("A", 1)
    segments = branch_point(take, 9 * 24)
    assert segments == 2
    assert take.segments[segments].start <= take.head + 9 * 24 < take.segments[segments].stop
    lock, made = branch_take(lock, "A", 1, segments)
    after = planned(STORY, lock)
    branch = after.take("A", made.take)
    assert made.take == 3
    assert branch.segments[:2] == take.segments[:2]
    assert branch.segments[2].parents == (take.segments[1].recipe,)
    assert new_segments(before, after) == ["A.3/3", "A.3/4"]
    assert branch.generated == take.generated


def test_a_branch_of_a_branch_shares_both() -> None:
    _, lock = rendered(STORY)
    lock, one = branch_take(lock, "A", 2, 1)
    lock, two = branch_take(lock, "A", one.take, 3)
    plan = planned(STORY, lock)
    names = [s.name for s in plan.take("A", two.take).segments]
    assert names == ["A.2/1", "A.3/2", "A.3/3", "A.4/4"]


def test_a_branch_of_a_shot_with_a_written_seed_differs_from_its_source() -> None:
    text = STORY.replace("takes: 2", "seed: 7")
    before, lock = rendered(text)
    lock, made = branch_take(lock, "A", 1, 1)
    plan = planned(text, lock)
    assert plan.take("A", 1).seed == plan.take("A", made.take).seed == 7
    assert new_segments(before, plan) == [f"A.2/{n}" for n in (2, 3, 4)]


def test_a_branch_of_a_shortened_shot_says_so() -> None:
    _, lock = rendered(STORY)
    lock, _ = branch_take(lock, "A", 1, 4)
    plan = planned(STORY.replace("14s", "4s"), lock)
    assert "shares 4 segments with take 1, which has 1" in str(plan.notices[-1])
    assert len(plan.take("A", 3).segments) == 1


@pytest.mark.parametrize(("shot", "take", "segments"), [("X", 1, 1), ("A", 5, 1), ("A", 1, 0)])
def test_a_branch_from_nowhere_is_refused(shot: str, take: int, segments: int) -> None:
    lock = pin(Lock(), film(STORY))
    with pytest.raises(InputError):
        branch_take(lock, shot, take, segments)


def test_a_branch_that_lost_its_source_is_refused() -> None:
    lock = pin(Lock(), film(STORY))
    lock, _ = branch_take(lock, "A", 1, 1)
    entry = lock.shots[0]
    broken = replace(lock, shots=(replace(entry, takes=entry.takes[2:]), *lock.shots[1:]))
    mended = planned(STORY, broken)
    assert [t.take for t in mended.takes if t.shot.id == "A"] == [1, 2, 3], (
        "seeds are derived again"
    )
    circular = replace(entry.takes[2], branch=replace(entry.takes[2].branch, take=3))  # type: ignore[type-var]
    broken = replace(
        lock, shots=(replace(entry, takes=(*entry.takes[:2], circular)), *lock.shots[1:])
    )
    with pytest.raises(StoryboardError, match="branches off"):
        planned(STORY, broken)


def test_a_held_take_is_used_as_it_is() -> None:
    before, lock = rendered(STORY)
    lock = hold(lock, "A", held_take(before, "A", keys(before)))
    after = planned(STORY.replace("35mm", "16mm"), lock)
    take = after.take("A", 1)
    assert take.held == "held, stale: style"
    assert [s.key for s in take.segments] == [f"key-of-A/{n}" for n in (1, 2, 3, 4)]
    assert all(not s.history for s in take.segments)
    assert take.generated == before.take("A", 1).generated
    assert (after.cut[0].start, after.cut[0].stop) == (before.cut[0].start, before.cut[0].stop)
    assert [s.key for s in after.take("A", 2).segments] == [None] * 4
    (notice,) = [p for p in after.notices if p.code == "held"]
    assert "shot A: held, stale: style" in str(notice)


def test_a_held_take_whose_inputs_are_the_same_is_not_stale() -> None:
    before, lock = rendered(STORY)
    lock = hold(lock, "A", held_take(before, "A", keys(before)))
    after = planned(STORY, lock)
    assert after.take("A", 1).held == "held"
    assert not [p for p in after.notices if p.code == "held"]


STALE = {
    "do": ("waves break", "waves roll"),
    "seed": ("takes: 2", "takes: 2, seed: 9"),
    "dur": ("dur: 14s", "dur: 10s"),
    "avoid": ("style: 35mm film", "style: 35mm film\navoid: text"),
    "move": ("do: waves break", "do: waves break, move: pan left"),
    "size": ("do: waves break", "do: waves break, size: CU"),
    "light": ("do: waves break", "do: waves break, light: dusk"),
}


@pytest.mark.parametrize("fact", STALE)
def test_a_stale_take_names_what_changed(fact: str) -> None:
    before, lock = rendered(STORY)
    lock = hold(lock, "A", held_take(before, "A", keys(before)))
    after = planned(STORY.replace(*STALE[fact]), lock)
    assert after.take("A", 1).held == f"held, stale: {fact}"


def test_a_changed_look_makes_a_held_take_stale() -> None:
    text = STORY.replace("shots:", "cast: {girl: {look: girl of ten}}\nshots:").replace(
        "do: a gull cries", 'do: "@girl runs"'
    )
    before, lock = rendered(text)
    lock = hold(lock, "B", held_take(before, "B", keys(before)))
    after = planned(text.replace("girl of ten", "girl of nine"), lock)
    assert after.take("B", 1).held == "held, stale: look of girl"


def test_what_continues_a_held_take_hangs_on_its_stored_frames() -> None:
    text = STORY + "- {id: C, from: A, dur: 4s, do: foam}\n"
    before, lock = rendered(text)
    lock = hold(lock, "A", held_take(before, "A", keys(before)))
    one = planned(text.replace("waves break", "waves roll"), lock)
    two = planned(text.replace("waves break", "waves sleep"), lock)
    held = {s.recipe for s in one.take("A", 1).segments}
    assert set(one.take("C", 1).segments[0].parents) <= held
    assert one.take("C", 1).segments == two.take("C", 1).segments


def test_a_released_take_follows_its_inputs_again() -> None:
    before, lock = rendered(STORY)
    held = hold(lock, "A", held_take(before, "A", keys(before)))
    assert unhold(held, "A") == lock
    with pytest.raises(InputError, match="not held"):
        unhold(lock, "A")


def test_a_held_take_too_short_for_the_cut_is_refused() -> None:
    before, lock = rendered(STORY)
    lock = hold(lock, "A", held_take(before, "A", keys(before)))
    with pytest.raises(StoryboardError, match=r"held take is .* too short.*--release"):
        planned(STORY.replace("14s", "20s"), lock)


def test_a_held_take_without_the_frames_of_a_dissolve_is_refused() -> None:
    before, lock = rendered(STORY)
    lock = hold(lock, "A", held_take(before, "A", keys(before)))
    assert planned(STORY.replace("id: B,", "id: B, in: dissolve 2f,"), lock).cut[0].out.after == 1
    with pytest.raises(StoryboardError, match=r"held take is 11 frames too short.*transition"):
        planned(STORY.replace("id: B,", "id: B, in: dissolve 1s,"), lock)


def test_an_unfinished_take_cannot_be_held() -> None:
    before, _ = rendered(STORY)
    some = {recipe: key for recipe, key in keys(before).items() if not key.endswith("A/4")}
    with pytest.raises(InputError, match="A/4 is missing"):
        held_take(before, "A", some)
    with pytest.raises(InputError, match="no shot X"):
        held_take(before, "X", some)


def test_a_take_is_held_on_its_own_pipeline_only() -> None:
    before, lock = rendered(STORY)
    held = replace(held_take(before, "A", keys(before)), pipeline="other")
    assert planned(STORY, hold(lock, "A", held)).take("A", 1).held is None
