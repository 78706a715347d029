"""What the lock is to remember of a plan: held takes, and where a new take branches off."""

from __future__ import annotations

from collections.abc import Mapping

from storyflow.errors import InputError
from storyflow.lock import Held
from storyflow.planning.facts import facts_of
from storyflow.planning.nodes import Plan, PlannedTake


def held_take(plan: Plan, shot: str, keys: Mapping[str, str]) -> Held:
    """The take of a shot that the cut uses, to be kept as it is: `lockfile.hold` pins it.

    `keys` has the key of every finished segment by its recipe. Raises InputError for an unknown
    shot and for a take that is not finished.
    """
    entry = next((entry for entry in plan.cut if entry.shot == shot), None)
    if entry is None:
        known = ", ".join(entry.shot for entry in plan.cut[:12])
        raise InputError(f"the film has no shot {shot}", cure=f"it has {known}")
    take = plan.take(shot, entry.take)
    found = [segment.key or keys.get(segment.recipe) for segment in take.segments]
    missing = [s.name for s, key in zip(take.segments, found, strict=True) if key is None]
    if missing:
        raise InputError(
            f"take {take.take} of shot {shot} is not finished: {', '.join(missing[:5])} "
            f"{'is' if len(missing) == 1 else 'are'} missing",
            cure="render it first",
        )
    windows: list[list[int]] = [[] for _ in take.shot.beats]
    for segment in take.segments:
        windows[segment.beat].append(segment.inputs.spec.new)
    first = take.segments[0]
    conditions = [c for segment in take.segments for c in segment.inputs.conditions]
    return Held(
        pipeline=plan.pipeline,
        take=take.take,
        keys=tuple(key for key in found if key is not None),
        windows=tuple(map(tuple, windows)),
        facts=facts_of(take.shot, first.inputs, first.history, conditions, take.seed),
        head=take.head - take.slip,
    )


def branch_point(take: PlannedTake, frame: int) -> int:
    """How many segments a new take shares that is to differ from `frame` of the shot on.

    `frame` counts screen time. The segment that shows it is rendered anew.
    """
    return sum(1 for segment in take.segments if segment.stop <= take.head + frame)
